//! Messages to the health monitor (`docs/spec/agent-protocol.md` §10, `docs/spec/operations.md` §4).

use serde::{Deserialize, Serialize};

use crate::state::{JobState, Vitals};

/// Sent at start and every 30 seconds; the monitor gives an agent up after 60.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The deployment, empty before the first `apply`.
    pub deployment: String,
    /// `job.name` of the spec.
    pub job: Option<String>,
    /// The instance's index.
    pub index: Option<i64>,
    /// Aggregate state.
    pub job_state: JobState,
    /// How the VM does.
    pub vitals: Vitals,
    /// The instance's uuid.
    pub node_id: String,
    /// Supervised processes of group `vcap`; null when unknown.
    pub number_of_processes: Option<u64>,
}

/// Something happened to a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Unique, so that it is handled once.
    pub id: String,
    /// 1 alert, 2 critical, 3 error, 4 warning.
    pub severity: i32,
    /// `<service> (<ips>) - <event> - <action>`.
    pub title: String,
    /// The event's description.
    pub summary: String,
    /// Unix seconds.
    pub created_at: i64,
}

/// The severity of a monit event by its lower-cased name; `None` for events that are not sent. Unknown ones are
/// critical.
pub fn severity_of_event(event: &str) -> Option<i32> {
    let event = event.to_lowercase();
    if event.ends_with(" succeeded") || event.contains("not changed") {
        return None;
    }
    match event.as_str() {
        "action done"
        | "exists"
        | "content match"
        | "timeout recovery"
        | "monit instance changed" => None,
        "connection failed" | "execution failed" | "monit instance failed" | "does not exist" => {
            Some(1)
        }
        "checksum failed" | "icmp failed" | "pid failed" | "ppid failed" | "timeout"
        | "uid failed" => Some(2),
        "connection changed"
        | "content failed"
        | "content doesn't match"
        | "data access error"
        | "filesystem flags failed"
        | "gid failed"
        | "heartbeat failed"
        | "invalid type"
        | "permission failed"
        | "resource limit matched"
        | "size failed"
        | "size changed"
        | "timestamp failed" => Some(3),
        other if other.ends_with(" changed") => Some(4),
        _ => Some(2),
    }
}
