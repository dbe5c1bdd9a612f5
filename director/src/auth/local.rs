//! Basic authentication against the users of the settings: argon2 hashes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine as _;
use sha2::{Digest, Sha256};

use super::Identity;
use crate::config::User;

/// A hash for the `users` of the settings: argon2id with a random salt.
pub fn hash_password(password: &str) -> anyhow::Result<String> {
    let hash: argon2::password_hash::phc::PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| anyhow::anyhow!("hashing failed: {error}"))?;
    Ok(hash.to_string())
}

/// Knows the users. Cheap to clone.
#[derive(Clone)]
pub struct Users {
    users: Arc<[User]>,
    verified: Arc<Mutex<Verified>>,
}

/// Digests, under a key of this process, of headers that were verified: a client polls twice a second, and
/// argon2 is slow on purpose.
struct Verified {
    key: [u8; 32],
    digests: HashSet<[u8; 32]>,
}

/// Only that many digests are kept; then the set is emptied.
const REMEMBERED: usize = 256;

impl Users {
    pub fn new(users: &[User]) -> Users {
        Users {
            users: users.into(),
            verified: Arc::new(Mutex::new(Verified {
                key: rand::random(),
                digests: HashSet::new(),
            })),
        }
    }

    /// The caller named by an `Authorization` header; `None` for wrong or unreadable credentials.
    pub async fn identify(&self, header: &http::HeaderValue) -> Option<Identity> {
        let header = header.as_bytes();
        let (scheme, encoded) = header.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(encoded.trim_ascii())
            .ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (name, password) = (&decoded[..colon], decoded[colon + 1..].to_vec());
        if name.is_empty() || password.is_empty() {
            return None;
        }
        let user = self
            .users
            .iter()
            .find(|user| user.name.as_bytes() == name)?
            .clone();
        let digest = self.digest(&decoded);
        if !self.lock().digests.contains(&digest) {
            let hash = user.password_hash.clone();
            // Some 20 ms and 19 MiB: not on the threads that serve everyone.
            let right = tokio::task::spawn_blocking(move || {
                PasswordHash::new(hash.expose())
                    .is_ok_and(|hash| Argon2::default().verify_password(&password, &hash).is_ok())
            })
            .await
            .unwrap_or(false);
            if !right {
                return None;
            }
            let mut verified = self.lock();
            if verified.digests.len() >= REMEMBERED {
                verified.digests.clear();
            }
            verified.digests.insert(digest);
        }
        Some(Identity::of_settings(&user.name, user.scopes.as_ref()))
    }

    fn digest(&self, credentials: &[u8]) -> [u8; 32] {
        let key = self.lock().key;
        let mut hash = Sha256::new();
        hash.update(key);
        hash.update(credentials);
        hash.finalize().into()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Verified> {
        self.verified
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Secret;

    fn header(text: &str) -> http::HeaderValue {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        http::HeaderValue::from_str(&format!("Basic {encoded}")).unwrap()
    }

    #[tokio::test]
    async fn the_right_password_names_the_user_and_all_else_names_nobody() {
        let users = [User {
            name: "ann".into(),
            password_hash: Secret::new(hash_password("se:cret").unwrap()),
            scopes: None,
        }];
        let known = Users::new(&users);
        for _ in 0..2 {
            let ann = known.identify(&header("ann:se:cret")).await.unwrap();
            assert_eq!(
                (ann.user.as_str(), ann.scopes),
                ("ann", vec!["bosh.admin".to_owned()])
            );
        }
        for wrong in ["ann:secret", "ann:", "bob:se:cret", ":se:cret", "ann"] {
            assert_eq!(known.identify(&header(wrong)).await, None, "{wrong}");
        }
        let bearer = http::HeaderValue::from_static("bearer x");
        assert_eq!(known.identify(&bearer).await, None);
    }
}
