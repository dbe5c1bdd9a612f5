//! What the stores behind HTTP share: options, a client with the configured CA, what each act sends, and how
//! answers become errors.

use domain::BlobId;
use futures_util::TryStreamExt;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, RequestBuilder, Response};
use serde_json::{Map, Value};

use crate::store::{ByteStream, Error, Object};

/// An option that is a text; an empty one counts as absent.
pub(crate) fn text(options: &Map<String, Value>, key: &str) -> Option<String> {
    options
        .get(key)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Builds a client that also trusts the CA given in PEM; without `verify` it trusts whoever answers.
pub(crate) fn client(
    provider: &'static str,
    ca: Option<&str>,
    verify: bool,
) -> Result<reqwest::Client, Error> {
    let bad = |error: reqwest::Error| Error::Options {
        provider,
        reason: format!("tls.cert.ca: {error}"),
    };
    let mut builder =
        reqwest::Client::builder().connect_timeout(std::time::Duration::from_secs(20));
    if !verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(ca) = ca.filter(|ca| !ca.trim().is_empty()) {
        for certificate in reqwest::Certificate::from_pem_bundle(ca.as_bytes()).map_err(bad)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(bad)
}

/// One request about one object.
pub(crate) struct Call<'a> {
    pub act: &'static str,
    pub id: &'a BlobId,
    pub host: &'a str,
}

impl Call<'_> {
    /// Sends; any answer but a success is [`Error::Refused`].
    pub async fn ask(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|source| self.broken(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(Error::Refused {
            act: self.act,
            id: self.id.to_string(),
            host: self.host.to_owned(),
            status: status.as_u16(),
        })
    }

    /// The same about an object that should be there: 404 becomes [`Error::NotFound`].
    async fn ask_of_object(&self, request: RequestBuilder) -> Result<Response, Error> {
        match self.ask(request).await {
            Err(Error::Refused {
                status: 404, id, ..
            }) => Err(Error::NotFound(id)),
            other => other,
        }
    }

    /// Stores the object. What a 404 misses is the folder or bucket, not the object.
    pub async fn put(
        &self,
        mut request: RequestBuilder,
        size: Option<u64>,
        content: ByteStream,
    ) -> Result<(), Error> {
        if let Some(size) = size {
            request = request.header(CONTENT_LENGTH, size);
        }
        let request = request.body(Body::wrap_stream(content));
        self.ask(request).await.map(drop)
    }

    /// Opens the object.
    pub async fn get(&self, request: RequestBuilder) -> Result<Object, Error> {
        self.ask_of_object(request).await.map(object)
    }

    /// Whether the object is there.
    pub async fn exists(&self, request: RequestBuilder) -> Result<bool, Error> {
        match self.ask_of_object(request).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the object, if it is there.
    pub async fn delete(&self, request: RequestBuilder) -> Result<(), Error> {
        match self.ask_of_object(request).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The connection failed or broke off.
    pub fn broken(&self, source: reqwest::Error) -> Error {
        Error::Request {
            act: self.act,
            id: self.id.to_string(),
            host: self.host.to_owned(),
            // A signed URL would be shown otherwise.
            source: source.without_url(),
        }
    }
}

/// The answer's body as an object.
fn object(response: Response) -> Object {
    Object {
        size: response.content_length(),
        content: Box::pin(
            response
                .bytes_stream()
                .map_err(|error| std::io::Error::other(error.without_url())),
        ),
    }
}
