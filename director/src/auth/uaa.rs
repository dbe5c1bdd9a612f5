//! Tokens of a UAA, judged without asking it (director-api.md §2.1).
//!
//! A token is judged when its request starts: one that expires while a long upload is being received is still good.
//! Its audience is not checked, as in the original.

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::Identity;
use super::jwks::Fetched;
use crate::config::access::Uaa;

/// Judges tokens.
pub struct Tokens(Keys);

enum Keys {
    /// The RSA key of the settings.
    Public(DecodingKey),
    /// The HMAC key of the settings.
    Symmetric(DecodingKey),
    /// Whatever RSA keys the UAA publishes.
    Fetched(Fetched),
}

const RSA: [Algorithm; 3] = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// What is read of a token.
#[derive(Deserialize)]
struct Claims {
    jti: Option<String>,
    user_name: Option<String>,
    client_id: Option<String>,
    #[serde(default)]
    scope: Scope,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scope {
    List(Vec<String>),
    Text(String),
}

impl Default for Scope {
    fn default() -> Scope {
        Scope::List(Vec::new())
    }
}

impl Tokens {
    pub fn new(settings: &Uaa) -> anyhow::Result<Tokens> {
        Ok(Tokens(
            match (&settings.public_key, &settings.symmetric_key) {
                (Some(pem), _) => Keys::Public(
                    DecodingKey::from_rsa_pem(pem.as_bytes()).context("uaa.public_key")?,
                ),
                (None, Some(key)) => {
                    Keys::Symmetric(DecodingKey::from_secret(key.expose().as_bytes()))
                }
                (None, None) => Keys::Fetched(Fetched::new(settings)?),
            },
        ))
    }

    /// The caller named by `bearer TOKEN`; `None` for a token that is not good.
    pub async fn identify(&self, header: &http::HeaderValue) -> Option<Identity> {
        let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let token = token.trim();
        let header = jsonwebtoken::decode_header(token).ok()?;
        let claims = match &self.0 {
            Keys::Public(key) => claims(token, key, header.alg, &RSA),
            Keys::Symmetric(key) => claims(token, key, header.alg, &HMAC),
            Keys::Fetched(keys) => {
                let keys = keys.matching(header.kid.as_deref()).await;
                keys.iter()
                    .find_map(|key| claims(token, key, header.alg, &RSA))
            }
        }?;
        let jti = claims.jti?;
        // A refresh token is for the UAA only.
        if jti.ends_with("-r") {
            return None;
        }
        Some(Identity {
            user: claims.user_name.or(claims.client_id)?,
            scopes: match claims.scope {
                Scope::List(scopes) => scopes,
                Scope::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
            },
        })
    }
}

/// The claims of a token with a good signature that has not expired. `family`: the algorithms of the kind of key, never
/// those of another kind: a public key must not serve as a secret.
fn claims(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
    family: &[Algorithm],
) -> Option<Claims> {
    if !family.contains(&algorithm) {
        return None;
    }
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.validate_aud = false;
    jsonwebtoken::decode(token, key, &validation)
        .map(|token| token.claims)
        .ok()
}
