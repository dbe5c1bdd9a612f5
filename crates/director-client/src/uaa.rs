//! The UAA of a director: prompts, grants, and tokens that renew themselves (spec cli §2, §3).
//!
//! The CLI asks [`Client::uaa`] for it and logs in; [`Client`] takes the tokens of a [`UaaSession`] from there on.

use base64::Engine as _;
use domain::Secret;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio::sync::Mutex;

use crate::error::NetworkError;
use crate::{Client, Error, Wrap};

/// Client id that users log in with; it has no secret.
const CLI_CLIENT: &str = "bosh_cli";

/// A UAA, asked as one of its clients. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct Uaa {
    http: reqwest::Client,
    base: String,
    client: String,
    secret: Secret<String>,
}

/// What the UAA wants to know of a user.
#[derive(Debug, Clone)]
pub struct UaaPrompt {
    pub key: String,
    pub label: String,
    /// Not to be shown while typed.
    pub secret: bool,
}

/// Tokens of a grant. No `Debug`: they are credentials.
#[derive(Clone)]
pub struct Tokens {
    /// `bearer`.
    pub kind: String,
    pub access: Secret<String>,
    /// Users have one, clients don't.
    pub refresh: Option<Secret<String>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token_type: String,
    access_token: String,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct PromptsAnswer {
    prompts: BTreeMap<String, Vec<String>>,
}

impl Client {
    /// The UAA at `url` (what the director's `/info` names) over this connection's TLS settings; as `client` with its
    /// secret, or as the one that users log in with.
    pub fn uaa(&self, url: &str, client: Option<(String, Secret<String>)>) -> Result<Uaa, Error> {
        if url.is_empty() {
            return Err(Error::Message("Expected non-empty UAA URL".into()));
        }
        let full = if url.contains("://") {
            url.to_owned()
        } else {
            format!("https://{url}")
        };
        let parsed = url::Url::parse(&full)
            .map_err(|error| Error::Message(format!("Parsing UAA URL '{url}': {error}")))?;
        let host = parsed
            .host_str()
            .ok_or_else(|| Error::Message(format!("Expected to extract host from URL '{url}'")))?;
        // compat: always HTTPS, whatever the URL says
        let base = format!(
            "https://{host}:{}{}",
            parsed.port().unwrap_or(443),
            parsed.path().trim_end_matches('/')
        );
        let (client, secret) = client.unwrap_or_else(|| (CLI_CLIENT.to_owned(), Secret::default()));
        Ok(Uaa {
            http: self.http(),
            base,
            client,
            secret,
        })
    }
}

impl Uaa {
    /// What to ask a user: texts before secrets.
    pub async fn prompts(&self) -> Result<Vec<UaaPrompt>, Error> {
        let url = format!("{}/login", self.base);
        let answer: PromptsAnswer = self
            .send("GET", self.http.get(&url), &url)
            .await
            .wrap(|| "Requesting UAA prompts")?;
        let mut prompts: Vec<UaaPrompt> = answer
            .prompts
            .into_iter()
            .map(|(key, pair)| UaaPrompt {
                secret: pair.first().is_some_and(|kind| kind == "password"),
                label: pair.get(1).cloned().unwrap_or_else(|| key.clone()),
                key,
            })
            .collect();
        prompts.sort_by_key(|prompt| prompt.secret);
        Ok(prompts)
    }

    /// Tokens for this client itself.
    pub async fn client_credentials(&self) -> Result<Tokens, Error> {
        self.grant("client_credentials", &[])
            .await
            .wrap(|| "Requesting token via client credentials grant")
    }

    /// Tokens for a user who answered the prompts. The text of the error is the original's.
    pub async fn password(&self, answers: &[(String, Secret<String>)]) -> Result<Tokens, Error> {
        self.grant("password", answers)
            .await
            .wrap(|| "Requesting token via client credentials grant")
    }

    /// New tokens for old.
    pub async fn refresh(&self, token: &Secret<String>) -> Result<Tokens, Error> {
        self.grant(
            "refresh_token",
            &[("refresh_token".to_owned(), token.clone())],
        )
        .await
        .wrap(|| "Refreshing token")
    }

    async fn grant(
        &self,
        kind: &str,
        answers: &[(String, Secret<String>)],
    ) -> Result<Tokens, Error> {
        let mut form = vec![("grant_type", kind)];
        form.extend(
            answers
                .iter()
                .map(|(key, value)| (key.as_str(), value.expose().as_str())),
        );
        let url = format!("{}/oauth/token", self.base);
        let request = self.http.post(&url).form(&form);
        let answer: TokenAnswer = self.send("POST", request, &url).await?;
        Ok(Tokens {
            kind: answer.token_type,
            access: Secret::new(answer.access_token),
            refresh: answer.refresh_token.map(Secret::new),
        })
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        request: reqwest::RequestBuilder,
        url: &str,
    ) -> Result<T, Error> {
        let on_network = |error: reqwest::Error| Error::Request {
            method: method.to_owned(),
            url: url.to_owned(),
            source: NetworkError::from_reqwest(&error),
        };
        let response = request
            .basic_auth(&self.client, Some(self.secret.expose()))
            .header("Accept", "application/json")
            .send()
            .await
            .map_err(on_network)?;
        let status = response.status();
        let body = response.bytes().await.map_err(on_network)?;
        if status != StatusCode::OK {
            return Err(Error::Message(format!(
                "UAA responded with non-successful status code '{}' response '{}'",
                status.as_u16(),
                String::from_utf8_lossy(&body)
            )));
        }
        // The body may hold tokens: not a word of it.
        serde_json::from_slice(&body).map_err(|_| {
            Error::Message(format!(
                "Unmarshaling UAA response: '{url}' answered otherwise than a UAA"
            ))
        })
    }
}

/// Told of the tokens that took the place of old ones.
type Keep = Box<dyn Fn(&Tokens) + Send + Sync>;

/// Tokens in use: fetched when first needed, renewed when the director refuses them.
pub struct UaaSession {
    uaa: Uaa,
    tokens: Mutex<Option<Tokens>>,
    keep: Option<Keep>,
}

impl UaaSession {
    /// Of the client itself; nothing is kept.
    pub fn of_client(uaa: Uaa) -> UaaSession {
        UaaSession {
            uaa,
            tokens: Mutex::new(None),
            keep: None,
        }
    }

    /// Of a user who logged in; `keep` stores renewed tokens.
    pub fn of_user(
        uaa: Uaa,
        tokens: Tokens,
        keep: impl Fn(&Tokens) + Send + Sync + 'static,
    ) -> UaaSession {
        UaaSession {
            uaa,
            tokens: Mutex::new(Some(tokens)),
            keep: Some(Box::new(keep)),
        }
    }

    /// The `Authorization` header. `refused` is the one that the director did not take: unless somebody renewed it
    /// meanwhile, it is renewed now.
    pub(crate) async fn header(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, Error> {
        let mut tokens = self.tokens.lock().await;
        if let Some(known) = tokens.as_ref().and_then(header)
            && refused != Some(&known)
        {
            return Ok(known);
        }
        let refresh = tokens.as_ref().and_then(|tokens| tokens.refresh.clone());
        let new = match &refresh {
            Some(refresh) => self.uaa.refresh(refresh).await?,
            None => self.uaa.client_credentials().await?,
        };
        let new = Tokens {
            // A UAA may keep the refresh token as it is, and not name it again.
            refresh: new.refresh.or(refresh),
            ..new
        };
        let header = header(&new)
            .ok_or_else(|| Error::Message("The UAA answered without a token to use".into()))?;
        if let Some(keep) = &self.keep {
            keep(&new);
        }
        *tokens = Some(new);
        Ok(header)
    }
}

/// `None` for tokens that are none. Marked as a secret, for those who log requests.
fn header(tokens: &Tokens) -> Option<HeaderValue> {
    let (kind, access) = (&tokens.kind, tokens.access.expose());
    if kind.is_empty() || access.is_empty() {
        return None;
    }
    let mut header = HeaderValue::from_str(&format!("{kind} {access}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// What a token says of its user; not checked, that is the director's business.
#[derive(Debug, Clone, Deserialize)]
pub struct TokenInfo {
    #[serde(default)]
    pub user_name: String,
    #[serde(default)]
    pub scope: Vec<String>,
}

impl TokenInfo {
    /// `None` for a text that is no token.
    pub fn read(token: &Secret<String>) -> Option<TokenInfo> {
        let segments: Vec<&str> = token.expose().split('.').collect();
        let [_, claims, _] = segments[..] else {
            return None;
        };
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(claims)
            .ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}
