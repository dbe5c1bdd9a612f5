//! What can go wrong between the CLI and the director, in the original's words (spec cli §3, §6).

use std::path::PathBuf;

/// One level of an error; deeper levels are reached by [`std::error::Error::source`] and are printed
/// indented below it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Expected non-empty Director URL")]
    EmptyUrl,
    #[error("Parsing Director URL '{url}'")]
    ParseUrl {
        url: String,
        #[source]
        source: url::ParseError,
    },
    #[error("Expected to extract host from URL '{0}'")]
    NoHost(String),
    #[error(
        "Reading the CA certificate: it holds no PEM certificate; pass the director's CA with --ca-cert"
    )]
    CaCert,
    #[error("Setting up the HTTP client: {0}")]
    Setup(String),
    /// No answer was received. `cause` is the innermost reason, for example `Connection refused`.
    #[error("Performing request {method} '{url}'")]
    Request {
        method: String,
        url: String,
        #[source]
        source: NetworkError,
    },
    #[error("Director responded with non-successful status code '{status}' response '{body}'")]
    Status { status: u16, body: String },
    #[error("Stopped following redirects after {0} of them")]
    TooManyRedirects(usize),
    #[error("Unmarshaling Director response")]
    Decode(#[source] serde_json::Error),
    #[error("Director redirected to '{0}', expected a task")]
    NoTask(String),
    #[error("Expected task '{id}' to succeed but state is '{state}'")]
    TaskFailed { id: i64, state: String },
    #[error("Reading '{}'", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("Expected downloaded resource '{id}' to have digest '{expected}'")]
    Digest { id: String, expected: String },
    /// What was being done when `source` happened.
    #[error("{text}")]
    Wrapped {
        text: String,
        #[source]
        source: Box<Error>,
    },
    /// A complete sentence of its own.
    #[error("{0}")]
    Message(String),
}

/// Why a request got no answer, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(pub String);

impl NetworkError {
    /// The innermost cause of a reqwest error: the outer ones only repeat the URL.
    pub(crate) fn from_reqwest(error: &reqwest::Error) -> Self {
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        NetworkError(cause.to_string())
    }
}

impl Error {
    /// The HTTP status below all wrapping, if the director answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Status { status, .. } => Some(*status),
            Error::Wrapped { source, .. } => source.status(),
            _ => None,
        }
    }

    /// The body that came with [`Error::status`].
    pub fn body(&self) -> Option<&str> {
        match self {
            Error::Status { body, .. } => Some(body),
            Error::Wrapped { source, .. } => source.body(),
            _ => None,
        }
    }

    /// The task that ended otherwise than `done`, if that is what failed.
    pub fn failed_task(&self) -> Option<i64> {
        match self {
            Error::TaskFailed { id, .. } => Some(*id),
            Error::Wrapped { source, .. } => source.failed_task(),
            _ => None,
        }
    }

    /// Whether nothing answered at the address (refused, unreachable, bad certificate).
    pub fn is_network(&self) -> bool {
        match self {
            Error::Request { .. } => true,
            Error::Wrapped { source, .. } => source.is_network(),
            _ => false,
        }
    }
}

/// Puts what was being done around an error.
pub trait Wrap<T> {
    /// Wraps an error in `text`, computed only when there is one.
    fn wrap<S: Into<String>>(self, text: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T> Wrap<T> for Result<T, Error> {
    fn wrap<S: Into<String>>(self, text: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|source| Error::Wrapped {
            text: text().into(),
            source: Box::new(source),
        })
    }
}
