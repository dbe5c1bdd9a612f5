//! A whole environment on this machine: `bosun up`, `bosun down`, `bosun status`.
//!
//! ```text
//! bosun up ── starts ──▶ supervisor (this binary, detached) ──▶ Postgres, nats-server, bosun-director
//!    └── waits for /info, revives containers, logs the CLI in
//! ```
//!
//! Everything lives in one folder, the home: the database, the blobs, certificates, the containers. `bosun up` again
//! brings all of it back after `bosun down`, a kill or a reboot. Nothing is written outside of it but the alias in
//! the CLI's own configuration, which `bosun down` takes out again.

mod containers;
mod credentials;
mod director_config;
pub mod down;
pub mod home;
pub mod status;
pub mod supervisor;
pub mod up;

pub use home::{Home, State};

/// The alias of the environment on this machine, when there is one.
pub fn default_alias() -> Option<String> {
    Some(Home::find(None).load_state().ok()??.name)
}

/// Why something about the local environment did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of bosun's own programs is not where this one is, nor in `PATH`.
    #[error(
        "{0} is not beside this program and not in PATH. Build it (scripts/up does) or put it there"
    )]
    NoProgram(&'static str),
    /// There is no environment to act on.
    #[error("there is no environment in {0}. Start one: bosun up")]
    NoEnvironment(std::path::PathBuf),
    /// Another `bosun up` or `bosun down` is at work.
    #[error("another bosun up or down is at work on {0}. Wait for it, or end it")]
    Busy(std::path::PathBuf),
    /// The processes did not come up.
    #[error(
        "the environment did not get ready: {detail}. Look into {log}, then run bosun up again"
    )]
    NotReady {
        detail: String,
        log: std::path::PathBuf,
    },
    /// A file of the home is not what was written.
    #[error(
        "{path} can't be understood: {detail}. Take it back from a copy, or start anew: bosun down --delete-data"
    )]
    BadFile {
        path: std::path::PathBuf,
        detail: String,
    },
    /// The container CPI failed.
    #[error("bosun-cpi-local {command} failed: {detail}")]
    Containers {
        command: &'static str,
        detail: String,
    },
    /// Certificates could not be made.
    #[error("the certificates could not be made")]
    Certificates(#[source] pki::Error),
    /// A server could not be started.
    #[error(transparent)]
    Service(#[from] services::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
