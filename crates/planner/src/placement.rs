//! The outcome of phase one: who, where, with which addresses, jobs, properties and links; not yet what changes.
//!
//! The director renders from it ([`Placement::render_jobs`]) and hands it back to [`crate::plan`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use domain::{
    AzName, BlobId, CpiName, DeploymentName, InstanceGroupName, InstanceUuid, JobName, NetworkName,
    PackageName, ReleaseName, StemcellCid,
};
use manifest::documents::{DefaultFor, Lifecycle, RequestedState, UpdateConfig};
use serde_json::Value as Json;

use crate::catalogue::{Hash, PackageSource};
use crate::input::{DnsIds, InstanceState};
use crate::spec::{DiskSpec, InstanceSpec, JobRef, StemcellRef};

/// All instances that shall be, those that shall go, and what they need.
#[derive(Debug, Clone)]
pub struct Placement {
    pub deployment: DeploymentName,
    /// In manifest order.
    pub groups: Vec<PlacedGroup>,
    /// Instances of groups that are no longer in the manifest.
    pub obsolete: Vec<InstanceUuid>,
    /// Every package that some group needs, dependencies included, once per stemcell.
    pub packages: Vec<PackageNeed>,
    /// What this deployment provides; stored for other deployments, and in memory by `links`.
    pub provided: Vec<ProvidedLink>,
    /// Runtime and manifest tags, merged.
    pub tags: Hash,
    /// For the event log.
    pub warnings: Vec<String>,
    /// For the event log, as deprecations.
    pub deprecations: Vec<String>,
    /// Encoder of DNS names for templates; its tables are empty without local DNS, which long names don't need.
    pub dns: Option<DnsIds>,
    /// Feature `use_dns_addresses` and its companions, for what is stored with links.
    pub features: manifest::documents::Features,
    pub root_domain: String,
}

/// One instance group.
#[derive(Debug, Clone)]
pub struct PlacedGroup {
    pub name: InstanceGroupName,
    pub lifecycle: Lifecycle,
    /// An errand group without VMs: its instances get addresses and templates when the errand runs.
    pub dormant: bool,
    pub update: UpdateConfig,
    pub stemcell: StemcellRef,
    pub jobs: Vec<PlacedJob>,
    /// Keys into [`Placement::packages`], runtime packages of the jobs only.
    pub runtime_packages: BTreeMap<PackageName, usize>,
    /// In the order of §2.3: bootstrap first, then by AZ, then by label.
    pub instances: Vec<PlacedInstance>,
    /// Existing ones that go: scaled down, AZ dropped.
    pub obsolete: Vec<InstanceUuid>,
    pub disks: Vec<DiskSpec>,
    pub vm_type: String,
    pub vm_extensions: Vec<String>,
    pub vm_resources: Option<manifest::documents::VmResources>,
    pub env: Hash,
    pub tags: Hash,
    /// Some network has static addresses or is a VIP network: such a group is never swapped.
    pub pinned_addresses: bool,
}

/// One job of a group, the same for all its instances.
#[derive(Debug, Clone)]
pub struct PlacedJob {
    pub job: JobRef,
    /// Source to target.
    pub templates: Vec<(String, String)>,
    /// Bound to what the spec declares; references unresolved.
    pub properties: Arc<Json>,
    /// Link name to content as templates see it.
    pub links: BTreeMap<String, Arc<Json>>,
    /// Digests of these contents.
    pub link_digests: BTreeMap<String, String>,
    /// What goes into `.bosh/links.json`: name, type, group id.
    pub provides: Vec<(String, String, String)>,
}

/// One instance that shall be.
#[derive(Debug, Clone)]
pub struct PlacedInstance {
    pub uuid: InstanceUuid,
    pub index: u32,
    pub az: Option<AzName>,
    pub bootstrap: bool,
    pub ignore: bool,
    /// Place in [`crate::CurrentDeployment::instances`]; `None` for a new one.
    pub current: Option<usize>,
    /// What the stored state shall be afterwards.
    pub state: InstanceState,
    /// The requested state, when it is one that only passes by (`restart`, `recreate`).
    pub passing: Option<RequestedState>,
    pub networks: Vec<PlacedNetwork>,
    /// Addresses it holds now and shall not hold afterwards; released when it is updated.
    pub released: Vec<(NetworkName, IpAddr)>,
    /// DNS name or IP, by the deployment's features: `spec.address`.
    pub address: String,
    pub cloud_properties: Hash,
    pub cpi: CpiName,
    pub stemcell_cid: StemcellCid,
    /// For each of the group's disks, the idempotency key of a new one, should one be needed.
    pub disk_keys: Vec<String>,
    /// Of the stemcell row used; goes into the CPI call's context.
    pub stemcell_api_version: u32,
}

/// One network of an instance.
#[derive(Debug, Clone)]
pub struct PlacedNetwork {
    pub name: NetworkName,
    /// `None` on a dynamic network whose address nobody knows yet.
    pub ip: Option<IpAddr>,
    pub reservation: Reservation,
    pub default: Vec<DefaultFor>,
    /// As CPI and agent get it.
    pub settings: Json,
    /// On a dynamic network: the stored settings with the address that the agent reported.
    pub observed: Option<Json>,
    /// Of the IP-addressable name: `<uuid>.<ig>.<net>.<deployment>.bosh`.
    pub dns_record_name: String,
}

/// What must happen to the address rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// Held already.
    Existing,
    /// To be inserted by the director right after planning (unique across the director). `is_static` says
    /// from which pool.
    New { is_static: bool },
    /// Dynamic networks reserve nothing.
    None,
}

/// A package that some group needs on some stemcell.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageNeed {
    pub name: PackageName,
    pub fingerprint: String,
    pub release: ReleaseName,
    pub release_version: String,
    pub stemcell: StemcellRef,
    /// Places in [`Placement::packages`] of the direct dependencies, by name.
    pub dependencies: Vec<usize>,
    /// §6.
    pub dependency_key: String,
    /// `None`: a compiled release, whose packages can't be compiled here.
    pub source: Option<PackageSource>,
    /// Found compiled.
    pub compiled: Option<CompiledRef>,
}

/// A compiled package to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledRef {
    pub build: u32,
    pub blob_id: BlobId,
    pub sha1: String,
}

/// One link that this deployment provides (§3.4, §3.5), to be stored after success.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvidedLink {
    pub instance_group: InstanceGroupName,
    /// The job, or the disk's name for `disk` providers.
    pub owner: String,
    pub original_name: String,
    pub name: String,
    pub kind: String,
    pub shared: bool,
    pub consumable: bool,
    pub content: Json,
}

/// What the template renderer needs for one instance.
#[derive(Debug, Clone)]
pub struct RenderInstance {
    pub group: InstanceGroupName,
    pub uuid: InstanceUuid,
    /// The un-narrowed `spec` of releases-and-templates §14: `properties` and `links` by job,
    /// `properties_need_filtering` set. References unresolved: the director substitutes them before rendering.
    pub context: Json,
    /// `{azs, networks, groups}`; null without local DNS.
    pub dns: Json,
    /// In manifest order.
    pub jobs: Vec<JobRef>,
}

/// What rendering answered for one instance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RenderedInstance {
    pub configuration_hash: String,
    pub template_hashes: BTreeMap<JobName, String>,
}

impl Placement {
    /// All instances with their groups, in manifest and update order.
    pub fn instances(&self) -> impl Iterator<Item = (&PlacedGroup, &PlacedInstance)> {
        self.groups.iter().flat_map(|group| {
            group
                .instances
                .iter()
                .map(move |instance| (group, instance))
        })
    }

    /// Addresses to insert before anything is rendered: `(instance, network, address, is_static)`.
    pub fn new_addresses(
        &self,
    ) -> impl Iterator<Item = (&InstanceUuid, &NetworkName, IpAddr, bool)> {
        self.instances().flat_map(|(_, instance)| {
            instance.networks.iter().filter_map(move |network| {
                match (network.reservation, network.ip) {
                    (Reservation::New { is_static }, Some(ip)) => {
                        Some((&instance.uuid, &network.name, ip, is_static))
                    }
                    _ => None,
                }
            })
        })
    }

    /// The packages of a group as far as they are compiled.
    pub fn compiled_packages(
        &self,
        group: &PlacedGroup,
    ) -> BTreeMap<PackageName, crate::spec::PackageRef> {
        group
            .runtime_packages
            .iter()
            .filter_map(|(name, at)| {
                let need = &self.packages[*at];
                let compiled = need.compiled.as_ref()?;
                Some((
                    name.clone(),
                    crate::spec::PackageRef {
                        name: name.clone(),
                        version: format!("{}.{}", need.fingerprint, compiled.build),
                        sha1: compiled.sha1.clone(),
                        blobstore_id: compiled.blob_id.clone(),
                    },
                ))
            })
            .collect()
    }

    /// The spec an instance shall have, without what rendering and compiling add.
    pub fn spec(&self, group: &PlacedGroup, instance: &PlacedInstance) -> InstanceSpec {
        InstanceSpec {
            deployment: self.deployment.clone(),
            name: group.name.clone(),
            index: instance.index,
            id: instance.uuid.clone(),
            az: instance.az.clone(),
            bootstrap: instance.bootstrap,
            lifecycle: group.lifecycle,
            jobs: group.jobs.iter().map(|j| j.job.clone()).collect(),
            networks: instance
                .networks
                .iter()
                .map(|n| (n.name.clone(), n.settings.clone()))
                .collect(),
            packages: self.compiled_packages(group),
            dns_domain_name: self.root_domain.clone(),
            persistent_disk: group
                .disks
                .iter()
                .find(|d| d.name.is_empty())
                .map_or(0, |d| d.size),
            disks: group.disks.clone(),
            stemcell: group.stemcell.clone(),
            vm_type: group.vm_type.clone(),
            vm_extensions: group.vm_extensions.clone(),
            vm_resources: group.vm_resources,
            cloud_properties: instance.cloud_properties.clone(),
            env: group.env.clone(),
            tags: group.tags.clone(),
            properties: group
                .jobs
                .iter()
                .map(|j| (j.job.name.clone(), j.properties.as_ref().clone()))
                .collect(),
            links: group
                .jobs
                .iter()
                .filter(|j| !j.link_digests.is_empty())
                .map(|j| (j.job.name.clone(), j.link_digests.clone()))
                .collect(),
            configuration_hash: String::new(),
            template_hashes: BTreeMap::new(),
            rendered_templates_archive: None,
        }
    }
}
