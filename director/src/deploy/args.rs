//! Arguments of this room's tasks, as the API queues them and the handlers read them.
//!
//! | task type | arguments | description (director-api §3.6) |
//! |---|---|---|
//! | `update_deployment` | [`UpdateDeployment`] | `create deployment` (+ ` (dry run)`) |
//! | `delete_deployment` | [`DeleteDeployment`] | `delete deployment <d>` |
//! | `update_instance` | [`UpdateInstance`] | `stop instance`, `start instance`, … |
//! | `vms` | [`ListVms`] | `retrieve vm-stats` |
//! | `ssh` | [`Ssh`] | `ssh: <command>:<target>` |
//! | `fetch_logs` | [`FetchLogs`] | `fetch logs` |
//! | `run_errand` | [`RunErrand`] | `run errand <e> from deployment <d>` |
//!
//! The deployment itself is `tasks::NewTask::deployment`.

use serde::{Deserialize, Serialize};

/// A deploy (§11.3) or a converging state change (§12.1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateDeployment {
    /// The manifest byte for byte. `None`: the stored one, with the stored configs (state changes).
    pub manifest: Option<String>,
    pub recreate: bool,
    pub recreate_persistent_disks: bool,
    /// Seconds since 1970.
    pub recreate_vms_created_before: Option<i64>,
    pub fix: bool,
    /// `*` or a comma list of groups.
    pub skip_drain: Option<String>,
    /// A number or a percentage, over the manifest's.
    pub canaries: Option<String>,
    pub max_in_flight: Option<String>,
    pub dry_run: bool,
    pub force_latest_variables: bool,
    /// Which configs; `None`: the current ones that the teams see.
    pub context: Option<ConfigContext>,
    pub state_change: Option<StateChange>,
}

/// `context` of a deploy: exactly what the diff returned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigContext {
    pub cloud_config_ids: Vec<i64>,
    pub runtime_config_ids: Vec<i64>,
}

/// start, stop, restart, recreate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateChange {
    /// `None`: all groups (`*`).
    pub group: Option<String>,
    /// Index or uuid; `None`: the whole group.
    pub instance: Option<String>,
    /// `started`, `stopped`, `detached`, `restart`, `recreate`.
    pub state: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteDeployment {
    pub force: bool,
}

/// A non-converging action on one instance (§12.2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateInstance {
    pub group: String,
    /// Index or uuid.
    pub instance: String,
    /// `stop`, `start`, `restart` or `recreate`.
    pub action: String,
    pub skip_drain: bool,
    /// `stop` only: the VM goes.
    pub hard: bool,
    /// `recreate` only: don't ask an agent that does not answer.
    pub ignore_unresponsive_agent: bool,
}

/// Detailed listings (§12.3).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListVms {
    /// `instances?format=full`: instances without VM too.
    pub instances: bool,
}

/// §13.2. `params`: `{user, public_key}` for `setup`, `{user_regex}` for `cleanup`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ssh {
    pub command: String,
    pub target: SshTarget,
    pub params: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshTarget {
    /// `None`: all groups.
    pub job: Option<String>,
    pub ids: Vec<String>,
    pub indexes: Vec<String>,
}

/// §13.3.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FetchLogs {
    /// `*` for all.
    pub group: String,
    /// Index, uuid or `*`.
    pub instance: String,
    /// `job`, `agent`, `system`, or a comma list; empty: `job`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Globs; empty: all.
    pub filters: Vec<String>,
}

/// §13.1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunErrand {
    pub errand: String,
    #[serde(rename = "keep-alive")]
    pub keep_alive: bool,
    #[serde(rename = "when-changed")]
    pub when_changed: bool,
    pub instances: Vec<ErrandInstance>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrandInstance {
    pub group: String,
    /// Index, uuid or `first`; absent: the whole group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}
