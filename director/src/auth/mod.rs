//! Who calls, and what they may do (director-api.md §2).
//!
//! The API asks [`Authenticator::identify`] for each request and then one of the checks of [`scopes`]. Local
//! users only: basic authentication against argon2 hashes of the settings.

mod basic;
pub mod scopes;

pub use basic::{Authenticator, hash_password};
pub use scopes::{Access, Permission};

/// A known caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Recorded on tasks and events.
    pub user: String,
    pub scopes: Vec<String>,
}

impl Identity {
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
