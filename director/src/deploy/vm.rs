//! Making and deleting VMs without ever losing one.
//!
//! ```text
//!  row 'requested' (agent id)  ->  NATS knows the agent  ->  CPI create_vm  ->  row 'created' (cid), active
//!  row 'deleting'              ->  CPI delete_vm         ->  NATS forgets   ->  row gone
//! ```
//! A crash at any arrow leaves a row that says how to go on: the same call with the same agent id, which is
//! the same VM. An error of the CPI means that it has cleaned up; silence means that nobody knows, and the row
//! stays until [`settle`] has found out.

use cpi::{CreateVm, DeleteVm};
use domain::{AgentId, DiskCid, StemcellCid, VmCid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::env;
use super::work::Work;
use crate::cloud;
use crate::error::Error;
use crate::store::instances::Instance;
use crate::store::vms::{self, NewVm, Vm};

/// How often a creation is tried when the CPI says that trying again may help (`max_vm_create_tries`).
const TRIES: u32 = 5;

/// A VM to be made. Also what is kept in its row: no key and no certificate, but no `Debug` either, because a
/// manifest's `env` may hold a password's hash.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct VmRequest {
    pub group: String,
    pub cpi: String,
    pub stemcell_name: String,
    pub stemcell_version: String,
    pub stemcell_cid: String,
    pub stemcell_api_version: u32,
    pub cloud_properties: Map<String, Json>,
    pub networks: Map<String, Json>,
    /// Disks that will be attached.
    pub disk_cids: Vec<String>,
    /// The group's `env`, references unresolved.
    pub env: Map<String, Json>,
}

/// Makes the VM that an instance misses and makes it the active one. Repeating it within a task (after a
/// crash) ends with the same single VM.
pub async fn create(work: &Work, instance: &Instance, request: &VmRequest) -> Result<Vm, Error> {
    let mine = vms::list_of_instance(work.db(), instance.id)
        .await?
        .into_iter()
        .find(|vm| vm.task_id == Some(work.task_id()) && vm.state != "deleting");
    let vm = match mine {
        Some(vm) => vm,
        None => insert(work, instance, request).await?,
    };
    let vm = if vm.state == "created" {
        vm
    } else {
        ask(work, instance, vm, request).await?
    };
    vms::activate(work.db(), vm.id).await?;
    Ok(vm)
}

async fn insert(work: &Work, instance: &Instance, request: &VmRequest) -> Result<Vm, Error> {
    let agent_id = uuid::Uuid::new_v4().to_string();
    let kept = serde_json::to_value(request)
        .map_err(|error| Error::unclassified("A VM request can't be stored.").caused_by(error))?;
    let new = NewVm {
        instance_id: instance.id,
        agent_id: &agent_id,
        cpi: &request.cpi,
        stemcell_name: &request.stemcell_name,
        stemcell_version: &request.stemcell_version,
        stemcell_api_version: i32::try_from(request.stemcell_api_version).unwrap_or(0),
        env_sha: "",
        cloud_properties: &Json::Object(request.cloud_properties.clone()),
        network_spec: &Json::Object(request.networks.clone()),
        request: &kept,
        task_id: work.task_id(),
    };
    let id = vms::request(work.db(), &new).await?;
    vms::find(work.db(), id)
        .await?
        .ok_or_else(|| Error::unclassified("A VM row just written is gone."))
}

/// The CPI call, with the same agent id each time.
async fn ask(work: &Work, instance: &Instance, vm: Vm, request: &VmRequest) -> Result<Vm, Error> {
    let services = &work.ctx.services;
    let cpi = work.cpis.get(&request.cpi)?;
    services.nats.allow(&vm.agent_id).await?;
    let certificate = services.nats.issue(&vm.agent_id)?;
    let env = env::of_vm(
        &services.settings,
        &work.deployment.name,
        &request.group,
        &request.env,
        &work.tags,
        super::blobs::agent_blobstores(work, request.stemcell_api_version),
        &certificate,
    );
    let call = CreateVm {
        agent_id: AgentId::new(vm.agent_id.clone()),
        stemcell_cid: StemcellCid::new(request.stemcell_cid.clone()),
        cloud_properties: Json::Object(request.cloud_properties.clone()),
        networks: request.networks.clone(),
        disk_cids: request
            .disk_cids
            .iter()
            .map(|cid| DiskCid::new(cid.clone()))
            .collect(),
        env,
        stemcell_api_version: Some(request.stemcell_api_version),
    };
    let mut tried = 1;
    let error = loop {
        match cpi.create_vm(call.clone()).await {
            Ok(created) => {
                let cid = created.vm_cid.to_string();
                vms::created(work.db(), vm.id, &cid).await?;
                cpi.settle(&vm.agent_id).await;
                work.record("create", "vm", Some(&cid), instance, None)
                    .await;
                return vms::find(work.db(), vm.id)
                    .await?
                    .ok_or_else(|| Error::unclassified(format!("The row of VM '{cid}' is gone.")));
            }
            Err(error) if error.ok_to_retry_vm_creation() && tried < TRIES => {
                work.ctx
                    .debug(format!("create_vm, try {tried} of {TRIES}: {error}"));
                tried += 1;
            }
            Err(error) => break error,
        }
    };
    if error.fault().is_some() {
        // The CPI answered: by contract nothing is left of the attempt.
        cpi.settle(&vm.agent_id).await;
        services.nats.deny(&vm.agent_id).await?;
        vms::delete(work.db(), vm.id).await?;
    }
    let error = told(work, instance, "made", error);
    work.record("create", "vm", None, instance, Some(&error))
        .await;
    Err(error)
}

/// Deletes a VM: gone already counts as deleted. With `force` a VM that can't be deleted becomes an orphan.
pub async fn delete(work: &Work, instance: &Instance, vm: &Vm) -> Result<(), Error> {
    let Some(vm) = settle(work, instance, vm).await? else {
        return Ok(());
    };
    let cid = vm.cid.clone().unwrap_or_default();
    vms::deleting(work.db(), vm.id).await?;
    let call = DeleteVm {
        vm_cid: VmCid::new(cid.clone()),
        stemcell_api_version: vm
            .stemcell_api_version
            .and_then(|version| u32::try_from(version).ok()),
    };
    let result = match work.cpis.get(&vm.cpi)?.delete_vm(call).await {
        Err(error) if !error.is_vm_not_found() => Err(told(work, instance, "deleted", error)),
        _ => Ok(()),
    };
    work.record("delete", "vm", Some(&cid), instance, result.as_ref().err())
        .await;
    if let Err(error) = result {
        if !work.force {
            return Err(error);
        }
        work.ctx
            .debug(format!("VM '{cid}' becomes an orphan: {}", error.chain()));
        vms::orphan(work.db(), vm.id).await?;
    } else {
        vms::delete(work.db(), vm.id).await?;
    }
    work.ctx.services.nats.deny(&vm.agent_id).await
}

/// A failed call with the instance whose VM it was for, and what to do.
fn told(work: &Work, instance: &Instance, verb: &str, error: cpi::Error) -> Error {
    let error = cloud::failed(error);
    let advice = error
        .hint
        .clone()
        .unwrap_or_else(|| "Correct the cloud config or the infrastructure.".to_owned());
    let hint = format!(
        "The VM of '{}' could not be {verb}. {advice} `bosh task {} --cpi` shows what the CPI did; then deploy again.",
        instance.name(),
        work.task_id()
    );
    error.hint(hint)
}

/// Finds out what became of a `create_vm` that nobody saw the end of, by asking again with the same agent id.
/// `None`: there is no VM, and no row any more.
async fn settle(work: &Work, instance: &Instance, vm: &Vm) -> Result<Option<Vm>, Error> {
    if vm.cid.is_some() {
        return Ok(Some(vm.clone()));
    }
    let request: VmRequest = serde_json::from_value(vm.request.clone()).map_err(|error| {
        Error::unclassified(format!(
            "The row of the VM with agent '{}' can't be read.",
            vm.agent_id
        ))
        .caused_by(error)
    })?;
    match ask(work, instance, vm.clone(), &request).await {
        Ok(vm) => Ok(Some(vm)),
        Err(error) if error.is_interrupted() => Err(error),
        Err(error) => match vms::find(work.db(), vm.id).await? {
            None => Ok(None),
            Some(_) => Err(error),
        },
    }
}

/// Deletes what interrupted tasks left: VMs that never became an instance's own, or whose deletion was begun.
/// Called with the deployment's lock held, before anything is planned.
pub async fn delete_left_overs(work: &Work, instances: &[Instance]) -> Result<(), Error> {
    for instance in instances {
        for vm in vms::list_of_instance(work.db(), instance.id).await? {
            let left_over = !vm.active || vm.state != "created";
            if left_over && vm.task_id != Some(work.task_id()) {
                work.ctx.debug(format!(
                    "deleting a left-over VM of {} (agent {})",
                    instance.name(),
                    vm.agent_id
                ));
                delete(work, instance, &vm).await?;
            }
        }
    }
    Ok(())
}
