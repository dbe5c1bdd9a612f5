//! The plan: data that is stored, shown, carried out and compared.

use domain::{
    AzName, BlobId, CpiName, DeploymentName, InstanceGroupName, InstanceUuid, NetworkName,
    PackageName, StemcellCid,
};
use manifest::documents::Lifecycle;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::catalogue::Hash;
use crate::change::{Action, Change};
use crate::input::InstanceState;
use crate::spec::{InstanceSpec, StemcellRef};
use crate::step::Step;

/// Goes up when a stored plan of an older director can no longer be carried out.
pub const PLANNER_VERSION: u32 = 1;

/// Everything a deploy does, in this order (§5.2): `compile`; `delete_first`; `create`, all at once (at most
/// `max_threads`); then `batches` one after another; then post-deploy on `post_deploy`, if `any_change`.
///
/// Steps are journaled under [`InstancePlan::step_key`] and [`CompilePackage::step_key`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentPlan {
    pub planner_version: u32,
    pub deployment: DeploymentName,
    /// Dependencies first.
    pub compile: Vec<CompilePackage>,
    pub compilation: CompilationPlan,
    /// Every instance that shall be, unchanged ones included (their rows are refreshed), in update order; then
    /// those that go.
    pub instances: Vec<InstancePlan>,
    /// Places in `instances`: instances of groups that are no longer in the manifest.
    pub delete_first: Vec<usize>,
    /// Places in `instances` whose `create` steps run before any update.
    pub create: Vec<usize>,
    /// How many of `delete_first`, `create` and post-deploy run at once.
    pub max_threads: u32,
    pub batches: Vec<Batch>,
    /// Places in `instances` on which post-deploy runs when anything changed.
    pub post_deploy: Vec<usize>,
    /// Whether anything outside rows is done.
    pub any_change: bool,
    /// Tags of VMs and disks.
    pub tags: Hash,
    pub warnings: Vec<String>,
    pub deprecations: Vec<String>,
}

/// Groups whose updates run concurrently; a serial group is a batch of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub groups: Vec<GroupPlan>,
}

/// The update of one group: deletions, then the waves one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    pub group: InstanceGroupName,
    /// Places in [`DeploymentPlan::instances`].
    pub delete: Vec<usize>,
    pub delete_in_flight: u32,
    pub waves: Vec<Wave>,
}

/// Instances of one AZ: `canaries` first and waited for, then `rest`; at most `max_in_flight` at once in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// `None` for instances without AZ, and when all AZs form one wave.
    pub az: Option<AzName>,
    pub canaries: Vec<usize>,
    pub rest: Vec<usize>,
    pub max_in_flight: u32,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstancePlan {
    pub action: Action,
    pub changes: Vec<Change>,
    /// New or to be kept: the spec it shall have. To be deleted: the stored one, as far as known.
    pub spec: InstanceSpec,
    pub state: InstanceState,
    /// It has no row yet: the director inserts one, with this id, before it renders.
    pub is_new: bool,
    pub ignore: bool,
    /// A canary: watched by `canary_watch_time`, shown as `(canary)`.
    pub canary: bool,
    pub cpi: CpiName,
    pub stemcell_cid: StemcellCid,
    pub stemcell_api_version: u32,
    /// Addresses it has or gets (dynamic ones excepted).
    pub addresses: Vec<AddressPlan>,
    /// Addresses to let go, in [`Step::ReleaseAddresses`].
    pub released: Vec<(NetworkName, IpAddr)>,
    /// Makes the VM that is missing; runs with all others before any update.
    pub create: Vec<Step>,
    /// Runs in the group's turn.
    pub update: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPlan {
    pub network: NetworkName,
    pub address: IpAddr,
    pub is_static: bool,
    /// The row was not there when the plan was made.
    pub is_new: bool,
}

/// Which of an instance's two lists a step is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Create,
    Update,
}

impl InstancePlan {
    /// `<ig>/<uuid>`.
    pub fn label(&self) -> String {
        self.spec.label()
    }

    /// `<ig>/<uuid> (<index>)`, as event lines name it.
    pub fn title(&self) -> String {
        format!("{} ({})", self.spec.label(), self.spec.index)
    }

    /// Unique in the plan, the same after a restart: `<uuid>/create/00-create_vm`.
    pub fn step_key(&self, phase: Phase, at: usize) -> String {
        let (name, steps) = match phase {
            Phase::Create => ("create", &self.create),
            Phase::Update => ("update", &self.update),
        };
        format!("{}/{name}/{at:02}-{}", self.spec.id, steps[at].kind())
    }

    /// What the instance's row shall show when all steps are done. `stored` is what it shows by then: the facts of
    /// a VM that these steps made, with the addresses its agent reported.
    ///
    /// Without an apply (a stopped or detached instance, metadata only) jobs, packages and the VM are still the
    /// old ones: the difference must be found again when the instance is started.
    pub fn settled_spec(&self, stored: Option<InstanceSpec>) -> InstanceSpec {
        let Some(stored) = stored else {
            return self.spec.clone();
        };
        let applied = self.update.iter().any(|step| matches!(step, Step::Apply));
        if !applied && self.action != Action::None {
            return InstanceSpec {
                name: self.spec.name.clone(),
                index: self.spec.index,
                az: self.spec.az.clone(),
                bootstrap: self.spec.bootstrap,
                lifecycle: self.spec.lifecycle,
                tags: self.spec.tags.clone(),
                ..stored
            };
        }
        let mut spec = self.spec.clone();
        for (name, settings) in &mut spec.networks {
            let dynamic =
                settings.get("type").and_then(serde_json::Value::as_str) == Some("dynamic");
            if let Some(known) = stored.networks.get(name).filter(|_| dynamic) {
                settings.clone_from(known);
            }
        }
        spec
    }

    /// Errand groups are only rendered and checked by a deploy.
    pub fn is_errand(&self) -> bool {
        self.spec.lifecycle == Lifecycle::Errand
    }
}

/// A package to compile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompilePackage {
    pub name: PackageName,
    pub fingerprint: String,
    pub stemcell: StemcellRef,
    pub stemcell_cid: StemcellCid,
    pub stemcell_api_version: u32,
    pub source_blob: BlobId,
    pub source_sha1: String,
    pub dependency_key: String,
    /// What the agent is given for each direct dependency.
    pub dependencies: Vec<Dependency>,
    /// Runtime package of these instances (places in [`DeploymentPlan::instances`]).
    pub needed_by_groups: Vec<InstanceGroupName>,
}

/// A direct dependency: compiled already, or by an earlier entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependency {
    Compiled(crate::spec::PackageRef),
    /// Place in [`DeploymentPlan::compile`].
    Earlier(usize),
}

impl CompilePackage {
    /// `<name>/<fingerprint>`, as event lines name it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.name, self.fingerprint)
    }

    /// Unique in the plan.
    pub fn step_key(&self) -> String {
        format!(
            "compile/{}/{}/{}-{}",
            self.name, self.fingerprint, self.stemcell.os, self.stemcell.version
        )
    }
}

/// How to make compilation VMs (§6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompilationPlan {
    pub workers: u32,
    pub reuse_vms: bool,
    pub orphan_workers: bool,
    pub az: Option<AzName>,
    pub cpi: CpiName,
    pub network: NetworkName,
    pub cloud_properties: Hash,
    pub env: Hash,
    /// Settings and address of each worker's network, ready to use; for a manual network the addresses are free
    /// at planning time, and the director inserts the rows when it creates the VM. Fewer than `workers` when the
    /// network is nearly full; empty when there is nothing to compile.
    pub worker_networks: Vec<WorkerNetwork>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerNetwork {
    pub address: Option<IpAddr>,
    /// By network name, as CPI and agent get it.
    pub settings: serde_json::Value,
}

/// What must be compiled before a release can be exported: [`crate::plan_export`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportPlan {
    pub planner_version: u32,
    pub compile: Vec<CompilePackage>,
    pub compilation: CompilationPlan,
}

/// Instances that are deleted with their whole deployment: [`crate::plan_deletion`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletionPlan {
    pub planner_version: u32,
    pub deployment: DeploymentName,
    pub instances: Vec<InstancePlan>,
    pub max_threads: u32,
}

impl DeletionPlan {
    /// The ids, for tests and listings.
    pub fn uuids(&self) -> impl Iterator<Item = &InstanceUuid> {
        self.instances.iter().map(|i| &i.spec.id)
    }
}
