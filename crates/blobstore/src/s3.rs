//! S3 and what speaks its protocol: requests signed by AWS Signature Version 4, payloads unsigned (TLS covers them).

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::BlobId;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::http::{Call, client, text};
use crate::s3_access::{Access, bad, of_release, region_of};
use crate::store::{Blobstore, ByteStream, Error, Method, Object, checked};

/// Everything but `A-Za-z0-9-._~`, as the signature's canonical form wants it.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Objects in a bucket.
pub struct S3Blobstore {
    client: reqwest::Client,
    /// `https://host[:port]`.
    origin: String,
    host: String,
    bucket: String,
    folder: Option<String>,
    host_style: bool,
    region: String,
    /// None: requests go unsigned, for what anyone may read.
    access: Option<Access>,
    /// Headers of uploads, by name in lower case, sorted: encryption.
    upload_headers: Vec<(&'static str, String)>,
    options: Map<String, Value>,
}

impl S3Blobstore {
    /// `options`: `bucket_name`, `access_key_id`, `secret_access_key`, `region`, `host`, `port`, `use_ssl`,
    /// `host_style`, `folder_name`, `tls.cert.ca`; credentials are static ones.
    pub fn new(options: Map<String, Value>) -> Result<Self, Error> {
        let missing = |key: &str| bad(format!("'{key}' is missing"));
        if let Some(source) =
            text(&options, "credentials_source").filter(|source| source != "static")
        {
            return Err(bad(format!(
                "credentials_source '{source}' is not supported: use 'static'"
            )));
        }
        for key in ["bucket_name", "access_key_id", "secret_access_key"] {
            text(&options, key).ok_or_else(|| missing(key))?;
        }
        Self::for_releases(options)
    }

    /// The blobstore of a release folder (docs/spec/releases-and-templates.md §10). Besides the options of
    /// [`S3Blobstore::new`]: any `credentials_source`, `server_side_encryption`, `sse_kms_key_id`, `ssl_verify_peer`.
    pub fn for_releases(options: Map<String, Value>) -> Result<Self, Error> {
        let text = |key: &str| text(&options, key);
        let flag = |key: &str| options.get(key).and_then(Value::as_bool);
        if text("assume_role_arn").is_some() {
            return Err(bad(
                "assume_role_arn is not supported: give the credentials of the role",
            ));
        }
        let region = text("region")
            .or_else(|| text("host").and_then(|host| region_of(&host)))
            .unwrap_or_else(|| "us-east-1".to_owned());
        let host = text("host").unwrap_or_else(|| format!("s3.{region}.amazonaws.com"));
        let bucket = text("bucket_name").ok_or_else(|| bad("bucket_name must be set"))?;
        let host_style = flag("host_style").unwrap_or(false);
        let ssl = flag("use_ssl").unwrap_or(true);
        let (scheme, usual) = if ssl { ("https", 443) } else { ("http", 80) };
        let port = options
            .get("port")
            .and_then(Value::as_u64)
            .filter(|port| *port != 0)
            .unwrap_or(usual);
        let name = if host_style {
            format!("{bucket}.{host}")
        } else {
            host
        };
        let host = if port == usual {
            name
        } else {
            format!("{name}:{port}")
        };
        let ca = options
            .get("tls")
            .and_then(|tls| tls["cert"]["ca"].as_str());
        let upload_headers = [
            ("x-amz-server-side-encryption", "server_side_encryption"),
            (
                "x-amz-server-side-encryption-aws-kms-key-id",
                "sse_kms_key_id",
            ),
        ]
        .into_iter()
        .filter_map(|(header, option)| Some((header, text(option)?)))
        .collect();
        Ok(Self {
            client: client("s3", ca, flag("ssl_verify_peer").unwrap_or(true))?,
            origin: format!("{scheme}://{host}"),
            host,
            bucket,
            folder: text("folder_name"),
            host_style,
            region,
            access: of_release(&options)?,
            upload_headers,
            options,
        })
    }

    /// The object's path, escaped.
    fn path(&self, id: &BlobId) -> String {
        let mut parts = Vec::new();
        if !self.host_style {
            parts.push(self.bucket.as_str());
        }
        parts.extend(self.folder.iter().flat_map(|folder| folder.split('/')));
        parts.push(id.as_str());
        let escaped = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(escape);
        format!("/{}", escaped.collect::<Vec<_>>().join("/"))
    }

    /// A presigned URL; the director's own requests use one too, of a short life. `headers` (in lower case, sorted) are
    /// to be sent with the request. Without credentials it is the bare address.
    fn presigned(
        &self,
        method: &str,
        id: &BlobId,
        headers: &[(&str, String)],
        lifetime: Duration,
        at: DateTime<Utc>,
    ) -> String {
        let path = self.path(id);
        let Some(access) = &self.access else {
            return format!("{}{path}", self.origin);
        };
        let (day, time) = (at.format("%Y%m%d"), at.format("%Y%m%dT%H%M%SZ"));
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let credential = escape(&format!("{}/{scope}", access.key));
        let token = access.token.as_ref().map_or(String::new(), |token| {
            format!("&X-Amz-Security-Token={}", escape(token.expose()))
        });
        let mut signed = String::from("host");
        let mut canonical_headers = format!("host:{}\n", self.host);
        for (name, value) in headers {
            signed.push_str(&format!(";{name}"));
            canonical_headers.push_str(&format!("{name}:{value}\n"));
        }
        // Sorted by name, as the canonical form wants it.
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={time}&X-Amz-Expires={}{token}&X-Amz-SignedHeaders={}",
            lifetime.as_secs(),
            escape(&signed)
        );
        let canonical =
            format!("{method}\n{path}\n{query}\n{canonical_headers}\n{signed}\nUNSIGNED-PAYLOAD");
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
        let mut key = mac(
            format!("AWS4{}", access.secret.expose()).as_bytes(),
            &day.to_string(),
        );
        for part in [self.region.as_str(), "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex::encode(mac(&key, &to_sign));
        format!("{}{path}?{query}&X-Amz-Signature={signature}", self.origin)
    }

    fn request(
        &self,
        method: reqwest::Method,
        id: &BlobId,
    ) -> Result<reqwest::RequestBuilder, Error> {
        checked(id)?;
        let headers: &[_] = if method == reqwest::Method::PUT {
            &self.upload_headers
        } else {
            &[]
        };
        let lifetime = Duration::from_secs(3600);
        let url = self.presigned(method.as_str(), id, headers, lifetime, Utc::now());
        let request = self.client.request(method, url);
        Ok(headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, value)
        }))
    }

    fn call<'a>(&'a self, act: &'static str, id: &'a BlobId) -> Call<'a> {
        Call {
            act,
            id,
            host: &self.host,
        }
    }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[async_trait]
impl Blobstore for S3Blobstore {
    async fn put(&self, id: &BlobId, size: Option<u64>, content: ByteStream) -> Result<(), Error> {
        if self.access.is_none() {
            return Err(bad(
                "the client operates in read only mode. Change 'credentials_source' parameter value",
            ));
        }
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
        Some(self.presigned(method.as_str(), id, &[], expiry, Utc::now()))
    }

    fn agent_settings(&self, signed: bool) -> Value {
        let mut options = self.options.clone();
        if signed {
            for secret in ["access_key_id", "secret_access_key", "credentials_source"] {
                options.remove(secret);
            }
        }
        json!({"provider": "s3", "options": options})
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn the_presigned_url_is_the_one_of_the_published_example() {
        // "Authenticating Requests: Using Query Parameters", Amazon S3 API reference.
        let options = json!({
            "bucket_name": "examplebucket",
            "host": "s3.amazonaws.com",
            "host_style": true,
            "access_key_id": "AKIAIOSFODNN7EXAMPLE",
            "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        });
        let store = S3Blobstore::new(options.as_object().cloned().unwrap_or_default()).unwrap();
        let at = Utc.with_ymd_and_hms(2013, 5, 24, 0, 0, 0).unwrap();
        let url = store.presigned(
            "GET",
            &BlobId::new("test.txt"),
            &[],
            Duration::from_secs(86400),
            at,
        );
        assert_eq!(
            url,
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z\
             &X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
