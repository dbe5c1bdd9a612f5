//! A WebDAV server as the original deploys one: objects at `/<2 hex>/<id>` with basic auth, and signed URLs.

use std::time::Duration;

use async_trait::async_trait;
use domain::BlobId;
use serde_json::{Map, Value, json};

use crate::http::{Call, client};
use crate::signed::{self, SigningKey};
use crate::store::{Blobstore, ByteStream, Error, Method, Object, checked};

/// Blobs on a DAV server.
pub struct DavBlobstore {
    client: reqwest::Client,
    endpoint: String,
    host: String,
    user: Option<String>,
    password: Option<String>,
    secret: Option<SigningKey>,
    options: Map<String, Value>,
}

impl DavBlobstore {
    /// `options`: `endpoint`, `user`, `password`, `tls.cert.ca`, `secret`, as agents know them.
    pub fn new(options: Map<String, Value>) -> Result<Self, Error> {
        let bad = |reason: String| Error::Options {
            provider: "dav",
            reason,
        };
        let text = |key: &str| options.get(key).and_then(Value::as_str).map(str::to_owned);
        let endpoint = text("endpoint").ok_or_else(|| bad("'endpoint' is missing".to_owned()))?;
        let parsed = url::Url::parse(&endpoint)
            .map_err(|error| bad(format!("endpoint '{endpoint}': {error}")))?;
        let ca = options
            .get("tls")
            .and_then(|tls| tls["cert"]["ca"].as_str());
        Ok(Self {
            client: client("dav", ca, true)?,
            host: parsed.host_str().unwrap_or_default().to_owned(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            user: text("user"),
            password: text("password"),
            secret: text("secret").map(SigningKey::new),
            options,
        })
    }

    fn request(
        &self,
        method: reqwest::Method,
        id: &BlobId,
    ) -> Result<reqwest::RequestBuilder, Error> {
        checked(id)?;
        let url = format!("{}/{}", self.endpoint, signed::path(id));
        let request = self.client.request(method, url);
        Ok(match &self.user {
            Some(user) => request.basic_auth(user, self.password.as_ref()),
            None => request,
        })
    }

    fn call<'a>(&'a self, act: &'static str, id: &'a BlobId) -> Call<'a> {
        Call {
            act,
            id,
            host: &self.host,
        }
    }
}

#[async_trait]
impl Blobstore for DavBlobstore {
    async fn put(&self, id: &BlobId, size: Option<u64>, content: ByteStream) -> Result<(), Error> {
        let request = self.request(reqwest::Method::PUT, id)?;
        self.call("write", id).put(request, size, content).await
    }

    async fn get(&self, id: &BlobId) -> Result<Object, Error> {
        let request = self.request(reqwest::Method::GET, id)?;
        self.call("read", id).get(request).await
    }

    async fn exists(&self, id: &BlobId) -> Result<bool, Error> {
        let request = self.request(reqwest::Method::HEAD, id)?;
        self.call("look for", id).exists(request).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), Error> {
        let request = self.request(reqwest::Method::DELETE, id)?;
        self.call("delete", id).delete(request).await
    }

    fn signed_url(&self, method: Method, id: &BlobId, expiry: Duration) -> Option<String> {
        let secret = self.secret.as_ref()?;
        Some(signed::url(&self.endpoint, secret, method, id, expiry))
    }

    fn agent_settings(&self, signed: bool) -> Value {
        let mut options = self.options.clone();
        if signed {
            for secret in ["user", "password", "secret"] {
                options.remove(secret);
            }
        }
        json!({"provider": "dav", "options": options})
    }
}
