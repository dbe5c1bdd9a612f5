//! Sending requests: redirects, retries and transfer of files (spec cli §3, director-api §1).

use crate::UaaSession;
use crate::endpoint::Endpoint;
use crate::error::NetworkError;
use crate::request::{Body, Progress, RawResponse, Request};
use crate::{Error, Wrap};
use bytes::Bytes;
use domain::Secret;
use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Redirects followed before giving up.
const MAX_REDIRECTS: usize = 10;
/// Attempts for a request that got no answer, and the pause between them.
const ATTEMPTS: usize = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long to wait for the TCP and TLS handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Who the client is for the director. No `Debug`: it holds a password.
#[derive(Clone, Default)]
pub enum Credentials {
    #[default]
    Anonymous,
    Basic {
        user: String,
        password: Secret<String>,
    },
    /// Access tokens of a UAA.
    Uaa(Arc<UaaSession>),
}

/// What a [`Client`] is made from.
#[derive(Clone, Default)]
pub struct Options {
    /// Any form that [`Endpoint::parse`] reads.
    pub url: String,
    /// PEM text of the CA that signed the director's certificate; system roots when absent.
    pub ca_cert: Option<String>,
    pub credentials: Credentials,
    /// `socks5://host:port` of a proxy to go through; the proxy looks names up.
    pub proxy: Option<String>,
    /// Hosts that the proxy is not for, in the form of `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// Sent as `X-Bosh-Context-Id` with everything but redirects.
    pub context_id: Option<String>,
}

/// A connection to one director. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    http: reqwest::Client,
    endpoint: Endpoint,
    credentials: Credentials,
    context_id: Option<String>,
}

impl Client {
    /// Sets the client up; sends nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(&options.url)?;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            // compat: HTTP_PROXY and friends are for downloads, never for the director.
            .no_proxy();
        if let Some(proxy) = &options.proxy {
            builder = builder.proxy(socks_proxy(proxy, options.no_proxy.as_deref())?);
        }
        if let Some(pem) = &options.ca_cert {
            let roots =
                reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| Error::CaCert)?;
            if roots.is_empty() {
                return Err(Error::CaCert);
            }
            builder = builder.tls_certs_only(roots);
        }
        let http = builder
            .build()
            .map_err(|error| Error::Setup(NetworkError::from_reqwest(&error).0))?;
        Ok(Client(Arc::new(Inner {
            http,
            endpoint,
            credentials: options.credentials,
            context_id: options.context_id,
        })))
    }

    /// The same connection without credentials.
    pub fn anonymous(&self) -> Self {
        self.with_credentials(Credentials::Anonymous)
    }

    /// The same connection as somebody else.
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Client(Arc::new(Inner {
            credentials,
            ..(*self.0).clone()
        }))
    }

    /// The same connection whose further requests carry `id` as context.
    pub fn with_context_id(&self, id: impl Into<String>) -> Self {
        Client(Arc::new(Inner {
            context_id: Some(id.into()),
            ..(*self.0).clone()
        }))
    }

    /// Sends a request, follows redirects and gives whatever answer comes, successful or not.
    pub async fn send_raw(&self, request: Request) -> Result<RawResponse, Error> {
        let (response, redirected_to) = self.open(request).await?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let url = response.url().to_string();
        let body = response.bytes().await.map_err(|error| Error::Request {
            method: "GET".to_owned(),
            url,
            source: NetworkError::from_reqwest(&error),
        })?;
        Ok(RawResponse {
            status,
            headers,
            body,
            redirected_to,
        })
    }

    /// Sends a request; an unsuccessful status is an error.
    pub async fn send(&self, request: Request) -> Result<RawResponse, Error> {
        self.send_raw(request).await?.into_success()
    }

    /// Sends a request and reads its JSON answer.
    pub async fn send_json<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let response = self.send(request).await?;
        serde_json::from_slice(&response.body).map_err(Error::Decode)
    }

    /// Sends a request and does not follow the task that it starts.
    pub(crate) async fn send_without_redirect(&self, request: Request) -> Result<(), Error> {
        let response = self.attempt(&request, true).await?;
        let status = response.status().as_u16();
        let raw = RawResponse {
            status,
            headers: Vec::new(),
            body: response.bytes().await.unwrap_or_default(),
            redirected_to: None,
        };
        raw.into_success().map(drop)
    }

    /// `GET` and read JSON.
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.send_json(Request::get(path)).await
    }

    /// Output from `offset` on; `None` when there is nothing new.
    pub(crate) async fn get_range(&self, path: &str, offset: u64) -> Result<Option<Bytes>, Error> {
        let request = Request::get(path).header(RANGE.as_str(), format!("bytes={offset}-"));
        let response = self.send_raw(request).await?;
        match response.status {
            416 | 204 => Ok(None),
            _ => Ok(Some(response.into_success()?.body)),
        }
    }

    /// Streams `GET /resources/ID` into a file, checking `digest` (a multi-digest) when one is given
    /// (spec director-api §7.4).
    pub async fn download_resource(
        &self,
        id: &str,
        digest: Option<&str>,
        to: &Path,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<(), Error> {
        let path = format!("/resources/{id}");
        self.download(&path, to, progress)
            .await
            .wrap(|| format!("Downloading resource '{id}'"))?;
        if let Some(expected) = digest.filter(|text| !text.is_empty()) {
            let good = domain::MultiDigest::parse(expected).is_ok_and(|digest| {
                std::fs::File::open(to).is_ok_and(|file| digest.verify(file).is_ok())
            });
            if !good {
                return Err(Error::Digest {
                    id: id.to_owned(),
                    expected: expected.to_owned(),
                });
            }
        }
        Ok(())
    }

    async fn download(
        &self,
        path: &str,
        to: &Path,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<(), Error> {
        let (response, _) = self.open(Request::get(path)).await?;
        if !response.status().is_success() {
            return Err(Error::Status {
                status: response.status().as_u16(),
                body: response.text().await.unwrap_or_default(),
            });
        }
        let on_file = |source| Error::File {
            path: to.to_owned(),
            source,
        };
        let mut file = tokio::fs::File::create(to).await.map_err(on_file)?;
        if let Some(progress) = &progress {
            progress.started(response.content_length());
        }
        let url = response.url().to_string();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| Error::Request {
                method: "GET".to_owned(),
                url: url.clone(),
                source: NetworkError::from_reqwest(&error),
            })?;
            if let Some(progress) = &progress {
                progress.advanced(chunk.len() as u64);
            }
            file.write_all(&chunk).await.map_err(on_file)?;
        }
        file.flush().await.map_err(on_file)?;
        if let Some(progress) = &progress {
            progress.finished();
        }
        Ok(())
    }

    /// Sends and follows redirects; the answer's body is not read yet.
    async fn open(&self, request: Request) -> Result<(reqwest::Response, Option<String>), Error> {
        let mut response = self.attempt(&request, true).await?;
        let mut redirected_to = None;
        let mut followed = 0;
        while is_redirect(response.status()) {
            let Some(location) = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .map(path_of)
            else {
                break;
            };
            followed += 1;
            if followed > MAX_REDIRECTS {
                return Err(Error::TooManyRedirects(MAX_REDIRECTS));
            }
            // Whatever the method was, the task is fetched with GET.
            response = self.attempt(&Request::get(&location), false).await?;
            redirected_to = Some(location);
        }
        Ok((response, redirected_to))
    }

    /// One request with retries. A request whose answer may have been lost is only repeated if it is a
    /// GET: a second POST could start a second task.
    async fn attempt(&self, request: &Request, first: bool) -> Result<reqwest::Response, Error> {
        let url = self.0.endpoint.join(&request.path);
        let mut attempt = 1;
        let mut token = self.token(None).await?;
        let mut renewed = false;
        loop {
            let mut builder = self.build(request, &url, first).await?;
            if let Some(token) = &token {
                builder = builder.header(AUTHORIZATION, token);
            }
            let error = match builder.send().await {
                // A token that has expired is renewed, once.
                Ok(response)
                    if response.status() == StatusCode::UNAUTHORIZED
                        && token.is_some()
                        && !renewed =>
                {
                    token = self.token(token.as_ref()).await?;
                    renewed = true;
                    continue;
                }
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let again = error.is_connect() || request.method == Method::GET;
            // A certificate that is not trusted will not be trusted in half a second.
            let hopeless = format!("{error:?}").contains("InvalidCertificate");
            if attempt == ATTEMPTS || !again || hopeless {
                return Err(Error::Request {
                    method: request.method.to_string(),
                    url,
                    source: NetworkError::from_reqwest(&error),
                });
            }
            tracing::debug!(%url, attempt, %error, "no answer, trying again");
            attempt += 1;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// The header with a UAA's token; `refused` is to be renewed.
    async fn token(&self, refused: Option<&HeaderValue>) -> Result<Option<HeaderValue>, Error> {
        match &self.0.credentials {
            Credentials::Uaa(session) => session.header(refused).await.map(Some),
            _ => Ok(None),
        }
    }

    /// The connection without the director's address: same CA.
    pub(crate) fn http(&self) -> reqwest::Client {
        self.0.http.clone()
    }

    async fn build(
        &self,
        request: &Request,
        url: &str,
        first: bool,
    ) -> Result<reqwest::RequestBuilder, Error> {
        let mut builder = self.0.http.request(request.method.clone(), url);
        builder = match &self.0.credentials {
            Credentials::Anonymous | Credentials::Uaa(_) => builder,
            Credentials::Basic { user, password } => {
                builder.basic_auth(user, Some(password.expose()))
            }
        };
        if let (true, Some(id)) = (first, &self.0.context_id) {
            builder = builder.header("X-Bosh-Context-Id", id);
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        Ok(match &request.body {
            Body::Empty if request.method != Method::GET => builder.header(CONTENT_LENGTH, 0),
            Body::Empty => builder,
            Body::Bytes(bytes) => builder.body(bytes.clone()),
            Body::File { path, progress } => {
                let on_file = |source| Error::File {
                    path: path.clone(),
                    source,
                };
                let file = tokio::fs::File::open(path).await.map_err(on_file)?;
                let size = file.metadata().await.map_err(on_file)?.len();
                builder
                    .header(CONTENT_LENGTH, size)
                    .body(stream_file(file, size, progress.clone()))
            }
        })
    }
}

fn socks_proxy(url: &str, except: Option<&str>) -> Result<reqwest::Proxy, Error> {
    // With `h` the proxy looks the name up, as it does for the original.
    let address = url.strip_prefix("socks5://").unwrap_or(url);
    let proxy = reqwest::Proxy::all(format!("socks5h://{address}"))
        .map_err(|error| Error::Setup(NetworkError::from_reqwest(&error).0))?;
    Ok(proxy.no_proxy(except.and_then(reqwest::NoProxy::from_string)))
}

fn stream_file(
    file: tokio::fs::File,
    size: u64,
    progress: Option<Arc<dyn Progress>>,
) -> reqwest::Body {
    /// Pieces of an upload: large enough to be cheap, small enough for a smooth bar.
    const PIECE: usize = 64 * 1024;
    if let Some(progress) = &progress {
        progress.started(Some(size));
    }
    let mut sent = 0;
    let stream = tokio_util::io::ReaderStream::with_capacity(file, PIECE).inspect(move |piece| {
        if let (Ok(piece), Some(progress)) = (piece, &progress) {
            sent += piece.len() as u64;
            progress.advanced(piece.len() as u64);
            if sent >= size {
                progress.finished();
            }
        }
    });
    reqwest::Body::wrap_stream(stream)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The path and query of a Location: its host and scheme are the director's idea of itself, which may
/// not be reachable from here.
fn path_of(location: &str) -> String {
    match url::Url::parse(location) {
        Ok(url) => match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        },
        Err(_) => location.to_owned(),
    }
}
