//! The director's one error type and the one table that turns it into HTTP.
//!
//! Every room returns [`Error`]; [`crate::api`] answers with its status and body
//! `{"code":…,"description":…}`, the task engine writes `{"code":…,"message":…}` as the last line of a
//! failed task's event output. Codes and statuses: `docs/spec/director-api.md` §20.

use std::fmt;

use http::StatusCode;

/// The codes of the original that this director answers with.
pub mod code {
    /// Untyped failure; the code of an event line, an empty 500 over HTTP in the original.
    pub const UNCLASSIFIED: u32 = 100;
    pub const TASK_NOT_FOUND: u32 = 10000;
    pub const TASK_CANCELLED: u32 = 10001;
    pub const TASK_UNEXPECTED_STATE: u32 = 10002;
    pub const NETWORK_NOT_FOUND: u32 = 16012;
    pub const RELEASE_INVALID_ARCHIVE: u32 = 30002;
    pub const RELEASE_MANIFEST_NOT_FOUND: u32 = 30003;
    pub const RELEASE_NOT_FOUND: u32 = 30005;
    pub const RELEASE_VERSION_NOT_FOUND: u32 = 30006;
    pub const RELEASE_IN_USE: u32 = 30007;
    pub const RELEASE_VERSION_IN_USE: u32 = 30008;
    pub const RELEASE_VERSION_INVALID: u32 = 30010;
    pub const RELEASE_NOT_MATCHING_MANIFEST: u32 = 30011;
    pub const RELEASE_INVALID_PACKAGE: u32 = 30012;
    pub const RELEASE_EXISTING_JOB_FINGERPRINT_MISMATCH: u32 = 30013;
    pub const RELEASE_VERSION_COMMIT_HASH_MISMATCH: u32 = 30014;
    pub const RELEASE_SHA1_DOES_NOT_MATCH: u32 = 30015;
    pub const RELEASE_DEPENDENCIES_DO_NOT_MATCH: u32 = 30016;
    pub const VALIDATION_INVALID_TYPE: u32 = 40000;
    pub const VALIDATION_MISSING_FIELD: u32 = 40001;
    pub const VALIDATION_VIOLATED_MIN: u32 = 40002;
    pub const VALIDATION_VIOLATED_MAX: u32 = 40003;
    pub const VALIDATION_EXTRA_FIELD: u32 = 40004;
    pub const VALIDATION_INVALID_VALUE: u32 = 40005;
    pub const STEMCELL_INVALID_ARCHIVE: u32 = 50000;
    pub const STEMCELL_IMAGE_NOT_FOUND: u32 = 50001;
    pub const STEMCELL_ALREADY_EXISTS: u32 = 50002;
    pub const STEMCELL_NOT_FOUND: u32 = 50003;
    pub const STEMCELL_IN_USE: u32 = 50004;
    pub const STEMCELL_ALIAS_ALREADY_EXISTS: u32 = 50005;
    pub const STEMCELL_SHA1_DOES_NOT_MATCH: u32 = 50007;
    pub const STEMCELL_NOT_SUPPORTED: u32 = 50008;
    pub const PACKAGE_INVALID_ARCHIVE: u32 = 60000;
    pub const PACKAGE_MISSING_SOURCE_CODE: u32 = 60001;
    pub const DEPLOYMENT_NOT_FOUND: u32 = 70000;
    pub const INSTANCE_NOT_FOUND: u32 = 70001;
    pub const INSTANCE_INVALID_INDEX: u32 = 70002;
    pub const INSTANCE_VM_MISSING: u32 = 70004;
    pub const VM_AGENT_ID_MISSING: u32 = 70005;
    pub const SNAPSHOT_NOT_FOUND: u32 = 70008;
    pub const JOB_NOT_FOUND: u32 = 70009;
    pub const CONTEXT_ID_INVALID: u32 = 70010;
    pub const VARIABLE_SET_NOT_FOUND: u32 = 70011;
    pub const CONFIG_TYPE_MISMATCH: u32 = 70012;
    pub const JOB_INVALID_ARCHIVE: u32 = 80000;
    pub const JOB_INVALID_LIFECYCLE: u32 = 90000;
    pub const RESOURCE_ERROR: u32 = 100_001;
    pub const RESOURCE_NOT_FOUND: u32 = 100_002;
    pub const INSTANCE_GROUP_IGNORED: u32 = 190_020;
    pub const DEPLOYMENT_IGNORED_INSTANCES_DELETION: u32 = 190_021;
    pub const DEPLOYMENT_CANONICAL_NAME_TAKEN: u32 = 190_009;
    pub const CONTEXT_INVALID_CONFIG_ID: u32 = 190_025;
    pub const DISK_NOT_ATTACHED: u32 = 390_001;
    pub const AGENT_INVALID_STATE: u32 = 400_002;
    pub const AGENT_JOB_NOT_RUNNING: u32 = 400_007;
    pub const AGENT_JOB_NOT_STOPPED: u32 = 400_008;
    pub const AGENT_DISK_MISMATCH: u32 = 400_010;
    pub const CLOUDCHECK_RESOLUTION: u32 = 410_003;
    pub const RESURRECTION_PAUSED: u32 = 410_004;
    pub const COMPILE_BLOB_MISSING: u32 = 430_004;
    pub const BAD_MANIFEST: u32 = 440_001;
    pub const BAD_CONFIG_REQUEST: u32 = 440_010;
    pub const BAD_CONFIG: u32 = 440_011;
    pub const CONFIG_NOT_FOUND: u32 = 440_012;
    pub const CONFIG_WRONG_EXPECTED_ID: u32 = 440_013;
    pub const RPC_REMOTE_EXCEPTION: u32 = 450_001;
    pub const RPC_TIMEOUT: u32 = 450_002;
    pub const SYSTEM_ERROR: u32 = 500_000;
    pub const NOT_ENOUGH_DISK_SPACE: u32 = 500_001;
    pub const RUN_ERRAND_ERROR: u32 = 510_000;
    pub const DELETING_PERSISTENT_DISK: u32 = 520_000;
    pub const ATTACH_DISK_UNKNOWN_INSTANCE: u32 = 520_001;
    pub const ATTACH_DISK_INSTANCE_STATE: u32 = 520_003;
    pub const CONFIG_SERVER_DISABLED: u32 = 540_009;
    pub const CPI_NOT_FOUND: u32 = 550_001;
    pub const CLOUD_CONFIG_MERGE: u32 = 570_000;
    pub const UNAUTHORIZED: u32 = 600_000;
    pub const BAD_YAML: u32 = 710_000;
    pub const BAD_JSON: u32 = 710_001;
    pub const LINK_LOOKUP: u32 = 810_000;
    pub const LINK_PROVIDER_LOOKUP: u32 = 810_004;
    pub const LINK_PROVIDER_NOT_SHARED: u32 = 810_009;
}

/// Status of the codes that are not plain 400s.
const STATUSES: &[(u32, u16)] = &[
    (code::UNCLASSIFIED, 500),
    (code::TASK_NOT_FOUND, 404),
    (code::TASK_CANCELLED, 200),
    (code::RELEASE_NOT_FOUND, 404),
    (code::RELEASE_VERSION_NOT_FOUND, 404),
    (code::STEMCELL_NOT_FOUND, 404),
    (code::DEPLOYMENT_NOT_FOUND, 404),
    (code::INSTANCE_NOT_FOUND, 404),
    (code::JOB_NOT_FOUND, 404),
    (code::CONFIG_TYPE_MISMATCH, 500),
    (code::JOB_INVALID_LIFECYCLE, 422),
    (code::RESOURCE_NOT_FOUND, 404),
    (code::CONFIG_NOT_FOUND, 404),
    (code::CONFIG_WRONG_EXPECTED_ID, 412),
    (code::SYSTEM_ERROR, 500),
    (code::NOT_ENOUGH_DISK_SPACE, 500),
    (code::UNAUTHORIZED, 401),
    (code::LINK_LOOKUP, 404),
    (code::LINK_PROVIDER_LOOKUP, 500),
    (code::LINK_PROVIDER_NOT_SHARED, 403),
];

/// The HTTP status that the original gives a code.
pub fn status_of(code: u32) -> StatusCode {
    let status = STATUSES
        .iter()
        .find(|(known, _)| *known == code)
        .map_or(400, |(_, status)| *status);
    StatusCode::from_u16(status).expect("the table holds valid statuses")
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, in the words of the original where it has some.
///
/// `Display` is the message alone; the chain below it goes to logs and debug output.
#[derive(Debug)]
pub struct Error {
    /// Error code of the original; [`code::UNCLASSIFIED`] where it has none.
    pub code: u32,
    pub status: StatusCode,
    /// For the user: names the object. Never holds a secret.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    source: Option<Source>,
    /// The work was not refused and did not fail: this worker must let go of it.
    interrupted: bool,
}

impl Error {
    /// An error of the original's table; the status follows from the code.
    pub fn new(code: u32, message: impl Into<String>) -> Error {
        Error {
            code,
            status: status_of(code),
            message: message.into(),
            hint: None,
            source: None,
            interrupted: false,
        }
    }

    /// A failure without a code of its own (100 in event lines).
    pub fn unclassified(message: impl Into<String>) -> Error {
        Error::new(code::UNCLASSIFIED, message)
    }

    /// A refused request without a code: status 400 and the text alone as the body.
    pub fn bad_request(message: impl Into<String>) -> Error {
        Error {
            status: StatusCode::BAD_REQUEST,
            ..Error::new(code::UNCLASSIFIED, message)
        }
    }

    /// The task was cancelled (operations.md §1.2).
    pub fn cancelled(task: impl fmt::Display) -> Error {
        Error::new(code::TASK_CANCELLED, format!("Task {task} cancelled"))
    }

    /// The worker lost its lease, the director is shutting down: the task is not over, another worker
    /// goes on with it. Handlers pass it up unchanged.
    pub fn interrupted(reason: impl Into<String>) -> Error {
        Error {
            interrupted: true,
            ..Error::unclassified(reason)
        }
    }

    /// Adds what the user should do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Error {
        self.source = Some(source.into());
        self
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    pub fn is_cancelled(&self) -> bool {
        self.code == code::TASK_CANCELLED
    }

    /// As JSON: the code, the original's text under `key` (people and scripts match on it, so it stands alone), and,
    /// where there is one, what to do next under `hint`.
    pub fn to_json(&self, key: &str) -> serde_json::Value {
        let mut object = serde_json::json!({"code": self.code, key: self.message});
        if let Some(hint) = &self.hint {
            object["hint"] = hint.trim().into();
        }
        object
    }

    /// Message and all causes, for logs and debug output.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Trouble with the connection interrupts a task instead of failing it: once the database is back, a worker goes
/// on where this one stopped. What a statement or the schema refused is a failure.
impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Error {
        if crate::store::is_unstorable_text(&error) {
            return Error::bad_request(
                "Text with a zero byte can't be stored or looked for. Remove the zero byte.",
            )
            .caused_by(error);
        }
        let interrupted = crate::store::is_connection_trouble(&error);
        let error = Error::new(code::SYSTEM_ERROR, "The director's database did not answer as expected.")
            .hint("Look at the director's log and at the database server; tasks go on by themselves once it is back.")
            .caused_by(error);
        Error {
            interrupted,
            ..error
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_map_to_the_statuses_of_the_original() {
        assert_eq!(status_of(code::DEPLOYMENT_NOT_FOUND), 404);
        assert_eq!(status_of(code::UNAUTHORIZED), 401);
        assert_eq!(status_of(code::CONFIG_WRONG_EXPECTED_ID), 412);
        assert_eq!(status_of(code::LINK_PROVIDER_NOT_SHARED), 403);
        assert_eq!(status_of(code::BAD_MANIFEST), 400);
    }
}
