//! What the stores behind HTTP share: a client with the configured CA, and how answers become errors.

use domain::BlobId;
use futures_util::TryStreamExt;

use crate::store::{Error, Object};

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
    /// Sends; 404 becomes [`Error::NotFound`], other refusals [`Error::Refused`].
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
        let response = request.send().await.map_err(|source| self.broken(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == reqwest::StatusCode::NOT_FOUND {
            return Err(Error::NotFound(self.id.to_string()));
        }
        Err(self.refused(status.as_u16()))
    }

    /// The server said no.
    pub fn refused(&self, status: u16) -> Error {
        Error::Refused {
            act: self.act,
            id: self.id.to_string(),
            host: self.host.to_owned(),
            status,
        }
    }

    fn broken(&self, source: reqwest::Error) -> Error {
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
pub(crate) fn object(response: reqwest::Response) -> Object {
    Object {
        size: response.content_length(),
        content: Box::pin(
            response
                .bytes_stream()
                .map_err(|error| std::io::Error::other(error.without_url())),
        ),
    }
}
