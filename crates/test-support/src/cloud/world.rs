//! What there is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::faults::Faults;

/// Everything in the cloud. A test may look and change.
#[derive(Default)]
pub struct World {
    pub vms: BTreeMap<String, FakeVm>,
    pub disks: BTreeMap<String, FakeDisk>,
    /// The disk that each is of.
    pub snapshots: BTreeMap<String, String>,
    pub stemcells: BTreeSet<String>,
    pub calls: Vec<Call>,
    pub mute_new_agents: bool,
    pub failing_jobs: BTreeSet<String>,
    pub failing_packages: BTreeSet<String>,
    /// What every errand ends with.
    pub errand_exit_code: i64,
    /// What errands on instances of a group end with, where it is another.
    pub errand_exit_codes: BTreeMap<String, i64>,
    /// Whether errands run until they are cancelled.
    pub endless_errands: bool,
    pub(super) faults: Faults,
}

/// A call that came in: a CPI method on an object, or an action of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// `None` for the CPI.
    pub agent_id: Option<String>,
    pub method: String,
    pub arguments: Value,
}

/// A VM.
pub struct FakeVm {
    pub agent_id: String,
    pub stemcell_cid: String,
    pub cloud_properties: Value,
    pub networks: Value,
    pub env: Value,
    pub metadata: Value,
    pub agent: AgentState,
    pub(super) task: tokio::task::AbortHandle,
}

/// A persistent disk. Its data outlives VMs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FakeDisk {
    /// MiB.
    pub size: u64,
    pub cloud_properties: Value,
    pub attached_to: Option<String>,
    pub metadata: Value,
    pub data: Vec<String>,
}

/// What an agent knows.
#[derive(Debug, Clone, Default)]
pub struct AgentState {
    pub mute: bool,
    /// The spec last applied; null before.
    pub spec: Value,
    /// `running`, `stopped`, `failing`, …
    pub job_state: String,
    /// Disk cid to hint.
    pub known_disks: BTreeMap<String, Value>,
    /// The disk at `/var/vcap/store`, and at the migration target.
    pub store: Option<String>,
    pub migration_target: Option<String>,
    pub dns_version: u64,
    pub(super) tasks: BTreeMap<String, Result<Value, String>>,
    /// Those of them that run until they are cancelled.
    pub(super) endless: BTreeSet<String>,
}

impl AgentState {
    /// Names of the jobs of the applied spec.
    pub fn jobs(&self) -> Vec<String> {
        let templates = self
            .spec
            .pointer("/job/templates")
            .and_then(Value::as_array);
        templates
            .into_iter()
            .flatten()
            .map(|t| super::text(t.get("name")))
            .collect()
    }

    /// `get_state`, as far as a director reads it.
    pub fn report(&self, agent_id: &str, failing: &BTreeSet<String>) -> Value {
        let spec = |key: &str, or: Value| self.spec.get(key).cloned().unwrap_or(or);
        let processes: Vec<Value> = self
            .jobs()
            .iter()
            .map(|job| {
                let state = match self.job_state.as_str() {
                    "running" => "running",
                    "stopped" => "unknown",
                    _ if failing.contains(job) => "failing",
                    _ => "running",
                };
                json!({"name": job, "state": state, "uptime": {"secs": 5}, "mem": {"kb": 100, "percent": 0.1}, "cpu": {"total": 0.1}})
            })
            .collect();
        json!({
            "properties": {"logging": {"max_log_file_size": ""}},
            "job": spec("job", json!({"name": null, "templates": null})),
            "packages": spec("packages", json!({})),
            "configuration_hash": spec("configuration_hash", json!("")),
            "networks": spec("networks", json!({})),
            "deployment": spec("deployment", json!("")),
            "name": spec("name", json!("")),
            "index": spec("index", Value::Null),
            "id": spec("id", json!("")),
            "az": spec("az", json!("")),
            "persistent_disk": spec("persistent_disk", json!(0)),
            "rendered_templates_archive": spec("rendered_templates_archive", Value::Null),
            "agent_id": agent_id,
            "job_state": self.job_state,
            "vm": {"name": format!("vm-{agent_id}")},
            "processes": processes,
        })
    }
}
