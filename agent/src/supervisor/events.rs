//! What happens to services while the engine does something else.

use super::process::Process;

/// One thing that happened. Tickets tell whether it still matters: each start, stop and process gets a fresh one.
#[derive(Debug)]
pub enum Event {
    /// A start program has brought a process up, or not.
    Started {
        service: String,
        ticket: u64,
        outcome: Result<Process, String>,
    },
    /// A stop is over.
    Stopped {
        service: String,
        ticket: u64,
        outcome: Result<(), String>,
    },
    /// A process has ended.
    Ended { service: String, ticket: u64 },
    /// A process has run long enough to be called running.
    Settled { service: String, ticket: u64 },
    /// A pause before a restart is over.
    PauseOver { service: String, ticket: u64 },
    /// A connection test is done.
    Tested {
        service: String,
        rule: usize,
        failed: bool,
    },
}

impl Event {
    /// Whose it is.
    pub fn service(&self) -> &str {
        match self {
            Self::Started { service, .. }
            | Self::Stopped { service, .. }
            | Self::Ended { service, .. }
            | Self::Settled { service, .. }
            | Self::PauseOver { service, .. }
            | Self::Tested { service, .. } => service,
        }
    }
}
