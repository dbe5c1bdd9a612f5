//! One entry of `instance_groups` (§1.6).

use std::collections::BTreeMap;

use domain::{AzName, InstanceGroupName, JobName, ReleaseName, VmTypeName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{GroupNetwork, PersistentDisk, UpdateConfig};

/// An instance group as the manifest has it, references into the cloud config checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceGroup {
    pub name: InstanceGroupName,
    pub lifecycle: Lifecycle,
    pub instances: u32,
    /// `None` when the key is absent; never empty.
    pub azs: Option<Vec<AzName>>,
    pub jobs: Vec<Job>,
    pub vm: VmSpec,
    /// Names into the cloud config.
    pub vm_extensions: Vec<String>,
    /// The stemcell's alias.
    pub stemcell: String,
    pub disk: PersistentDisk,
    pub networks: Vec<GroupNetwork>,
    /// The group's `update` over the global one; request overrides applied.
    pub update: UpdateConfig,
    pub migrated_from: Vec<MigratedFrom>,
    /// May hold `((references))`: they are resolved when the VM is created.
    pub env: Map<String, Json>,
    /// Global properties overlaid by the group's: what a job without own `properties` gets.
    pub properties: Map<String, Json>,
    pub tags: Map<String, Json>,
    /// Usually put there by a state request, not by a person.
    pub state: Option<RequestedState>,
    /// By index or uuid.
    pub instance_states: BTreeMap<String, RequestedState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    #[default]
    Service,
    Errand,
}

/// `vm_type` or `vm_resources`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmSpec {
    Type(VmTypeName),
    Resources(VmResources),
}

/// What the CPI's `calculate_vm_cloud_properties` turns into cloud properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VmResources {
    /// Number of CPUs.
    pub cpu: i64,
    /// MB.
    pub ram: i64,
    /// MB.
    pub ephemeral_disk_size: i64,
}

/// One job of a group; links as written, read by the planner (§3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub name: JobName,
    pub release: ReleaseName,
    /// `None` when absent: then the group's properties count. Present ones replace, they do not merge.
    pub properties: Option<Map<String, Json>>,
    pub provides: Map<String, Json>,
    pub consumes: Map<String, Json>,
    pub custom_provider_definitions: Vec<Json>,
}

/// One entry of `migrated_from` (§2.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigratedFrom {
    pub name: InstanceGroupName,
    pub az: Option<AzName>,
}

/// A state as manifests and state requests name it; `recreate` and `restart` end as `started`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestedState {
    Started,
    Stopped,
    Detached,
    Recreate,
    Restart,
}
