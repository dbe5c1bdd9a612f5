//! The message bus of a VM without a director: the agent is an HTTPS server, and `create-env` its client
//! (`docs/spec/agent-protocol.md` §1.8).
//!
//! `POST /agent` takes the same envelopes as NATS; `/blobs/<id>` stores and gives the blobs that they name. One user and
//! password, those of the URL, for both. There is nobody to listen to heartbeats.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::{MbusCert, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::io::ReaderStream;

use super::tls;
use crate::agent::Agent;
use crate::blobs::is_plain_name;
use crate::dispatch;
use crate::error::{Context, Error, Result, plain};
use crate::files;

/// For a client that connects and then says nothing.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Between two attempts to listen: the address may come up later than the agent.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);
/// Larger than any request of `create-env`.
const LARGEST_REQUEST: usize = 16 << 20;

type Body = BoxBody<Bytes, std::io::Error>;
type Answer = hyper::Response<Body>;

/// What the URL says: where to listen, and the header that opens.
struct Endpoint {
    address: String,
    authorization: Vec<u8>,
}

impl Endpoint {
    fn parse(url: &str) -> Result<Self> {
        // The URL holds a password: it is in no error.
        let parsed = reqwest::Url::parse(url).context("Parsing the message bus URL")?;
        let host = parsed
            .host_str()
            .ok_or_else(|| Error::new("The message bus URL has no host"))?;
        let port = parsed.port_or_known_default().unwrap_or(443);
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = decoded(parsed.username());
        let password = decoded(parsed.password().unwrap_or_default());
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        Ok(Self {
            address: format!("{host}:{port}"),
            authorization: format!("Basic {credentials}").into_bytes(),
        })
    }
}

/// Takes requests for ever.
pub async fn serve(agent: Arc<Agent>, url: &str) -> Result<()> {
    let endpoint = Arc::new(Endpoint::parse(url)?);
    let mut acceptor = acceptor(&agent.settings().mbus_cert())?;
    let listener = loop {
        match TcpListener::bind(&endpoint.address).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(%error, address = endpoint.address, "can't listen yet");
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
        }
    };
    tracing::info!(address = endpoint.address, "listening");
    agent.bus.ready();
    loop {
        tokio::select! {
            connection = listener.accept() => match connection {
                Ok((stream, _)) => {
                    tokio::spawn(connected(agent.clone(), endpoint.clone(), acceptor.clone(), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(LISTEN_PAUSE).await;
                }
            },
            () = agent.bus.renew.notified() => {
                match self::acceptor(&agent.settings().mbus_cert()) {
                    Ok(new) => acceptor = new,
                    Err(error) => tracing::warn!(%error, "keeping the old certificate"),
                }
                agent.bus.ready();
            }
        }
    }
}

fn acceptor(cert: &MbusCert) -> Result<TlsAcceptor> {
    Ok(TlsAcceptor::from(Arc::new(tls::server_config(cert)?)))
}

async fn connected(
    agent: Arc<Agent>,
    endpoint: Arc<Endpoint>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
) {
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake timed out"),
    };
    let service = hyper::service::service_fn(|request| {
        let (agent, endpoint) = (agent.clone(), endpoint.clone());
        async move { Ok::<_, Infallible>(answer(&agent, &endpoint, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    agent: &Arc<Agent>,
    endpoint: &Endpoint,
    request: hyper::Request<Incoming>,
) -> Answer {
    let path = request.uri().path().to_owned();
    if path != "/agent" && !path.starts_with("/blobs/") {
        return text(StatusCode::NOT_FOUND, String::new());
    }
    let given = request.headers().get(AUTHORIZATION);
    if !given.is_some_and(|given| same(given.as_bytes(), &endpoint.authorization)) {
        let mut answer = text(StatusCode::UNAUTHORIZED, String::new());
        let realm = hyper::header::HeaderValue::from_static("Basic realm=\"\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
        return answer;
    }
    match (request.method().clone(), blob_id(&path)) {
        (Method::POST, None) => message(agent, request).await,
        (Method::PUT, Some(id)) => match store(agent, id, request).await {
            Ok(()) => text(StatusCode::CREATED, String::new()),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        (Method::GET, Some(id)) if is_plain_name(id) => give(agent.layout.blobs().join(id)).await,
        _ => text(StatusCode::NOT_FOUND, String::new()),
    }
}

/// The last segment, so that no path leads out of the folder. `None` for `/agent`.
fn blob_id(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/blobs/")?;
    Some(id.rsplit('/').next().unwrap_or_default())
}

/// Takes as long for a wrong credential as for the right one.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(wanted)
        .fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == wanted.len() && differences == 0
}

async fn message(agent: &Arc<Agent>, request: hyper::Request<Incoming>) -> Answer {
    let body = http_body_util::Limited::new(request.into_body(), LARGEST_REQUEST);
    let parsed = match body.collect().await {
        Ok(body) => serde_json::from_slice::<Request>(&body.to_bytes()).map_err(plain),
        Err(error) => Err(Error::new(error.to_string())),
    };
    let handled = match parsed {
        Ok(request) => {
            // A client that waits no longer closes the connection; its action goes on to the end, as over NATS.
            let agent = agent.clone();
            tokio::spawn(async move { dispatch::handle(&agent, request).await })
                .await
                .map_err(plain)
        }
        Err(error) => Err(error),
    };
    match handled {
        Ok(response) => {
            // No limit here, unlike over NATS.
            let bytes = response.to_bytes_within(usize::MAX);
            hyper::Response::new(full(bytes))
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn store(agent: &Agent, id: &str, request: hyper::Request<Incoming>) -> Result<()> {
    if !is_plain_name(id) {
        return Err(Error::new(format!("Blob id '{id}' is not a plain name")));
    }
    let folder = agent.layout.blobs();
    files::make_dir(&folder, 0o700)?;
    // Nobody sees half a blob, and an upload that breaks off leaves nothing.
    let partial = NamedTempFile::with_prefix_in(".upload-", &folder).map_err(plain)?;
    let (file, partial) = partial.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut body = request.into_body().into_data_stream();
    while let Some(chunk) = body.try_next().await.map_err(plain)? {
        file.write_all(&chunk).await.map_err(plain)?;
    }
    file.flush().await.map_err(plain)?;
    partial
        .persist(folder.join(id))
        .context("Storing the blob")?;
    Ok(())
}

async fn give(path: PathBuf) -> Answer {
    match tokio::fs::File::open(&path).await {
        Ok(file) => {
            let frames = ReaderStream::new(file).map_ok(Frame::data);
            hyper::Response::new(BodyExt::boxed(StreamBody::new(frames)))
        }
        Err(_) => text(StatusCode::NOT_FOUND, String::new()),
    }
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = hyper::Response::new(full(text.into_bytes()));
    *answer.status_mut() = status;
    answer
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed()
}
