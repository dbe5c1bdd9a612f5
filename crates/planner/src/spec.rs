//! The instance spec: what the director stores in `instances.spec` and, in part, sends to the agent
//! (agent-protocol §3.2).

use std::collections::BTreeMap;

use domain::{
    AzName, BlobId, DeploymentName, InstanceGroupName, InstanceUuid, JobName, NetworkName,
    PackageName, ReleaseName, StemcellName,
};
use manifest::documents::{Lifecycle, VmResources};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::catalogue::Hash;

/// What an instance is (stored) or shall be (in a plan).
///
/// The director stores it as it advances: stemcell, VM type, env, cloud properties and networks when the VM was
/// created, everything after a successful apply. Planning compares the stored one with the new one. It holds no
/// resolved variable: `((references))` stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceSpec {
    pub deployment: DeploymentName,
    pub name: InstanceGroupName,
    pub index: u32,
    pub id: InstanceUuid,
    pub az: Option<AzName>,
    pub bootstrap: bool,
    pub lifecycle: Lifecycle,
    pub jobs: Vec<JobRef>,
    /// As agents and CPIs get them, by network name.
    pub networks: BTreeMap<NetworkName, Json>,
    /// Compiled runtime packages of the jobs. In a plan only those known before compiling.
    pub packages: BTreeMap<PackageName, PackageRef>,
    pub dns_domain_name: String,
    /// MB; 0 without a managed disk.
    pub persistent_disk: u64,
    pub disks: Vec<DiskSpec>,
    pub stemcell: StemcellRef,
    /// Empty with `vm_resources`.
    pub vm_type: String,
    pub vm_extensions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_resources: Option<VmResources>,
    /// AZ, VM type, extensions, calculated ones, merged; references unresolved.
    pub cloud_properties: Hash,
    /// The group's env as in the manifest.
    pub env: Hash,
    /// Tags for the VM and the disks attached with it.
    pub tags: Hash,
    /// Per job, bound; for the reasons shown when they change.
    pub properties: BTreeMap<JobName, Json>,
    /// Per job and link, a digest of what its templates see; for the reasons too.
    #[serde(default)]
    pub links: BTreeMap<JobName, BTreeMap<String, String>>,
    /// From rendering; empty before the first.
    pub configuration_hash: String,
    pub template_hashes: BTreeMap<JobName, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered_templates_archive: Option<ArchiveRef>,
}

/// A job as the agent gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRef {
    pub name: JobName,
    pub release: ReleaseName,
    pub release_version: String,
    /// The fingerprint.
    pub version: String,
    pub sha1: String,
    pub blobstore_id: BlobId,
    pub logs: Json,
}

/// A compiled package as the agent gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRef {
    pub name: PackageName,
    /// `<fingerprint>.<build>`.
    pub version: String,
    pub sha1: String,
    pub blobstore_id: BlobId,
}

/// The stored archive of rendered templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRef {
    pub blobstore_id: BlobId,
    pub sha1: String,
}

/// The stemcell of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemcellRef {
    pub name: StemcellName,
    pub version: String,
    pub os: String,
}

/// A persistent disk that an instance shall have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// Empty for the one managed (mounted) disk.
    pub name: String,
    /// MB.
    pub size: u64,
    pub cloud_properties: Hash,
}

impl InstanceSpec {
    /// `<ig>/<uuid>`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.name, self.id)
    }

    /// The argument of the agent's `apply` (and `drain`, and `prepare` of a VM that runs jobs already).
    pub fn apply_spec(&self) -> Json {
        let mut spec = self.identity();
        spec.insert("index".into(), json!(self.index));
        spec.insert("name".into(), json!(self.name));
        spec.insert("id".into(), json!(self.id));
        spec.insert("az".into(), json!(self.az));
        spec.insert("networks".into(), json!(self.networks));
        spec.insert("packages".into(), json!(self.packages));
        spec.insert("dns_domain_name".into(), json!(self.dns_domain_name));
        spec.insert("persistent_disk".into(), json!(self.persistent_disk));
        spec.insert("template_hashes".into(), json!(self.template_hashes));
        spec.insert(
            "rendered_templates_archive".into(),
            json!(self.rendered_templates_archive),
        );
        spec.insert("configuration_hash".into(), json!(self.configuration_hash));
        Json::Object(spec)
    }

    /// The argument of the first `apply` to a new VM: who it is, no jobs installed.
    pub fn identity_spec(&self) -> Json {
        let mut spec = self.identity();
        spec.insert("index".into(), json!(self.index));
        spec.insert("id".into(), json!(self.id));
        spec.insert("networks".into(), json!(self.networks));
        Json::Object(spec)
    }

    /// The argument of `prepare` for a duplicate VM whose jobs are not known to run yet: packages only.
    pub fn packages_spec(&self) -> Json {
        let mut spec = self.apply_spec();
        spec["job"] = json!({});
        spec
    }

    fn identity(&self) -> Map<String, Json> {
        let mut spec = Map::new();
        spec.insert("deployment".into(), json!(self.deployment));
        let mut job = Map::new();
        job.insert("name".into(), json!(self.name));
        let templates: Vec<Json> = self
            .jobs
            .iter()
            .map(|j| {
                json!({"name": j.name, "version": j.version, "sha1": j.sha1, "blobstore_id": j.blobstore_id, "logs": j.logs})
            })
            .collect();
        // compat: the first job also stands at the top, from the time when a group had one.
        job.insert("templates".into(), Json::Array(templates));
        if let Some(first) = self.jobs.first() {
            job.insert("template".into(), json!(first.name));
            job.insert("version".into(), json!(first.version));
        }
        spec.insert("job".into(), Json::Object(job));
        spec
    }
}
