//! Who talks to which director: the environment looked up, credentials chosen, the line that says so
//! printed, the director asked how it authenticates (spec cli §2, §3).

use super::proxy::{self, Proxy};
use crate::config::{Config, Environment, Settings};
use crate::error::{Error, Result};
use crate::ui::{TaskReporter, Ui};
use director_client::{Client, Credentials, Info, Options, TokenInfo, Tokens, Uaa, UaaSession};
use domain::Secret;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What every command has: where to print, and the flags.
pub struct Context {
    pub ui: Ui,
    pub settings: Settings,
    /// What `BOSH_ALL_PROXY` names, once somebody asked for it.
    pub proxy: OnceCell<Option<Arc<Proxy>>>,
}

/// An environment as flags, variables and the config file name it.
pub struct Target {
    pub url: String,
    pub ca_cert: Option<String>,
    pub user: Option<String>,
    pub password: Option<Secret<String>>,
    /// Tokens of a user who logged in to the director's UAA.
    pub tokens: Option<Tokens>,
    /// Where renewed tokens are kept.
    config_path: PathBuf,
}

/// A connected director.
pub struct Session {
    pub ui: Ui,
    pub settings: Settings,
    pub client: Client,
    /// Follows the events of every task of this session.
    pub reporter: TaskReporter,
    /// The way to everything that `NO_PROXY` does not except.
    pub proxy: Option<Arc<Proxy>>,
    deployment: Option<String>,
}

impl Context {
    /// The proxy for everything; a tunnel is made at the first call.
    pub async fn proxy(&self) -> Result<Option<Arc<Proxy>>> {
        let proxy = self.proxy.get_or_try_init(async || {
            Ok::<_, Error>(Proxy::from_environment().await?.map(Arc::new))
        });
        Ok(proxy.await?.clone())
    }

    /// The environment to use. Flags win over what the file says.
    pub fn target(&self) -> Result<Target> {
        let config = Config::load(&self.settings.config_path)?;
        // Beyond the original: without a word about it, the environment that runs on this machine is meant.
        let wanted = match &self.settings.environment {
            Some(environment) => environment.clone(),
            None => crate::environment::default_alias().unwrap_or_default(),
        };
        let known = config.find(&wanted);
        let url = known.map_or(wanted, |environment| environment.url.clone());
        let given = self.settings.client.clone();
        let (user, password) = match given {
            Some(user) => (
                Some(user),
                Some(Secret::new(
                    self.settings.client_secret.clone().unwrap_or_default(),
                )),
            ),
            None => (
                known.and_then(|environment| environment.username.clone()),
                known.and_then(|environment| environment.password.clone()),
            ),
        };
        Ok(Target {
            ca_cert: self
                .settings
                .ca_cert
                .clone()
                .or_else(|| known.and_then(|environment| environment.ca_cert.clone())),
            url,
            user,
            password,
            tokens: known.and_then(stored_tokens),
            config_path: self.settings.config_path.clone(),
        })
    }

    /// Connects, telling where and as whom.
    pub async fn connect(&self) -> Result<Session> {
        let target = self.target()?;
        self.connect_to(&target).await
    }

    /// [`Context::connect`] to a target that was chosen already.
    pub async fn connect_to(&self, target: &Target) -> Result<Session> {
        let proxy = self.proxy().await?;
        let mut client = target.client(proxy.as_deref())?;
        let info = client.anonymous_info().await?;
        if uses_uaa(&info) {
            let credentials = target.uaa_credentials(&client, &info)?;
            client = client.with_credentials(credentials);
        }
        let (url, who) = (&target.url, target.description());
        self.ui.line(format!("Using environment '{url}' as {who}"));
        Ok(Session {
            ui: self.ui.clone(),
            settings: self.settings.clone(),
            reporter: TaskReporter::events(&self.ui),
            deployment: self.settings.deployment.clone(),
            proxy,
            client,
        })
    }

    /// [`Context::connect`], and the deployment that the command is about.
    pub async fn connect_deployment(&self) -> Result<Session> {
        let session = self.connect().await?;
        let deployment = session.deployment()?;
        self.ui.line(format!("Using deployment '{deployment}'"));
        Ok(session)
    }
}

/// The tokens of an environment in the config file, if a user logged in there.
fn stored_tokens(environment: &Environment) -> Option<Tokens> {
    let refresh = environment.refresh_token.clone()?;
    Some(Tokens {
        kind: environment.access_token_type.clone().unwrap_or_default(),
        access: environment.access_token.clone().unwrap_or_default(),
        refresh: Some(refresh),
    })
}

/// Whether the director's users are those of a UAA.
pub fn uses_uaa(info: &Info) -> bool {
    let auth = info.user_authentication.as_ref();
    auth.is_some_and(|auth| auth.kind == "uaa")
}

impl Target {
    /// The director's UAA, asked as the given client or as the one for users.
    pub fn uaa(&self, client: &Client, info: &Info) -> Result<Uaa> {
        let options = info.user_authentication.as_ref().map(|auth| &auth.options);
        let url = options.and_then(|options| options["url"].as_str());
        let url = url.ok_or_else(|| {
            Error::message(format!(
                "The director at '{}' does not say where its UAA is; set uaa.url in its settings",
                self.url
            ))
        })?;
        Ok(client.uaa(url, self.given())?)
    }

    fn uaa_credentials(&self, client: &Client, info: &Info) -> Result<Credentials> {
        let session = match (&self.user, &self.tokens) {
            (Some(_), _) => UaaSession::of_client(self.uaa(client, info)?),
            (None, Some(tokens)) => {
                let (path, url) = (self.config_path.clone(), self.url.clone());
                let keep = move |tokens: &Tokens| {
                    if let Err(error) = keep_tokens(&path, &url, tokens) {
                        tracing::warn!(%error, "the renewed tokens are not kept");
                    }
                };
                UaaSession::of_user(self.uaa(client, info)?, tokens.clone(), keep)
            }
            (None, None) => return Ok(Credentials::Anonymous),
        };
        Ok(Credentials::Uaa(Arc::new(session)))
    }

    /// Who is calling, for the line that every command begins with.
    fn description(&self) -> String {
        let refresh = self.tokens.as_ref();
        if let Some(refresh) = refresh.and_then(|tokens| tokens.refresh.as_ref()) {
            return match TokenInfo::read(refresh) {
                None => "'?'".to_owned(),
                Some(info) if info.scope.is_empty() => format!("user '{}'", info.user_name),
                Some(info) => format!("user '{}' ({})", info.user_name, info.scope.join(", ")),
            };
        }
        match &self.user {
            Some(user) => format!("client '{user}'"),
            None => "anonymous user".to_owned(),
        }
    }

    /// User or client with password, which may be empty.
    fn given(&self) -> Option<(String, Secret<String>)> {
        let user = self.user.clone()?;
        Some((user, self.password.clone().unwrap_or_default()))
    }

    /// The connection; nothing is sent yet.
    pub fn client(&self, proxy: Option<&Proxy>) -> Result<Client> {
        let credentials = match self.given() {
            Some((user, password)) => Credentials::Basic { user, password },
            None => Credentials::Anonymous,
        };
        Ok(Client::new(Options {
            url: self.url.clone(),
            ca_cert: self.ca_cert.clone(),
            credentials,
            context_id: None,
            proxy: proxy.map(Proxy::url),
            no_proxy: proxy::exceptions(),
        })?)
    }
}

/// Stores a user's tokens with the environment, in place of what was there.
pub fn keep_tokens(config: &std::path::Path, url: &str, tokens: &Tokens) -> Result<()> {
    let mut config = Config::load(config)?;
    config.update(url, None, |environment| {
        environment.username = None;
        environment.password = None;
        environment.access_token_type = Some(tokens.kind.clone());
        environment.access_token = Some(tokens.access.clone());
        environment.refresh_token = tokens.refresh.clone();
    });
    config.save()
}

impl Session {
    /// The deployment given by `-d`.
    pub fn deployment(&self) -> Result<&str> {
        self.deployment
            .as_deref()
            .ok_or_else(|| Error::message("Expected non-empty deployment name"))
    }

    /// The deployment given by `-d`, if any, as a filter.
    pub fn deployment_filter(&self) -> Option<&str> {
        self.deployment.as_deref()
    }
}
