//! Requests and answers as values; sending them is [`crate::http`].

use crate::Error;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Told of the bytes of an upload or download as they pass.
pub trait Progress: Send + Sync {
    /// `total` in bytes, if known.
    fn started(&self, total: Option<u64>);
    fn advanced(&self, bytes: u64);
    fn finished(&self);
}

/// The body of a [`Request`].
#[derive(Clone, Default)]
pub enum Body {
    #[default]
    Empty,
    Bytes(Bytes),
    /// A file, streamed.
    File {
        path: PathBuf,
        progress: Option<Arc<dyn Progress>>,
    },
}

/// One request. Paths are absolute and carry their query.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Request {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Request {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Body::Empty,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// A body with its content type.
    pub fn with(
        method: Method,
        path: impl Into<String>,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Self {
        let mut request = Self::new(method, path).header(CONTENT_TYPE.as_str(), content_type);
        request.body = Body::Bytes(body.into());
        request
    }

    /// A JSON body; keys in the order of `value`.
    pub fn json(method: Method, path: impl Into<String>, value: &serde_json::Value) -> Self {
        Self::with(method, path, "application/json", value.to_string())
    }

    /// A YAML body.
    pub fn yaml(method: Method, path: impl Into<String>, text: impl Into<Bytes>) -> Self {
        Self::with(method, path, "text/yaml", text)
    }

    /// A tarball streamed from disk.
    pub fn archive(
        path: impl Into<String>,
        file: &Path,
        progress: Option<Arc<dyn Progress>>,
    ) -> Self {
        let mut request =
            Self::new(Method::POST, path).header(CONTENT_TYPE.as_str(), "application/x-compressed");
        request.body = Body::File {
            path: file.to_owned(),
            progress,
        };
        request
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// An answer that was read to its end.
#[derive(Debug, Clone)]
pub struct RawResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// The path of the last redirect that was followed, if any.
    pub redirected_to: Option<String>,
}

impl RawResponse {
    /// Whether the status is one that the original takes for a success.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200 | 201 | 204 | 206 | 302)
    }

    pub(crate) fn into_success(self) -> Result<Self, Error> {
        if self.is_success() {
            return Ok(self);
        }
        Err(Error::Status {
            status: self.status,
            body: String::from_utf8_lossy(&self.body).into_owned(),
        })
    }
}
