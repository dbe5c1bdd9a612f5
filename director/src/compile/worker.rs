//! Compilation VMs: taken from a pool, given back, all deleted at the end.

use std::collections::{BTreeMap, VecDeque};

use agent_protocol::{ApplySpec, Target, UpdateSettings};
use planner::{CompilationPlan, CompilePackage, WorkerNetwork};
use serde_json::{Map, Value as Json, json};
use tokio::sync::Mutex;

use crate::deploy::vm::{self, VmRequest};
use crate::deploy::work::Work;
use crate::error::{Error, code};
use crate::store::instances::{self, Instance, NewInstance};
use crate::store::vms::Vm;
use crate::store::{addresses, vms};
use crate::{agents, cloud};
use domain::VmCid;

/// The VMs of one compilation.
pub struct Pool<'a> {
    work: &'a Work,
    plan: &'a CompilationPlan,
    /// Networks (with addresses) that no VM uses now.
    free: Mutex<VecDeque<WorkerNetwork>>,
    /// VMs that wait for the next package of their stemcell.
    idle: Mutex<Vec<Worker>>,
}

/// A compilation VM with its agent up.
pub struct Worker {
    row: Instance,
    vm: Vm,
    stemcell_cid: String,
    network: WorkerNetwork,
}

impl Worker {
    pub fn target(&self) -> Target {
        agents::target(&self.row, &self.vm.agent_id)
    }

    /// Shows in the cloud what is being compiled.
    pub async fn label(&self, work: &Work, package: &str) -> Result<(), Error> {
        let mut metadata = work.vm_metadata(&self.row);
        metadata.insert("compiling".into(), json!(package));
        set_metadata(work, &self.vm, metadata).await
    }
}

impl<'a> Pool<'a> {
    pub fn new(work: &'a Work, plan: &'a CompilationPlan) -> Pool<'a> {
        Pool {
            work,
            plan,
            free: Mutex::new(plan.worker_networks.iter().cloned().collect()),
            idle: Mutex::default(),
        }
    }

    /// How many packages can be compiled at once.
    pub fn size(&self) -> usize {
        (self.plan.workers as usize)
            .min(self.plan.worker_networks.len())
            .max(1)
    }

    /// An idle VM of the right stemcell, or a new one; an idle one of another stemcell makes room.
    pub async fn take(&self, need: &CompilePackage) -> Result<Worker, Error> {
        let idle = {
            let mut idle = self.idle.lock().await;
            match idle
                .iter()
                .position(|worker| worker.stemcell_cid == need.stemcell_cid.as_str())
            {
                Some(at) => return Ok(idle.swap_remove(at)),
                None if self.free.lock().await.is_empty() => idle.pop(),
                None => None,
            }
        };
        if let Some(other) = idle {
            self.destroy(other).await?;
        }
        let Some(network) = self.free.lock().await.pop_front() else {
            let network = &self.plan.network;
            return Err(Error::new(
                130_011,
                format!("Failed to reserve IP for 'compilation' for manual network '{network}': no more available"),
            )
            .hint("Give the compilation network more addresses in the cloud config."));
        };
        let worker = create(self.work, self.plan, need, &network).await;
        if worker.is_err() {
            self.free.lock().await.push_front(network);
        }
        worker
    }

    /// Keeps the VM for the next package, or deletes it.
    pub async fn give_back(&self, worker: Worker, healthy: bool) -> Result<(), Error> {
        if healthy && self.plan.reuse_vms {
            self.idle.lock().await.push(worker);
            return Ok(());
        }
        self.destroy(worker).await
    }

    /// Deletes all VMs.
    pub async fn close(&self) -> Result<(), Error> {
        let idle: Vec<Worker> = self.idle.lock().await.drain(..).collect();
        let mut result = Ok(());
        for worker in idle {
            let destroyed = self.destroy(worker).await;
            if result.is_ok() {
                result = destroyed;
            }
        }
        result
    }

    async fn destroy(&self, worker: Worker) -> Result<(), Error> {
        delete(self.work, &worker.row).await?;
        self.free.lock().await.push_front(worker.network);
        Ok(())
    }
}

async fn create(
    work: &Work,
    plan: &CompilationPlan,
    need: &CompilePackage,
    network: &WorkerNetwork,
) -> Result<Worker, Error> {
    let group = format!("compilation-{}", uuid::Uuid::new_v4());
    let uuid = uuid::Uuid::new_v4().to_string();
    let new = NewInstance {
        deployment_id: work.deployment.id,
        group_name: &group,
        index: 0,
        uuid: &uuid,
        az: plan.az.as_ref().map(|az| az.as_str()),
        state: "started",
        lifecycle: "service",
        bootstrap: false,
        compilation: true,
    };
    instances::ensure(work.db(), &new).await?;
    let row = instances::find_by_uuid(work.db(), &uuid)
        .await?
        .ok_or_else(|| Error::unclassified("The row of a compilation VM is gone."))?;
    let made = start(work, plan, need, network, &row).await;
    match made {
        Ok(vm) => Ok(Worker {
            row,
            vm,
            stemcell_cid: need.stemcell_cid.to_string(),
            network: network.clone(),
        }),
        Err(error) => {
            if !error.is_interrupted()
                && let Err(left) = delete(work, &row).await
            {
                work.ctx.debug(format!(
                    "compilation VM {} is left for the next deploy: {}",
                    row.name(),
                    left.chain()
                ));
            }
            Err(error)
        }
    }
}

async fn start(
    work: &Work,
    plan: &CompilationPlan,
    need: &CompilePackage,
    network: &WorkerNetwork,
    row: &Instance,
) -> Result<Vm, Error> {
    if let Some(address) = network.address {
        let address = address.to_string();
        let free = addresses::reserve(
            work.db(),
            &address,
            plan.network.as_str(),
            false,
            row.id,
            work.task_id(),
        )
        .await?;
        if !free {
            return Err(Error::new(
                130_011,
                format!(
                    "Failed to reserve IP '{address}' for '{}': taken meanwhile",
                    row.name()
                ),
            )
            .hint("Another deploy took the address: deploy again."));
        }
    }
    let networks = network.settings.as_object().cloned().unwrap_or_default();
    let request = VmRequest {
        group: row.group_name.clone(),
        cpi: plan.cpi.to_string(),
        stemcell_name: need.stemcell.name.to_string(),
        stemcell_version: need.stemcell.version.clone(),
        stemcell_cid: need.stemcell_cid.to_string(),
        stemcell_api_version: need.stemcell_api_version,
        cloud_properties: plan.cloud_properties.clone(),
        networks: networks.clone(),
        disk_cids: Vec::new(),
        env: plan.env.clone(),
    };
    let vm = vm::create(work, row, &request).await?;
    set_metadata(work, &vm, work.vm_metadata(row)).await?;
    let to = agents::target(row, &vm.agent_id);
    let limit = work.ctx.services.settings.agent_wait_timeout();
    let cid = VmCid::new(vm.cid.clone().unwrap_or_default());
    work.ctx
        .until_cancelled(work.agents().wait_until_ready(&to, &cid, limit))
        .await?
        .map_err(agents::failed)?;
    let settings = UpdateSettings {
        trusted_certs: work.ctx.services.settings.trusted_certs.clone(),
        ..UpdateSettings::default()
    };
    work.agents()
        .update_settings(&to, &settings)
        .await
        .map_err(agents::failed)?;
    let spec = ApplySpec {
        deployment: Some(work.deployment.name.clone()),
        job: Some(agent_protocol::JobSpec {
            name: Some(row.group_name.clone()),
            ..Default::default()
        }),
        index: Some(0),
        id: Some(row.uuid.clone()),
        networks: Some(networks),
        ..ApplySpec::default()
    };
    work.agents()
        .apply(&to, &spec)
        .await
        .map_err(agents::failed)?;
    Ok(vm)
}

async fn set_metadata(work: &Work, vm: &Vm, metadata: Map<String, Json>) -> Result<(), Error> {
    let cid = VmCid::new(vm.cid.clone().unwrap_or_default());
    match work
        .cpis
        .get(&vm.cpi)?
        .set_vm_metadata(&cid, metadata)
        .await
    {
        Err(error) if !error.is_not_implemented() => Err(cloud::failed(error)),
        _ => Ok(()),
    }
}

/// VMs, addresses and row of one compilation instance. Its jobs are nothing: no stop, no drain.
async fn delete(work: &Work, row: &Instance) -> Result<(), Error> {
    for vm in vms::list_of_instance(work.db(), row.id).await? {
        vm::delete(work, row, &vm).await?;
    }
    if instances::delete(work.db(), row.id).await? {
        return Ok(());
    }
    match instances::find_by_uuid(work.db(), &row.uuid).await? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            code::SYSTEM_ERROR,
            format!("The row of {} can't be deleted.", row.name()),
        )),
    }
}

/// Deletes the compilation VMs that a dead worker left. The deployment's lock is held: nobody uses them.
pub async fn delete_left_overs(work: &Work) -> Result<(), Error> {
    let rows = instances::list(work.db(), work.deployment.id, true).await?;
    let left: BTreeMap<i64, Instance> = rows
        .into_iter()
        .filter(|row| row.compilation)
        .map(|row| (row.id, row))
        .collect();
    for row in left.values() {
        delete(work, row).await?;
    }
    Ok(())
}
