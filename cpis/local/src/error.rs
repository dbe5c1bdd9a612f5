//! What can go wrong on this host. Everything ends as a fault of the CPI contract (`docs/spec/cpi.md` §3).

use cpi::Fault;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Already in the words of the contract.
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("'{tool}' could not be run: {source}; install it")]
    ToolMissing {
        tool: String,
        #[source]
        source: std::io::Error,
    },
    #[error("'{tool}' failed ({status}): {said}")]
    Tool {
        tool: String,
        status: String,
        said: String,
    },
    /// `fs_err` names the path.
    #[error("{0}")]
    File(#[from] std::io::Error),
    #[error("could not {act} '{}': {source}", path.display())]
    Mount {
        act: &'static str,
        path: std::path::PathBuf,
        #[source]
        source: nix::Error,
    },
    #[error("'{}' does not hold what this CPI wrote: {source}", path.display())]
    Record {
        path: std::path::PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{0}")]
    Host(String),
}

impl From<Error> for cpi::Error {
    fn from(error: Error) -> cpi::Error {
        into_fault(error).into()
    }
}

/// Running out of space is told apart, because people can do something about it.
pub fn into_fault(error: Error) -> Fault {
    match error {
        Error::Fault(fault) => fault,
        Error::File(source) if source.kind() == std::io::ErrorKind::StorageFull => {
            Fault::no_disk_space(source.to_string())
        }
        other => Fault::cloud_error(other.to_string()),
    }
}
