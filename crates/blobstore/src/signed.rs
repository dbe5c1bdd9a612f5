//! URLs that carry their own permission, in the form of the original's DAV server: `docs/spec/operations.md` §12.
//!
//! `<base>/signed/<2 hex>/<id>?st=<signature>&ts=<unix seconds>&e=<seconds>`, where the two digits are the first byte
//! of the SHA-1 of the id and the signature covers method, path, time and lifetime.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::BlobId;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Digest as _;

use crate::store::Method;

/// Agents' clocks may be ahead of or behind the director's by so much.
const CLOCK_SKEW: i64 = 600;

/// The key of signed URLs. Not shown by anything.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Wraps the configured text.
    pub fn new(secret: impl AsRef<[u8]>) -> Self {
        Self(secret.as_ref().to_vec())
    }

    fn mac(&self, method: Method, path: &str, at: i64, lifetime: u64) -> Hmac<sha2::Sha256> {
        // HMAC takes keys of any length.
        let mut mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(&self.0)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(format!("{}{path}{at}{lifetime}", method.as_str()).as_bytes());
        mac
    }
}

/// `<2 hex>/<id>`: where an object stands on a DAV server.
pub fn path(id: &BlobId) -> String {
    let first = sha1::Sha1::digest(id.as_str().as_bytes())[0];
    format!("{first:02x}/{id}")
}

/// Makes the URL. `base` has no slash at its end.
pub fn url(
    base: &str,
    secret: &SigningKey,
    method: Method,
    id: &BlobId,
    lifetime: Duration,
) -> String {
    let path = path(id);
    let at = chrono::Utc::now().timestamp();
    let lifetime = lifetime.as_secs();
    let mac = secret.mac(method, &path, at, lifetime).finalize();
    let signature = URL_SAFE_NO_PAD.encode(mac.into_bytes());
    format!("{base}/signed/{path}?st={signature}&ts={at}&e={lifetime}")
}

/// The query of a signed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// `st`.
    pub signature: String,
    /// `ts`: unix seconds.
    pub at: i64,
    /// `e`: seconds.
    pub lifetime: u64,
}

impl Query {
    /// Reads `st`, `ts` and `e`; `None` if one is missing or no number.
    pub fn parse(query: &str) -> Option<Self> {
        let mut parts = std::collections::BTreeMap::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            parts.insert(key.into_owned(), value.into_owned());
        }
        Some(Self {
            signature: parts.remove("st")?,
            at: parts.get("ts")?.parse().ok()?,
            lifetime: parts.get("e")?.parse().ok()?,
        })
    }
}

/// Whether a request has the permission that its URL claims, now. A URL for reading also permits HEAD.
pub fn verify(secret: &SigningKey, method: Method, id: &BlobId, query: &Query) -> bool {
    let now = chrono::Utc::now().timestamp();
    let Ok(lifetime) = i64::try_from(query.lifetime) else {
        return false;
    };
    let ends = query.at.saturating_add(lifetime);
    if now >= ends || query.at > now.saturating_add(CLOCK_SKEW) {
        return false;
    }
    let Ok(signature) = URL_SAFE_NO_PAD.decode(&query.signature) else {
        return false;
    };
    let signed_for = |method| {
        let mac = secret.mac(method, &path(id), query.at, query.lifetime);
        // Takes the same time for every wrong signature.
        mac.verify_slice(&signature).is_ok()
    };
    signed_for(method) || (method == Method::Head && signed_for(Method::Get))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_url_permits_its_method_on_its_object_until_it_ends() {
        let (secret, id) = (SigningKey::new("key"), BlobId::new("1b9d6bcd"));
        let url = url(
            "https://d:25555",
            &secret,
            Method::Get,
            &id,
            Duration::from_secs(60),
        );
        let (before, query) = url.split_once('?').unwrap();
        assert_eq!(before, format!("https://d:25555/signed/{}", path(&id)));
        let query = Query::parse(query).unwrap();
        assert!(verify(&secret, Method::Get, &id, &query));
        assert!(verify(&secret, Method::Head, &id, &query));
        assert!(!verify(&secret, Method::Put, &id, &query));
        assert!(!verify(&secret, Method::Get, &BlobId::new("other"), &query));
        assert!(!verify(&SigningKey::new("other"), Method::Get, &id, &query));
        let longer = Query {
            lifetime: 61,
            ..query.clone()
        };
        assert!(!verify(&secret, Method::Get, &id, &longer));
        let past = Query {
            at: query.at - 100,
            ..query
        };
        assert!(!verify(&secret, Method::Get, &id, &past));
    }

    #[test]
    fn the_signature_is_the_one_the_original_server_expects() {
        // Computed with: printf 'GET0f/blob1700000000900' | openssl dgst -sha256 -hmac secret -binary | basenc --base64url
        let id = BlobId::new("blob");
        let path = path(&id);
        let mac = SigningKey::new("secret").mac(Method::Get, &path, 1_700_000_000, 900);
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        assert_eq!((path.as_str(), signature.as_str()), EXPECTED);
    }

    const EXPECTED: (&str, &str) = ("0f/blob", "dJCYanLEwB5pHom88x8pgMAo-hqR1emiEg7_Yyjp2YI");
}
