//! All that the planner may know, read at one point in time.

use std::net::IpAddr;

use planner::{
    Calculated, CurrentDeployment, CurrentDisk, CurrentInstance, CurrentVm, DeployOptions,
    DesiredDeployment, DirectorFacts, DnsIds, Fingerprints, ForeignAddress, ForeignProvider,
    HeldAddress, InstanceState, Placement, PlanningInput,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::bind::Bound;
use super::observe;
use crate::cloud;
use crate::deploy::env;
use crate::deploy::work::Work;
use crate::error::Error;
use crate::store::addresses::{self, Address};
use crate::store::deployments;
use crate::store::disks::{self, Disk};
use crate::store::instances::{self, Instance};
use crate::store::vms::{self, Vm};

/// Instances created or deleted at once (`max_threads`).
pub const MAX_THREADS: u32 = 32;

/// Reads rows, asks agents for their state and the CPI for what the planner can't know.
pub async fn load(
    work: &Work,
    bound: &Bound,
    options: DeployOptions,
) -> Result<PlanningInput, Error> {
    let documents = &bound.documents;
    let mut current = rows(work).await?;
    let kept = |group: &str| {
        documents
            .manifest
            .instance_groups
            .iter()
            .any(|wanted| wanted.name.as_str() == group)
    };
    observe::agents(work, &mut current.instances, kept, options.fix).await?;
    of_rows(work, bound, current, options).await
}

/// The same without asking agents: enough to know what must be compiled.
pub async fn for_compilation(work: &Work, bound: &Bound) -> Result<PlanningInput, Error> {
    let current = rows(work).await?;
    of_rows(work, bound, current, DeployOptions::default()).await
}

async fn of_rows(
    work: &Work,
    bound: &Bound,
    current: CurrentDeployment,
    options: DeployOptions,
) -> Result<PlanningInput, Error> {
    let documents = &bound.documents;
    let mut input = PlanningInput {
        director: director(work),
        desired: DesiredDeployment {
            manifest: documents.manifest.clone(),
            cloud: documents.cloud.clone(),
            runtime: documents.runtime.clone(),
            teams: work.deployment.teams.clone(),
            calculated: Vec::new(),
        },
        catalogue: bound.catalogue.clone(),
        current,
        options,
    };
    input.desired.calculated = calculated(work, &input).await?;
    Ok(input)
}

/// Reads the rows again, keeping what the agents have said.
pub async fn refresh(work: &Work, input: &mut PlanningInput) -> Result<(), Error> {
    let before = std::mem::replace(&mut input.current, rows(work).await?);
    for instance in &mut input.current.instances {
        if let Some(old) = before
            .instances
            .iter()
            .find(|old| old.uuid == instance.uuid)
        {
            instance.agent = old.agent.clone();
        }
    }
    Ok(())
}

fn director(work: &Work) -> DirectorFacts {
    let settings = &work.ctx.services.settings;
    DirectorFacts {
        name: settings.name.clone(),
        root_domain: settings.dns_domain.clone(),
        local_dns: false,
        dns_ids: DnsIds::default(),
        agent_env: env::agent_env(settings),
        snapshots: settings.enable_snapshots,
        cpi_resize_disk: false,
        cpi_update_disk: false,
        max_threads: MAX_THREADS,
        fingerprints: fingerprints(work),
    }
}

/// Digests of what every agent is configured with; kept with each VM's row.
pub fn fingerprints(work: &Work) -> Fingerprints {
    let services = &work.ctx.services;
    let digest = |text: &str| domain::Digest::sha1(text).hex().to_owned();
    Fingerprints {
        trusted_certs: digest(&services.settings.trusted_certs),
        blobstore_config: digest(&services.blobs.agent_settings(false).to_string()),
        nats_config: digest(&services.settings.agent_nats_url()),
    }
}

/// The deployment's rows, and what of other deployments matters.
pub async fn rows(work: &Work) -> Result<CurrentDeployment, Error> {
    let (db, deployment) = (work.db(), &work.deployment);
    let all_vms = vms::list_of_deployment(db, deployment.id).await?;
    let all_disks = disks::list_of_deployment(db, deployment.id).await?;
    let all_addresses = addresses::list_all(db).await?;
    let mut current = CurrentDeployment {
        deployed_before: deployment.manifest.is_some(),
        tags: deployment.tags.as_object().cloned().unwrap_or_default(),
        ..CurrentDeployment::default()
    };
    let mut own = Vec::new();
    for row in instances::list(db, deployment.id, false).await? {
        own.push(row.id);
        let held = all_addresses
            .iter()
            .filter(|address| address.instance_id == Some(row.id));
        let vms = all_vms.iter().filter(|vm| vm.instance_id == row.id);
        let disks = all_disks.iter().filter(|disk| disk.instance_id == row.id);
        current.instances.push(instance(&row, vms, disks, held));
    }
    let foreign = all_addresses
        .iter()
        .filter(|address| address.instance_id.is_none_or(|id| !own.contains(&id)));
    current.foreign_addresses = foreign.filter_map(foreign_address).collect();
    for other in deployments::list(db).await? {
        if other.id != deployment.id {
            current
                .foreign_providers
                .extend(providers(&other.name, &other.links));
        }
        current.deployments.insert(other.name.into());
    }
    Ok(current)
}

fn instance<'a>(
    row: &Instance,
    vms: impl Iterator<Item = &'a Vm>,
    disks: impl Iterator<Item = &'a Disk>,
    held: impl Iterator<Item = &'a Address>,
) -> CurrentInstance {
    CurrentInstance {
        uuid: row.uuid.clone().into(),
        group: row.group_name.clone().into(),
        index: u32::try_from(row.index).unwrap_or(0),
        az: row.az.clone().map(Into::into),
        state: match row.state.as_str() {
            "stopped" => InstanceState::Stopped,
            "detached" => InstanceState::Detached,
            _ => InstanceState::Started,
        },
        bootstrap: row.bootstrap,
        ignore: row.ignore,
        update_completed: row.update_completed,
        spec: row
            .spec
            .clone()
            .and_then(|spec| serde_json::from_value(spec).ok()),
        vms: vms.filter_map(vm).collect(),
        disks: disks.map(disk).collect(),
        addresses: held.filter_map(held_address).collect(),
        agent: planner::AgentObservation::NotAsked,
    }
}

/// A VM whose creation nobody has confirmed is no VM yet.
fn vm(row: &Vm) -> Option<CurrentVm> {
    Some(CurrentVm {
        cid: row.cid.clone()?.into(),
        agent_id: row.agent_id.clone().into(),
        cpi: row.cpi.clone().into(),
        active: row.active,
        created_at: Some(row.created_at.timestamp()),
        stemcell_name: row.stemcell_name.clone().map(Into::into),
        stemcell_version: row.stemcell_version.clone(),
        fingerprints: serde_json::from_value(row.fingerprints.clone()).unwrap_or_default(),
    })
}

fn disk(row: &Disk) -> CurrentDisk {
    CurrentDisk {
        cid: row.cid.clone().map(Into::into),
        size: u64::try_from(row.size).unwrap_or(0),
        name: row.name.clone(),
        cloud_properties: row
            .cloud_properties
            .as_object()
            .cloned()
            .unwrap_or_default(),
        active: row.active,
    }
}

fn held_address(row: &Address) -> Option<HeldAddress> {
    Some(HeldAddress {
        address: row.address.parse::<IpAddr>().ok()?,
        network: row.network_name.clone().into(),
        is_static: row.is_static,
    })
}

fn foreign_address(row: &Address) -> Option<ForeignAddress> {
    Some(ForeignAddress {
        address: row.address.parse::<IpAddr>().ok()?,
        holder: row
            .holder
            .clone()
            .map(|(instance, deployment)| (instance, deployment.into())),
    })
}

/// A link provider as it is kept in `deployments.links`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredProvider {
    pub instance_group: String,
    pub owner: String,
    pub original_name: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub shared: bool,
    pub content: Json,
}

/// What this deployment provides, to be stored once the deploy has succeeded.
pub fn stored_links(placement: &Placement) -> Vec<StoredProvider> {
    let consumable = placement.provided.iter().filter(|link| link.consumable);
    consumable
        .map(|link| StoredProvider {
            instance_group: link.instance_group.to_string(),
            owner: link.owner.clone(),
            original_name: link.original_name.clone(),
            name: link.name.clone(),
            kind: link.kind.clone(),
            shared: link.shared,
            content: link.content.clone(),
        })
        .collect()
}

fn providers(deployment: &str, links: &Json) -> Vec<ForeignProvider> {
    let stored: Vec<StoredProvider> = serde_json::from_value(links.clone()).unwrap_or_default();
    stored
        .into_iter()
        .map(|link| ForeignProvider {
            deployment: deployment.into(),
            instance_group: link.instance_group.into(),
            job: link.owner,
            original_name: link.original_name,
            name: link.name,
            kind: link.kind,
            shared: link.shared,
            content: link.content,
        })
        .collect()
}

/// `vm_resources` as the CPI sees them: once per CPI and set of resources.
async fn calculated(work: &Work, input: &PlanningInput) -> Result<Vec<Calculated>, Error> {
    let mut answers = Vec::new();
    for (cpi, resources) in planner::needed_vm_resources(input) {
        let wanted = cpi::VmResources {
            cpu: resources.cpu.unsigned_abs(),
            ram: resources.ram.unsigned_abs(),
            ephemeral_disk_size: resources.ephemeral_disk_size.unsigned_abs(),
        };
        let answer = work
            .cpis
            .get(cpi.as_str())?
            .calculate_vm_cloud_properties(wanted)
            .await
            .map_err(cloud::failed)?;
        let cloud_properties: Map<String, Json> = answer.as_object().cloned().unwrap_or_default();
        answers.push(Calculated {
            cpi,
            resources,
            cloud_properties,
        });
    }
    Ok(answers)
}
