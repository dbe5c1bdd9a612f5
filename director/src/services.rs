//! What every room may use: one value, built once by `main`, shared by the API and the task workers.

use crate::config::Settings;
use crate::store::Store;

/// Handles to everything outside of the director's own code. Cheap to share behind an `Arc`.
pub struct Services {
    pub settings: Settings,
    pub store: Store,
    /// Identifies this director in `/info`, NATS replies and scopes.
    pub director_uuid: String,
}

/// Builds the services and serves until a signal ends the process.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    drop(settings);
    Ok(())
}
