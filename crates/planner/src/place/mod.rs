//! Phase one: who shall be, where, with which addresses, jobs, properties and links.

mod addresses;
mod azs;
mod bind;
mod cloud_properties;
mod draft;
mod instances;
pub(crate) mod properties;
mod settings;
mod static_ips;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use domain::{CpiName, NetworkName};
use manifest::documents::{
    InstanceGroup, Lifecycle, Network, PersistentDisk, Problem, Problems, VmSpec, canonical_name,
};
use serde_json::Value as Json;

pub(crate) use addresses::{Addresses, Reserved};
pub(crate) use bind::BoundRelease;
pub(crate) use cloud_properties::merged;
pub use cloud_properties::needed_vm_resources;
pub(crate) use draft::{Draft, DraftJob};
pub(crate) use settings::network_settings;

use crate::catalogue::Hash;
use crate::ids::{IdKind, IdSource};
use crate::input::PlanningInput;
use crate::links::{self, GroupFacts, InstanceFacts, JobLinks};
use crate::packages::{self, Needs};
use crate::placement::{
    PlacedGroup, PlacedInstance, PlacedJob, PlacedNetwork, Placement, Reservation,
};
use crate::spec::{DiskSpec, JobRef};
use instances::{Placed, Slot, place_instances};

/// Decides everything but what changes. Nothing is written: the director reserves
/// [`Placement::new_addresses`] and renders, then calls [`crate::plan`].
///
/// # Errors
/// All problems found, with the original's codes and texts, in the order in which it would meet them.
pub fn place(input: &PlanningInput, ids: &mut dyn IdSource) -> Result<Placement, Problems> {
    check_name(input)?;
    let drafts = draft::draft_groups(input)?;
    let mut instances = place_instances(input, &drafts.groups, ids)?;
    let mut needs = Needs::new(input);
    let mut addresses = Addresses::new(input);
    let mut problems = Problems::default();
    let mut groups = Vec::with_capacity(drafts.groups.len());
    for (draft, placed) in drafts.groups.iter().zip(instances.groups.drain(..)) {
        let runtime_packages = problems.take(needs.add_group(draft)).unwrap_or_default();
        let placer = GroupPlacer { input, draft };
        groups.extend(problems.take_all(placer.place(
            placed,
            runtime_packages,
            &mut addresses,
            ids,
        )));
    }
    if !problems.0.is_empty() {
        return Err(problems);
    }
    let to_compile = packages::to_compile(&needs.list, groups.iter().map(|g| &g.runtime_packages));
    problems.take_all(packages::check_sources(
        &needs.list,
        &to_compile,
        &drafts.groups,
    ));
    let provided = problems.take_all(bind_jobs(input, &drafts.groups, &mut groups));
    let obsolete = instances.obsolete.into_iter();
    let mut placement = Placement {
        deployment: input.desired.manifest.name.clone(),
        groups,
        obsolete: obsolete
            .map(|i| input.current.instances[i].uuid.clone())
            .collect(),
        packages: needs.list,
        provided: provided.unwrap_or_default(),
        tags: tags(input),
        warnings: Vec::new(),
        deprecations: drafts.deprecations,
        // compat: a director names link addresses whether or not anybody answers the names.
        dns: Some(input.director.dns_ids.clone()),
        features: input.desired.manifest.features,
        root_domain: input.director.root_domain.clone(),
    };
    placement.warnings = warnings(&placement);
    problems.or(placement)
}

/// Two deployments may not have names that become one in DNS (§1.1).
fn check_name(input: &PlanningInput) -> Result<(), Problem> {
    let name = &input.desired.manifest.name;
    let canonical = canonical_name(name.as_str())?;
    let clash = input.current.deployments.iter().any(|other| {
        other != name && canonical_name(other.as_str()).is_ok_and(|other| other == canonical)
    });
    if clash {
        return Err(Problem::new(
            190009,
            format!(
                "Invalid deployment name '{name}', canonical name already taken ('{canonical}')"
            ),
        )
        .at("/name"));
    }
    Ok(())
}

fn tags(input: &PlanningInput) -> Hash {
    let mut tags = Hash::new();
    for runtime in &input.desired.runtime {
        tags.extend(runtime.tags.clone());
    }
    tags.extend(input.desired.manifest.tags.clone());
    tags
}

fn warnings(placement: &Placement) -> Vec<String> {
    let mut warnings = Vec::new();
    if placement.instances().any(|(_, i)| i.ignore) {
        warnings.push("You have ignored instances. They will not be changed.".to_string());
    }
    warnings
}

/// One group, from its slots to complete instances (jobs excepted: links need all groups' addresses first).
struct GroupPlacer<'a, 'd> {
    input: &'a PlanningInput,
    draft: &'d Draft<'a>,
}

impl<'a> GroupPlacer<'a, '_> {
    fn place(
        &self,
        placed: Placed,
        runtime_packages: BTreeMap<domain::PackageName, usize>,
        addresses: &mut Addresses<'a>,
        ids: &mut dyn IdSource,
    ) -> Result<PlacedGroup, Problems> {
        let group = self.draft.group;
        let current = &self.input.current.instances;
        let has_vm = placed
            .slots
            .iter()
            .any(|s| s.current.is_some_and(|c| !current[c].vms.is_empty()));
        let runs_now = self.input.options.errands.contains(&group.name);
        let dormant = group.lifecycle == Lifecycle::Errand && !has_vm && !runs_now;
        let cloud = &self.input.desired.cloud;
        let disks = disks(group, cloud);
        let mut problems = Problems::default();
        let mut instances = Vec::with_capacity(placed.slots.len());
        for slot in placed.slots {
            if let Some(mut instance) = problems.take(self.instance(slot, dormant, addresses)) {
                instance.disk_keys = disks.iter().map(|_| ids.next(IdKind::Disk)).collect();
                instances.push(instance);
            }
        }
        let mut tags = tags(self.input);
        tags.extend(group.tags.clone());
        problems.or(PlacedGroup {
            name: group.name.clone(),
            lifecycle: group.lifecycle,
            dormant,
            update: group.update.clone(),
            stemcell: self.draft.stemcell.reference.clone(),
            jobs: Vec::new(),
            runtime_packages,
            instances,
            obsolete: placed
                .obsolete
                .into_iter()
                .map(|i| current[i].uuid.clone())
                .collect(),
            disks,
            vm_type: match &group.vm {
                VmSpec::Type(name) => name.to_string(),
                VmSpec::Resources(_) => String::new(),
            },
            vm_extensions: group.vm_extensions.clone(),
            vm_resources: match &group.vm {
                VmSpec::Type(_) => None,
                VmSpec::Resources(resources) => Some(*resources),
            },
            env: group.env.clone(),
            tags,
            pinned_addresses: group.networks.iter().any(|n| {
                n.static_ips.is_some() || matches!(cloud.network(&n.name), Some(Network::Vip(_)))
            }),
        })
    }

    fn instance(
        &self,
        slot: Slot,
        dormant: bool,
        addresses: &mut Addresses<'a>,
    ) -> Result<PlacedInstance, Problem> {
        let group = self.draft.group;
        let director = &self.input.director;
        let cloud = &self.input.desired.cloud;
        let current = slot.current.map(|c| &self.input.current.instances[c]);
        let label = format!("{}/{}", group.name, slot.uuid);
        let (reserved, released) = if dormant {
            (
                vec![
                    Reserved {
                        ip: None,
                        reservation: Reservation::None
                    };
                    group.networks.len()
                ],
                Vec::new(),
            )
        } else {
            addresses.reserve(&group.networks, &slot, &label, current, false)?
        };
        let mut networks = Vec::with_capacity(reserved.len());
        for (wanted, reserved) in group.networks.iter().zip(reserved) {
            let network = cloud
                .network(&wanted.name)
                .expect("the manifest's reader refuses unknown networks");
            let settings = network_settings(network, wanted, reserved.ip, slot.az.as_ref())?;
            // What an agent reported about a dynamic network stays known until the VM is replaced.
            let observed = match network {
                Network::Dynamic(_) => current
                    .and_then(|c| c.spec.as_ref())
                    .and_then(|s| s.networks.get(&wanted.name))
                    .filter(|stored| stored.get("type") == settings.get("type"))
                    .cloned(),
                _ => None,
            };
            let ip = reserved.ip.or_else(|| observed_ip(observed.as_ref()));
            networks.push(PlacedNetwork {
                name: wanted.name.clone(),
                ip,
                reservation: reserved.reservation,
                default: wanted.default.clone(),
                settings,
                observed,
                dns_record_name: settings::dns_record_name(
                    slot.uuid.as_str(),
                    group.name.as_str(),
                    &wanted.name,
                    self.input.desired.manifest.name.as_str(),
                    &director.root_domain,
                ),
            });
        }
        let az = slot.az.as_ref().and_then(|az| cloud.az(az));
        let cpi = az
            .and_then(|az| az.cpi.clone())
            .unwrap_or_else(|| CpiName::new(""));
        let stemcell = self.draft.stemcell.row(&cpi)?;
        let cloud_properties = merged(
            &self.input.desired,
            az,
            Some(&group.vm),
            &group.vm_extensions,
            &cpi,
        )?;
        let address = self.address(&networks);
        Ok(PlacedInstance {
            uuid: slot.uuid,
            index: slot.index,
            az: slot.az,
            bootstrap: slot.bootstrap,
            ignore: slot.ignore,
            current: slot.current,
            state: slot.state,
            passing: slot.passing,
            networks,
            released,
            address,
            cloud_properties,
            cpi,
            stemcell_cid: stemcell.cid.clone(),
            disk_keys: Vec::new(),
            stemcell_api_version: stemcell.api_version,
        })
    }

    /// `spec.address`.
    fn address(&self, networks: &[PlacedNetwork]) -> String {
        let Some(wanted) = settings::address_network(&self.draft.group.networks) else {
            return String::new();
        };
        let Some(network) = networks.iter().find(|n| n.name == wanted.name) else {
            return String::new();
        };
        let features = &self.input.desired.manifest.features;
        let by_name = self.input.director.local_dns
            && (features.use_dns_addresses || network.reservation == Reservation::None);
        match network.ip {
            Some(ip) if !by_name => ip.to_string(),
            None if !self.input.director.local_dns => "127.0.0.1".to_string(),
            _ => network.dns_record_name.clone(),
        }
    }
}

fn observed_ip(settings: Option<&Json>) -> Option<IpAddr> {
    settings?.get("ip")?.as_str()?.parse().ok()
}

fn disks(group: &InstanceGroup, cloud: &manifest::documents::CloudConfig) -> Vec<DiskSpec> {
    let of_type = |name: String, disk_type: &domain::DiskTypeName| {
        cloud.disk_type(disk_type).map(|t| DiskSpec {
            name,
            size: t.disk_size,
            cloud_properties: t.cloud_properties.clone(),
        })
    };
    match &group.disk {
        PersistentDisk::None => Vec::new(),
        PersistentDisk::Size(size) => vec![DiskSpec {
            name: String::new(),
            size: *size,
            cloud_properties: Hash::new(),
        }],
        PersistentDisk::Type(disk_type) => of_type(String::new(), disk_type)
            .into_iter()
            // A disk type of size 0 is no disk.
            .filter(|d| d.size > 0)
            .collect(),
        PersistentDisk::Raw(disks) => disks
            .iter()
            .filter_map(|d| of_type(d.name.clone(), &d.disk_type))
            .collect(),
    }
}

/// Binds properties and links, now that all addresses are known.
fn bind_jobs(
    input: &PlanningInput,
    drafts: &[Draft],
    groups: &mut [PlacedGroup],
) -> Result<Vec<crate::placement::ProvidedLink>, Problems> {
    let mut problems = Problems::default();
    let facts: Vec<GroupFacts> = drafts
        .iter()
        .zip(groups.iter())
        .map(|(draft, group)| group_facts(draft, group))
        .collect();
    let providers = problems.take_all(links::read_providers(drafts));
    let resolved = providers
        .as_ref()
        .and_then(|p| problems.take_all(links::resolve(input, drafts, p, &facts)));
    let (mut job_links, provided) = resolved.unwrap_or_default();
    for (g, (draft, group)) in drafts.iter().zip(groups.iter_mut()).enumerate() {
        for (j, job) in draft.jobs.iter().enumerate() {
            let Some(bound) =
                problems.take(properties::bind(&job.spec.properties, &job.properties))
            else {
                continue;
            };
            let links: JobLinks = job_links
                .get_mut(g)
                .and_then(|jobs| jobs.get_mut(j))
                .map(std::mem::take)
                .unwrap_or_default();
            let mine = providers.iter().flatten().filter(|p| {
                p.group == g && !p.is_disk && p.owner == job.job.name.as_str() && p.consumable
            });
            let provides = mine.map(|p| {
                let id = link_group_id(input, &format!("{}-{}", p.name, p.kind));
                (p.original_name.clone(), p.kind.clone(), id)
            });
            group.jobs.push(PlacedJob {
                job: JobRef {
                    name: job.job.name.clone(),
                    release: job.job.release.clone(),
                    release_version: job.release.release.version.clone(),
                    version: job.spec.fingerprint.clone(),
                    sha1: job.spec.sha1.clone(),
                    blobstore_id: job.spec.blob_id.clone(),
                    logs: job.spec.logs.clone(),
                },
                templates: job.spec.templates.clone(),
                properties: Arc::new(bound),
                link_digests: links
                    .iter()
                    .map(|(name, content)| (name.clone(), digest(content)))
                    .collect(),
                links,
                provides: provides.collect(),
            });
        }
    }
    problems.or(provided)
}

fn digest(content: &Json) -> String {
    domain::Digest::sha1(content.to_string()).hex().to_owned()
}

fn link_group_id(input: &PlanningInput, name: &str) -> String {
    let groups = input.director.dns_ids.groups.iter();
    groups
        .filter(|g| g.kind == "link" && g.deployment == input.desired.manifest.name)
        .find(|g| g.name == name)
        .map(|g| g.id.clone())
        .unwrap_or_default()
}

fn group_facts(draft: &Draft, group: &PlacedGroup) -> GroupFacts {
    let by_network = |instance: &PlacedInstance,
                      value: &dyn Fn(&PlacedNetwork) -> Option<String>| {
        let pairs = instance.networks.iter();
        pairs
            .filter_map(|n| Some((n.name.clone(), value(n)?)))
            .collect::<BTreeMap<NetworkName, String>>()
    };
    GroupFacts {
        name: group.name.clone(),
        networks: draft
            .group
            .networks
            .iter()
            .map(|n| n.name.clone())
            .collect(),
        default_network: settings::address_network(&draft.group.networks).map(|n| n.name.clone()),
        instances: group
            .instances
            .iter()
            .map(|instance| InstanceFacts {
                id: instance.uuid.clone(),
                index: instance.index,
                bootstrap: instance.bootstrap,
                az: instance.az.clone(),
                addresses: by_network(instance, &|n| n.ip.map(|ip| ip.to_string())),
                dns_addresses: by_network(instance, &|n| Some(n.dns_record_name.clone())),
            })
            .collect(),
    }
}
