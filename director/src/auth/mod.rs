//! Who calls, and what they may do (director-api.md §2).
//!
//! The API asks [`Authenticator::identify`] for each request and then one of the checks of [`scopes`]. Users are those of
//! the settings, with passwords ([`local`]), or those of a UAA, with tokens ([`uaa`]); in both cases, besides, those who
//! showed a certificate ([`certificate`]).

mod certificate;
mod jwks;
mod local;
pub mod scopes;
mod uaa;

use std::sync::Arc;

pub use certificate::CertificateUsers;
pub use local::hash_password;
pub use scopes::{Access, Permission};

use crate::config::Settings;

/// Knows the callers. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Mode);

#[derive(Clone)]
enum Mode {
    Local(local::Users),
    Uaa(Arc<uaa::Tokens>),
}

impl Authenticator {
    /// As the settings say. Fails for a UAA whose key or CA can't be used.
    pub fn new(settings: &Settings) -> anyhow::Result<Authenticator> {
        Ok(Authenticator(match &settings.uaa {
            Some(uaa) => Mode::Uaa(Arc::new(uaa::Tokens::new(uaa)?)),
            None => Mode::Local(local::Users::new(&settings.users)),
        }))
    }

    /// The caller named by an `Authorization` header; without one, the caller of the connection's certificate.
    /// `None` for wrong, expired or unreadable credentials.
    pub async fn identify(
        &self,
        header: Option<&http::HeaderValue>,
        certificate: Option<&Identity>,
    ) -> Option<Identity> {
        let Some(header) = header else {
            return certificate.cloned();
        };
        match &self.0 {
            Mode::Local(users) => users.identify(header).await,
            Mode::Uaa(tokens) => tokens.identify(header).await,
        }
    }
}

/// A known caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Recorded on tasks and events.
    pub user: String,
    pub scopes: Vec<String>,
}

impl Identity {
    /// A user of the settings: an admin, unless scopes are given (director-api.md §2.1).
    fn of_settings(name: &str, scopes: Option<&Vec<String>>) -> Identity {
        Identity {
            user: name.to_owned(),
            scopes: scopes.cloned().unwrap_or_else(|| vec!["bosh.admin".into()]),
        }
    }

    /// Teams whose admin the caller is: owners of what it creates. Empty for a full admin.
    pub fn admin_teams(&self, director_uuid: &str) -> Vec<String> {
        if scopes::is_admin(self, director_uuid) {
            return Vec::new();
        }
        self.teams("admin")
    }

    /// Teams in which the caller has the given role (`admin` or `read`).
    pub fn teams(&self, role: &str) -> Vec<String> {
        self.scopes
            .iter()
            .filter_map(|scope| {
                scope
                    .strip_prefix("bosh.teams.")?
                    .strip_suffix(role)?
                    .strip_suffix('.')
            })
            .filter(|team| !team.is_empty() && !team.contains('.'))
            .map(str::to_owned)
            .collect()
    }
}
