//! Who talks to which director: the environment looked up, credentials chosen, the line that says so
//! printed, the director asked how it authenticates (spec cli §2, §3).

use super::proxy::{self, Proxy};
use crate::config::{Config, Settings};
use crate::error::{Error, Result};
use crate::ui::{TaskReporter, Ui};
use director_client::{Client, Credentials, Options};
use domain::Secret;
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
        let client = target.client(proxy.as_deref())?;
        let who = match &target.user {
            Some(user) => format!("client '{user}'"),
            None => "anonymous user".to_owned(),
        };
        self.ui
            .line(format!("Using environment '{}' as {who}", target.url));
        let info = client.anonymous_info().await?;
        let kind = info.user_authentication.map(|auth| auth.kind);
        if target.user.is_some() && kind.as_deref() == Some("uaa") {
            return Err(Error::message(format!(
                "The director at '{}' authenticates its users with a UAA, which this command can not log in to; use a director with user_authentication type 'basic'",
                target.url
            )));
        }
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

impl Target {
    /// The connection; nothing is sent yet.
    pub fn client(&self, proxy: Option<&Proxy>) -> Result<Client> {
        let credentials = match &self.user {
            Some(user) => Credentials::Basic {
                user: user.clone(),
                password: self
                    .password
                    .clone()
                    .unwrap_or_else(|| Secret::new(String::new())),
            },
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
