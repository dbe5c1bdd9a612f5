//! [`HttpsAgentClient`]: one agent that is its own HTTPS server, as `create-env` talks to it
//! (`docs/spec/agent-protocol.md` §1.8). Messages go to `/agent`, blobs to `/blobs/<id>`, with the user and password
//! of the URL.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use tokio_util::io::ReaderStream;

use crate::client::AgentClient;
use crate::envelope::{Reply, Request};
use crate::error::Error;
use crate::patience::{Patience, Target};

/// How often `get_task` and `get_state` are asked again after a failure to send, and the pause before it.
const TOLERATED_ERRORS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that the connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Talks to one agent, whoever the [`Target`] names. No `Debug`: it holds a password.
#[derive(Clone)]
pub struct HttpsAgentClient {
    http: Client,
    base: Url,
    user: String,
    password: Option<String>,
    director: String,
}

/// Why there is no client for a URL.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL can't be read. It may hold a password, so it isn't shown.
    #[error("Parsing Mbus URL")]
    Url(#[source] url::ParseError),
    /// The CA can't be read.
    #[error("Parsing CA certificate")]
    Ca(#[source] reqwest::Error),
    /// No HTTP client.
    #[error("Making an HTTP client")]
    Client(#[source] reqwest::Error),
}

impl HttpsAgentClient {
    /// `mbus` is `https://user:password@host:port`, `ca` PEM certificates to trust in place of the system's, `director`
    /// the id that requests carry. Nothing is sent yet.
    pub fn new(mbus: &str, ca: Option<&str>, director: &str) -> Result<Self, SetupError> {
        let mut base = Url::parse(mbus).map_err(SetupError::Url)?;
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let user = decode(base.username());
        let password = base.password().map(decode);
        // Failing is for URLs that can't have any.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        base.set_query(None);
        let mut builder = Client::builder().connect_timeout(CONNECT);
        if let Some(ca) = ca {
            let roots = Certificate::from_pem_bundle(ca.as_bytes()).map_err(SetupError::Ca)?;
            builder = builder.tls_certs_only(roots);
        }
        Ok(Self {
            http: builder.build().map_err(SetupError::Client)?,
            base,
            user,
            password,
            director: director.to_owned(),
        })
    }

    fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(path);
        self.http
            .request(method, url)
            .basic_auth(&self.user, self.password.as_ref())
    }

    async fn post(
        &self,
        method: &str,
        arguments: &[Value],
        reply: Duration,
    ) -> Result<Reply, Source> {
        let message = Request {
            // compat: none, so the agent takes the oldest.
            protocol: 0,
            method: method.to_owned(),
            arguments: arguments.to_vec(),
            reply_to: self.director.clone(),
        };
        let response = self
            .request(reqwest::Method::POST, "/agent")
            .timeout(reply)
            .json(&message)
            .send()
            .await
            .map_err(|error| error.without_url())?;
        if response.status() != StatusCode::OK {
            return Err(format!(
                "Agent responded with non-successful status code: {}",
                response.status().as_u16()
            )
            .into());
        }
        let body = response
            .bytes()
            .await
            .map_err(|error| error.without_url())?;
        Reply::parse(&body).ok_or_else(|| "Unmarshaling agent response".into())
    }

    /// Stores a file under an id.
    pub async fn put_blob(&self, id: &str, file: &Path) -> Result<(), Source> {
        let content = tokio::fs::File::open(file).await?;
        let length = content.metadata().await?.len();
        let response = self
            .request(reqwest::Method::PUT, &format!("/blobs/{id}"))
            .header("Content-Length", length)
            .body(reqwest::Body::wrap_stream(ReaderStream::new(content)))
            .send()
            .await
            .map_err(|error| error.without_url())?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text = response.text().await.unwrap_or_default();
        Err(format!(
            "Putting blob {id}: wrong response code: {}; body: {text}",
            status.as_u16()
        )
        .into())
    }
}

/// Whether the other side's certificate was refused: asking again is of no use.
pub fn is_certificate_refused(error: &Error) -> bool {
    let Error::Bus { source, .. } = error else {
        return false;
    };
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(source.as_ref());
    while let Some(error) = next {
        if error.to_string().contains("invalid peer certificate") {
            return true;
        }
        next = error.source();
    }
    false
}

#[async_trait]
impl AgentClient for HttpsAgentClient {
    async fn exchange(
        &self,
        to: &Target,
        method: &str,
        arguments: Vec<Value>,
        patience: Patience,
    ) -> Result<Reply, Error> {
        let mut tolerated = match method {
            "get_task" | "get_state" => TOLERATED_ERRORS,
            _ => 0,
        };
        loop {
            match self.post(method, &arguments, patience.reply).await {
                Ok(Reply::Exception(exception)) => return Err(Error::remote(method, exception)),
                Ok(reply) => return Ok(reply),
                Err(_) if tolerated > 0 => {
                    tolerated -= 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(source) => {
                    return Err(Error::Bus {
                        method: method.to_owned(),
                        agent: to.agent.to_string(),
                        source,
                    });
                }
            }
        }
    }

    async fn send(&self, to: &Target, method: &str, arguments: Vec<Value>) -> Result<(), Error> {
        self.exchange(to, method, arguments, Patience::for_method(method))
            .await
            .map(drop)
    }
}
