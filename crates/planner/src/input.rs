//! All the planner may know, loaded by the director at one point in time.
//!
//! Agents may have moved since: nothing here needs to be still true for the plan to be safe.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use domain::{
    AgentId, AzName, CpiName, DeploymentName, DiskCid, InstanceGroupName, InstanceUuid,
    NetworkName, StemcellName, VmCid,
};
use manifest::documents::{
    CloudConfig, DeploymentManifest, RequestedState, RuntimeConfig, VmResources,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::catalogue::{Catalogue, Hash};
use crate::spec::InstanceSpec;

/// Input of [`crate::place`] and [`crate::plan`]: the same value for both.
#[derive(Debug, Clone)]
pub struct PlanningInput {
    pub director: DirectorFacts,
    pub desired: DesiredDeployment,
    pub catalogue: Catalogue,
    pub current: CurrentDeployment,
    pub options: DeployOptions,
}

/// Settings and facts of the director.
#[derive(Debug, Clone, Default)]
pub struct DirectorFacts {
    pub name: String,
    /// `bosh` unless configured.
    pub root_domain: String,
    /// `local_dns.enabled`.
    pub local_dns: bool,
    /// Numbers of AZs, networks and link groups for short DNS names; empty without local DNS.
    pub dns_ids: DnsIds,
    /// Lies under each group's `env.bosh` (`agent.env.bosh`).
    pub agent_env: Hash,
    /// Snapshot disks after the stop cycle.
    pub snapshots: bool,
    /// `enable_cpi_resize_disk`: a disk that only grows is resized by the CPI.
    pub cpi_resize_disk: bool,
    /// `enable_cpi_update_disk`.
    pub cpi_update_disk: bool,
    /// Instances created or deleted at once outside the groups' own limits (`max_threads`, 32).
    pub max_threads: u32,
    /// What an agent was given with its VM; a difference pushes settings again.
    pub fingerprints: Fingerprints,
}

/// Digests of what every agent is configured with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprints {
    pub trusted_certs: String,
    pub blobstore_config: String,
    pub nats_config: String,
}

/// Director-wide numbers behind `q-a1n2s0.q-g3.bosh` names (§3.5). Persisted by the director before planning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsIds {
    pub azs: BTreeMap<AzName, String>,
    pub networks: BTreeMap<NetworkName, i64>,
    pub groups: Vec<DnsGroup>,
}

/// A numbered group: all of an instance group, or what provides one link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DnsGroup {
    /// `instance-group` or `link`.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub deployment: DeploymentName,
    pub id: String,
}

/// The documents.
#[derive(Debug, Clone)]
pub struct DesiredDeployment {
    /// Versions resolved, variables substituted outside properties and `env`.
    pub manifest: DeploymentManifest,
    pub cloud: CloudConfig,
    /// Each named runtime config, in the order in which they apply.
    pub runtime: Vec<RuntimeConfig>,
    /// Teams of the deployment.
    pub teams: Vec<String>,
    /// The CPIs' answers to `calculate_vm_cloud_properties`, for each (CPI, resources) that groups or
    /// compilation use; see [`crate::needed_vm_resources`].
    pub calculated: Vec<Calculated>,
}

/// One answer of a CPI.
#[derive(Debug, Clone, PartialEq)]
pub struct Calculated {
    pub cpi: CpiName,
    pub resources: VmResources,
    pub cloud_properties: Hash,
}

/// The deployment's rows, and what of other deployments matters.
#[derive(Debug, Clone, Default)]
pub struct CurrentDeployment {
    /// A manifest is stored: some deploy ended well.
    pub deployed_before: bool,
    /// Tags of the manifest and runtime configs of the last deploy, merged.
    pub tags: Hash,
    /// All instances, those of groups that are no longer in the manifest included; no compilation VMs.
    pub instances: Vec<CurrentInstance>,
    /// Addresses in use anywhere in this director except by this deployment's instances: other deployments,
    /// orphaned VMs, compilation VMs.
    pub foreign_addresses: Vec<ForeignAddress>,
    /// Link providers of other deployments.
    pub foreign_providers: Vec<ForeignProvider>,
    /// Names of all deployments there are.
    pub deployments: BTreeSet<DeploymentName>,
}

/// One instance row with its VMs, disks and addresses.
#[derive(Debug, Clone)]
pub struct CurrentInstance {
    pub uuid: InstanceUuid,
    pub group: InstanceGroupName,
    pub index: u32,
    pub az: Option<AzName>,
    pub state: InstanceState,
    pub bootstrap: bool,
    pub ignore: bool,
    pub update_completed: bool,
    /// What was last applied; `None` before the first VM.
    pub spec: Option<InstanceSpec>,
    pub vms: Vec<CurrentVm>,
    pub disks: Vec<CurrentDisk>,
    /// Rows of manual and VIP addresses that belong to this instance.
    pub addresses: Vec<HeldAddress>,
    pub agent: AgentObservation,
}

/// The stored state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    #[default]
    Started,
    /// VM exists, jobs are stopped.
    Stopped,
    /// No VM; disks are kept.
    Detached,
}

impl InstanceState {
    /// As stored (`started`).
    pub fn as_str(self) -> &'static str {
        match self {
            InstanceState::Started => "started",
            InstanceState::Stopped => "stopped",
            InstanceState::Detached => "detached",
        }
    }
}

/// What the agent answered to `get_state`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AgentObservation {
    /// Not asked: no VM, ignored, or its group is gone.
    #[default]
    NotAsked,
    /// Its `job_state` (`running`, `stopped`, `failing`, …).
    JobState(String),
    /// No answer. Only with the option `fix`; without it the director fails the task first.
    Unresponsive,
}

#[derive(Debug, Clone)]
pub struct CurrentVm {
    pub cid: VmCid,
    pub agent_id: AgentId,
    pub cpi: CpiName,
    pub active: bool,
    /// Seconds since 1970; `None` when not recorded.
    pub created_at: Option<i64>,
    pub stemcell_name: Option<StemcellName>,
    pub stemcell_version: Option<String>,
    pub fingerprints: Fingerprints,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CurrentDisk {
    /// `None` while the creation is not yet confirmed.
    pub cid: Option<DiskCid>,
    /// MB.
    pub size: u64,
    /// Empty for the one managed disk.
    pub name: String,
    pub cloud_properties: Hash,
    pub active: bool,
}

/// An address row of this deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAddress {
    pub address: IpAddr,
    pub network: NetworkName,
    pub is_static: bool,
}

/// An address row of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignAddress {
    pub address: IpAddr,
    /// `<ig>/<uuid>` and its deployment; `None` for an orphaned VM.
    pub holder: Option<(String, DeploymentName)>,
}

/// A provider of another deployment, as its last deploy stored it.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignProvider {
    pub deployment: DeploymentName,
    pub instance_group: InstanceGroupName,
    pub job: String,
    /// As the release names it.
    pub original_name: String,
    /// As the manifest names it (`as`).
    pub name: String,
    pub kind: String,
    pub shared: bool,
    /// The stored content ([`crate::ProvidedLink::content`]).
    pub content: Json,
}

/// The request.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    pub recreate: bool,
    pub recreate_persistent_disks: bool,
    /// Seconds since 1970.
    pub recreate_vms_created_before: Option<i64>,
    pub skip_drain: SkipDrain,
    /// Recreate instances whose agents don't answer.
    pub fix: bool,
    pub dry_run: bool,
    /// start, stop, restart, recreate of a group or an instance.
    pub state_change: Option<StateChange>,
    /// Errand groups that are about to run: they get VMs although they have none.
    pub errands: Vec<InstanceGroupName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SkipDrain {
    #[default]
    None,
    All,
    Groups(Vec<InstanceGroupName>),
}

impl SkipDrain {
    /// Reads `*` or a comma list of group names.
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "" => SkipDrain::None,
            "*" => SkipDrain::All,
            list => SkipDrain::Groups(
                list.split(',')
                    .map(|name| InstanceGroupName::new(name.trim()))
                    .collect(),
            ),
        }
    }

    /// Whether pre-stop and drain are left out for a group.
    pub fn covers(&self, group: &InstanceGroupName) -> bool {
        match self {
            SkipDrain::None => false,
            SkipDrain::All => true,
            SkipDrain::Groups(names) => names.contains(group),
        }
    }
}

/// A requested state (director-api §12.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// `None`: all groups (`*`).
    pub group: Option<InstanceGroupName>,
    /// Index or uuid; `None`: the whole group.
    pub instance: Option<String>,
    pub state: RequestedState,
}
