//! Errors of the CPI contract: [`Fault`] is what a CPI answers (`docs/spec/cpi.md` §3), [`Error`] is what a
//! caller sees, including everything that can go wrong between it and the executable.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The types of error that callers act on; any other type is kept as [`FaultKind::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FaultKind {
    CpiError,
    NotSupported,
    NotImplemented,
    CloudError,
    VmNotFound,
    NetworkNotFound,
    NoDiskSpace,
    DiskNotAttached,
    DiskNotFound,
    VmCreationFailed,
    AttachDiskResponseError,
    /// The `type` as the CPI wrote it.
    Unknown(String),
}

impl FaultKind {
    /// The `type` on the wire.
    pub fn wire_name(&self) -> &str {
        match self {
            FaultKind::CpiError => "Bosh::Clouds::CpiError",
            FaultKind::NotSupported => "Bosh::Clouds::NotSupported",
            FaultKind::NotImplemented => "Bosh::Clouds::NotImplemented",
            FaultKind::CloudError => "Bosh::Clouds::CloudError",
            FaultKind::VmNotFound => "Bosh::Clouds::VMNotFound",
            FaultKind::NetworkNotFound => "Bosh::Clouds::NetworkNotFound",
            FaultKind::NoDiskSpace => "Bosh::Clouds::NoDiskSpace",
            FaultKind::DiskNotAttached => "Bosh::Clouds::DiskNotAttached",
            FaultKind::DiskNotFound => "Bosh::Clouds::DiskNotFound",
            FaultKind::VmCreationFailed => "Bosh::Clouds::VMCreationFailed",
            FaultKind::AttachDiskResponseError => "Bosh::Clouds::AttachDiskResponseError",
            FaultKind::Unknown(name) => name,
        }
    }

    /// Reads `type`, with the message because of two compatibility rules (`docs/spec/cpi.md` §1.4).
    pub fn read(name: &str, message: &str) -> FaultKind {
        let not_implemented = (name == "InvalidCall"
            && message.starts_with("Method is not known, got"))
            || (name == "Bosh::Clouds::CloudError" && message.starts_with("Invalid Method:"));
        if not_implemented {
            return FaultKind::NotImplemented;
        }
        match name {
            "Bosh::Clouds::CpiError" => FaultKind::CpiError,
            "Bosh::Clouds::NotSupported" => FaultKind::NotSupported,
            "Bosh::Clouds::NotImplemented" => FaultKind::NotImplemented,
            "Bosh::Clouds::CloudError" => FaultKind::CloudError,
            "Bosh::Clouds::VMNotFound" => FaultKind::VmNotFound,
            "Bosh::Clouds::NetworkNotFound" => FaultKind::NetworkNotFound,
            "Bosh::Clouds::NoDiskSpace" => FaultKind::NoDiskSpace,
            "Bosh::Clouds::DiskNotAttached" => FaultKind::DiskNotAttached,
            "Bosh::Clouds::DiskNotFound" => FaultKind::DiskNotFound,
            "Bosh::Clouds::VMCreationFailed" => FaultKind::VmCreationFailed,
            "Bosh::Clouds::AttachDiskResponseError" => FaultKind::AttachDiskResponseError,
            other => FaultKind::Unknown(other.to_string()),
        }
    }

    fn is_known(&self) -> bool {
        !matches!(self, FaultKind::Unknown(_))
    }
}

/// What a CPI answers instead of a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
    /// Only acted on for `VMCreationFailed`: the caller tries again at once.
    pub ok_to_retry: bool,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident, $retry:expr;)*) => {
        $($(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Fault {
            Fault { kind: FaultKind::$kind, message: message.into(), ok_to_retry: $retry }
        })*
    };
}

impl Fault {
    constructors! {
        /// The caller's fault: a request that makes no sense.
        cpi_error => CpiError, false;
        /// The infrastructure said no.
        cloud_error => CloudError, false;
        /// Known, but can't be done for this object; the caller has another way.
        not_supported => NotSupported, false;
        vm_not_found => VmNotFound, false;
        network_not_found => NetworkNotFound, false;
        disk_not_found => DiskNotFound, false;
        disk_not_attached => DiskNotAttached, true;
        no_disk_space => NoDiskSpace, true;
        /// Trying again may help (no capacity just now, timed out).
        vm_creation_failed_retriable => VmCreationFailed, true;
        /// Trying again is of no use.
        vm_creation_failed => VmCreationFailed, false;
    }

    /// The method is not part of this CPI.
    pub fn not_implemented(method: &str) -> Fault {
        Fault {
            kind: FaultKind::NotImplemented,
            message: format!("Method is not known, got: '{method}'"),
            ok_to_retry: false,
        }
    }
}

/// `error` of a response on the wire; all three keys are required.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireFault {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    pub ok_to_retry: bool,
}

impl From<WireFault> for Fault {
    fn from(wire: WireFault) -> Fault {
        Fault {
            kind: FaultKind::read(&wire.kind, &wire.message),
            message: wire.message,
            ok_to_retry: wire.ok_to_retry,
        }
    }
}

impl From<&Fault> for WireFault {
    fn from(fault: &Fault) -> WireFault {
        WireFault {
            kind: fault.kind.wire_name().to_string(),
            message: fault.message.clone(),
            ok_to_retry: fault.ok_to_retry,
        }
    }
}

/// What can go wrong with a CPI call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CPI answered with an error.
    #[error("{}", describe_fault(fault, method, request_id))]
    Fault {
        fault: Fault,
        /// Empty while the fault has not crossed a process boundary.
        method: String,
        request_id: String,
    },
    /// compat: text of the original director.
    #[error("Failed to run cpi: '{}' is not executable", path.display())]
    NotExecutable { path: PathBuf },
    #[error("Failed to start CPI '{}' for '{method}'", path.display())]
    Spawn {
        path: PathBuf,
        method: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "CPI '{}' did not answer '{method}' within {} seconds and was stopped (CPI request ID: '{request_id}')",
        path.display(), after.as_secs()
    )]
    Timeout {
        path: PathBuf,
        method: String,
        request_id: String,
        after: Duration,
    },
    /// The answer is not a response of the contract. `detail` starts with the original's class of error.
    #[error(
        "Invalid CPI response - {detail} ('{method}' CPI method, exit status {exit_status}, CPI request ID: '{request_id}')"
    )]
    Garbage {
        detail: String,
        method: String,
        request_id: String,
        exit_status: String,
    },
    /// A result of the wrong shape for its method.
    #[error(
        "CPI answered '{method}' with {found} where {expected} was expected (CPI request ID: '{request_id}')"
    )]
    UnexpectedResult {
        method: String,
        request_id: String,
        expected: &'static str,
        found: String,
    },
    #[error("CPI API version {0} is not supported. Minimum required version is 2.")]
    VersionNotSupported(u64),
    #[error("CPI must report api_version via info")]
    NoApiVersion,
    /// The process that ran a creation is gone and left no answer, and this CPI can't be asked again without
    /// risking a double.
    #[error(
        "the answer of '{method}' for {key} was lost when its process died; the infrastructure may hold a resource nobody knows"
    )]
    ReplyLost { method: String, key: String },
    #[error("could not keep the state of CPI call '{method}'")]
    Spool {
        method: String,
        #[source]
        source: std::io::Error,
    },
}

fn describe_fault(fault: &Fault, method: &str, request_id: &str) -> String {
    if method.is_empty() {
        return fault.message.clone();
    }
    let unknown = if fault.kind.is_known() {
        "CPI error"
    } else {
        "Unknown CPI error"
    };
    format!(
        "{unknown} '{}' with message '{}' in '{method}' CPI method (CPI request ID: '{request_id}')",
        fault.kind.wire_name(),
        fault.message
    )
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Error::Fault {
            fault,
            method: String::new(),
            request_id: String::new(),
        }
    }
}

impl Error {
    /// The fault that the CPI answered with, if it answered.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Error::Fault { fault, .. } => Some(fault),
            _ => None,
        }
    }

    /// Its kind, if the CPI answered.
    pub fn kind(&self) -> Option<&FaultKind> {
        self.fault().map(|fault| &fault.kind)
    }

    pub fn is_vm_not_found(&self) -> bool {
        self.kind() == Some(&FaultKind::VmNotFound)
    }

    pub fn is_disk_not_found(&self) -> bool {
        self.kind() == Some(&FaultKind::DiskNotFound)
    }

    pub fn is_disk_not_attached(&self) -> bool {
        self.kind() == Some(&FaultKind::DiskNotAttached)
    }

    pub fn is_not_implemented(&self) -> bool {
        self.kind() == Some(&FaultKind::NotImplemented)
    }

    /// `NotImplemented` or `NotSupported`: the caller has another way.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.kind(),
            Some(FaultKind::NotImplemented | FaultKind::NotSupported)
        )
    }

    /// `create_vm` may be repeated at once with the same arguments.
    pub fn ok_to_retry_vm_creation(&self) -> bool {
        self.fault()
            .is_some_and(|fault| fault.kind == FaultKind::VmCreationFailed && fault.ok_to_retry)
    }

    /// What to do next, for the end of a message to a person.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotExecutable { path } => Some(format!(
                "Install the CPI at '{}' or change cpi.path in the director's configuration.",
                path.display()
            )),
            Error::Timeout { .. } => Some(
                "Look into the task's CPI output for what it was waiting for; raise cpi.timeout in the director's configuration \
                 if it was only slow."
                    .into(),
            ),
            Error::Garbage { .. } | Error::UnexpectedResult { .. } => Some(
                "The executable does not keep the CPI contract; its own messages are in the task's CPI output.".into(),
            ),
            Error::ReplyLost { .. } => {
                Some("Look for it in the infrastructure, by time or by agent id, and delete it.".into())
            }
            _ => None,
        }
    }
}
