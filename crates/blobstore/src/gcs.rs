//! Google Cloud Storage, by its XML interface: what release folders with `provider: gcs` use
//! (docs/spec/releases-and-templates.md §10).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{BlobId, Secret};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::http::{Call, client, text};
use crate::store::{Blobstore, ByteStream, Error, Method, Object, checked};

/// Where Google's own libraries look for another server, too.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.full_control";

/// Objects in a bucket.
pub struct GcsBlobstore {
    client: reqwest::Client,
    origin: String,
    bucket: String,
    storage_class: Option<String>,
    encryption_key: Option<Secret<Vec<u8>>>,
    /// None: requests go without a token, for what anyone may read.
    account: Option<Account>,
}

/// A service account, from its `json_key`.
struct Account {
    email: String,
    token_uri: String,
    key: EncodingKey,
}

fn bad(reason: impl Into<String>) -> Error {
    Error::Options {
        provider: "gcs",
        reason: reason.into(),
    }
}

impl GcsBlobstore {
    /// `options`: `bucket_name`, `credentials_source` (`static` with `json_key`, or `none`), `storage_class`,
    /// `encryption_key` (base64, 32 bytes).
    pub fn new(options: &Map<String, Value>) -> Result<Self, Error> {
        let text = |key: &str| text(options, key);
        let account = match (text("credentials_source").as_deref(), text("json_key")) {
            (Some("static") | None, Some(json_key)) => Some(Account::from_json(&json_key)?),
            (Some("none") | None, None) => None,
            (Some("static"), None) => {
                return Err(bad("json_key must be set"));
            }
            (Some(source), _) => {
                return Err(bad(format!(
                    "credentials_source '{source}' is not supported: use 'static' with a 'json_key', or 'none'"
                )));
            }
        };
        let encryption_key = text("encryption_key")
            .map(|key| STANDARD.decode(key))
            .transpose()
            .map_err(|_| bad("'encryption_key' is not base64"))?;
        if encryption_key.as_ref().is_some_and(|key| key.len() != 32) {
            return Err(bad("encryption_key not 32 bytes"));
        }
        let origin = match std::env::var(EMULATOR) {
            Ok(host) if host.contains("://") => host.trim_end_matches('/').to_owned(),
            Ok(host) if !host.is_empty() => format!("http://{host}"),
            _ => "https://storage.googleapis.com".to_owned(),
        };
        Ok(Self {
            client: client("gcs", None, true)?,
            origin,
            bucket: text("bucket_name").ok_or_else(|| bad("bucket_name must be set"))?,
            storage_class: text("storage_class"),
            encryption_key: encryption_key.map(Secret::new),
            account,
        })
    }

    fn call<'a>(&'a self, act: &'static str, id: &'a BlobId) -> Call<'a> {
        Call {
            act,
            id,
            host: &self.origin,
        }
    }

    async fn request(
        &self,
        method: reqwest::Method,
        call: &Call<'_>,
    ) -> Result<reqwest::RequestBuilder, Error> {
        let url = format!("{}/{}/{}", self.origin, self.bucket, checked(call.id)?);
        let mut request = self.client.request(method, url);
        if let Some(account) = &self.account {
            request = request.bearer_auth(self.token(account, call).await?.expose());
        }
        if let Some(key) = &self.encryption_key {
            let key = key.expose();
            request = request
                .header("x-goog-encryption-algorithm", "AES256")
                .header("x-goog-encryption-key", STANDARD.encode(key))
                .header(
                    "x-goog-encryption-key-sha256",
                    STANDARD.encode(Sha256::digest(key)),
                );
        }
        Ok(request)
    }

    /// An access token for the next hour. Transfers are few and large: each asks for its own.
    async fn token(&self, account: &Account, about: &Call<'_>) -> Result<Secret<String>, Error> {
        let form = [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned(),
            ),
            (
                "assertion",
                account.assertion(chrono::Utc::now().timestamp())?,
            ),
        ];
        let call = Call {
            host: &account.token_uri,
            ..*about
        };
        let answer = call
            .ask(self.client.post(&account.token_uri).form(&form))
            .await?;
        let answer: Value = answer.json().await.map_err(|source| call.broken(source))?;
        answer["access_token"]
            .as_str()
            .map(|token| Secret::new(token.to_owned()))
            .ok_or_else(|| bad("the token server gave no access token for this 'json_key'"))
    }
}

impl Account {
    fn from_json(json: &str) -> Result<Self, Error> {
        let document: Value =
            serde_json::from_str(json).map_err(|_| bad("'json_key' is not JSON"))?;
        let text = |key: &str| {
            document[key]
                .as_str()
                .ok_or_else(|| bad(format!("'json_key' has no '{key}'")))
        };
        let private_key = text("private_key")?;
        Ok(Self {
            email: text("client_email")?.to_owned(),
            token_uri: document["token_uri"]
                .as_str()
                .unwrap_or("https://oauth2.googleapis.com/token")
                .to_owned(),
            key: EncodingKey::from_rsa_pem(private_key.as_bytes())
                .map_err(|_| bad("'private_key' of 'json_key' is not an RSA key in PEM"))?,
        })
    }

    /// A signed request for a token (RFC 7523).
    fn assertion(&self, now: i64) -> Result<String, Error> {
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now, "exp": now + 3600,
        });
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key)
            .map_err(|_| bad("'private_key' of 'json_key' can't sign"))
    }
}

#[async_trait]
impl Blobstore for GcsBlobstore {
    async fn put(&self, id: &BlobId, size: Option<u64>, content: ByteStream) -> Result<(), Error> {
        let call = self.call("write", id);
        let mut request = self.request(reqwest::Method::PUT, &call).await?;
        if let Some(class) = &self.storage_class {
            request = request.header("x-goog-storage-class", class);
        }
        call.put(request, size, content).await
    }

    async fn get(&self, id: &BlobId) -> Result<Object, Error> {
        let call = self.call("read", id);
        let request = self.request(reqwest::Method::GET, &call).await?;
        call.get(request).await
    }

    async fn exists(&self, id: &BlobId) -> Result<bool, Error> {
        let call = self.call("look for", id);
        let request = self.request(reqwest::Method::HEAD, &call).await?;
        call.exists(request).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), Error> {
        let call = self.call("delete", id);
        let request = self.request(reqwest::Method::DELETE, &call).await?;
        call.delete(request).await
    }

    fn signed_url(&self, _: Method, _: &BlobId, _: Duration) -> Option<String> {
        None
    }

    fn agent_settings(&self, _: bool) -> Value {
        json!({"provider": "gcs", "options": {"bucket_name": self.bucket}})
    }
}
