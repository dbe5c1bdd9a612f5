//! Carrying out the steps of one instance: one journal entry each, in the plan's order.
//!
//! Every step may find that an earlier worker did it, half or wholly: what it acts on is read from the rows,
//! never from memory, and what is already so is left alone.

use std::net::IpAddr;

use agent_protocol::{ApplySpec, DiskAssociation, DrainType, Target, UpdateSettings};
use planner::{Action, DrainKind, Fingerprints, InstancePlan, InstanceSpec, Phase, Step};
use serde_json::Value as Json;

use super::prepare::snapshot;
use super::work::Work;
use super::{blobs, disk, jobs, vm, watch};
use crate::error::Error;
use crate::events::StageTask;
use crate::store::instances::{self, Instance};
use crate::store::vms::Vm;
use crate::store::{addresses, disks, vms};
use crate::tasks::Attempt;
use crate::{agents, cloud};

/// One instance being worked on.
pub struct InstanceRun<'a> {
    pub work: &'a Work,
    pub plan: &'a InstancePlan,
    pub row: Instance,
}

impl<'a> InstanceRun<'a> {
    /// # Errors
    /// When the instance's row is gone, which only an interrupted deletion can have caused.
    pub async fn load(
        work: &'a Work,
        plan: &'a InstancePlan,
    ) -> Result<Option<InstanceRun<'a>>, Error> {
        let row = instances::find_by_uuid(work.db(), plan.spec.id.as_str()).await?;
        Ok(row.map(|row| InstanceRun { work, plan, row }))
    }

    /// All steps of a phase. The progress that a person sees is shown as steps begin, not when they are only
    /// read back from the journal.
    pub async fn run(&self, phase: Phase, show: Option<&StageTask>) -> Result<(), Error> {
        let steps = match phase {
            Phase::Create => &self.plan.create,
            Phase::Update => &self.plan.update,
        };
        for (at, step) in steps.iter().enumerate() {
            let key = self.plan.step_key(phase, at);
            if let Some(show) = show
                && self.work.ctx.step_output::<Json>(&key).is_none()
            {
                self.show(show, steps, at);
            }
            let done = self
                .work
                .ctx
                .step(&key, step.kind(), |attempt| self.carry_out(step, attempt))
                .await;
            let done = match step {
                Step::DeleteInstance => done,
                _ => self.work.forgive(&key, done),
            };
            if let Err(error) = done {
                self.clean_up_after(step, &error).await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The status lines of director-api §4.3.
    fn show(&self, show: &StageTask, steps: &[Step], at: usize) {
        match &steps[at] {
            Step::PreStop { .. } => show.progress("executing pre-stop", 5),
            Step::Drain { .. } => show.progress("executing drain", 5),
            Step::Stop => {
                if !steps[..at]
                    .iter()
                    .any(|step| matches!(step, Step::Drain { .. }))
                {
                    show.progress("skipped pre-stop & drain", 10);
                }
                show.progress("stopping jobs", 20);
            }
            Step::PostStop { .. } => show.progress("executing post-stop", 10),
            Step::Apply => {
                show.progress("installing packages", 10);
                show.progress("configuring jobs", 10);
            }
            Step::PreStart => show.progress("executing pre-start", 10),
            Step::Start => show.progress("starting jobs", 20),
            Step::PostStart => show.progress("executing post-start", 10),
            _ => {}
        }
    }

    /// A new VM that could not be described or whose agent never came is deleted: nobody could use or find it.
    async fn clean_up_after(&self, step: &Step, error: &Error) {
        if error.is_interrupted() || !matches!(step, Step::SetVmMetadata | Step::WaitForAgent) {
            return;
        }
        let rows = vms::list_of_instance(self.work.db(), self.row.id)
            .await
            .unwrap_or_default();
        for row in rows
            .iter()
            .filter(|row| row.task_id == Some(self.work.task_id()))
        {
            if let Err(error) = vm::delete(self.work, &self.row, row).await {
                self.work.ctx.debug(format!(
                    "the VM of {} stays for now: {}",
                    self.row.name(),
                    error.chain()
                ));
            }
        }
    }

    async fn carry_out(&self, step: &Step, attempt: Attempt) -> Result<(), Error> {
        let (work, row) = (self.work, &self.row);
        let again = attempt.number > 1;
        match step {
            Step::CreateVm { .. } => self.create_vm().await,
            Step::SetVmMetadata => self.set_vm_metadata().await,
            Step::WaitForAgent => self.wait_for_agent().await,
            Step::AttachDisk { disk } => {
                let (vm, to) = work.agent(row).await?;
                disk::attach(work, row, &vm, &to, disk, again).await
            }
            Step::MountDisk { disk } => {
                let (vm, to) = work.agent(row).await?;
                disk::mount(work, &vm, &to, disk).await
            }
            Step::UpdateSettings => push_settings(work, row).await,
            Step::ApplyIdentity => self.apply_identity().await,
            Step::BeginUpdate => Ok(instances::begin_update(work.db(), row.id).await?),
            // The archive was stored with the plan; here it is only kept from being cleaned away.
            Step::StoreTemplates => Ok(()),
            Step::Prepare { packages_only } => self.prepare(*packages_only).await,
            Step::PreStop { next } => {
                self.with_agent(|to| async move { jobs::pre_stop(work, &to, *next).await })
                    .await
            }
            Step::Drain { kind } => {
                let (kind, spec) = (drain_type(*kind), self.drain_spec()?);
                self.with_agent(|to| async move { jobs::drain(work, &to, kind, Some(&spec)).await })
                    .await
            }
            Step::Stop => {
                self.with_agent(|to| async move {
                    work.agents().stop(&to).await.map_err(agents::failed)
                })
                .await
            }
            Step::PostStop { .. } => {
                self.with_agent(|to| async move { jobs::script(work, &to, "post-stop").await })
                    .await
            }
            Step::Snapshot => Ok(()),
            Step::UnmountDisk { disk } => {
                self.with_agent(|to| async move { disk::unmount(work, &to, disk).await })
                    .await
            }
            Step::DetachDisk { disk } => match work.find_agent(row).await? {
                Some((vm, to)) => disk::detach(work, &vm, &to, disk).await,
                None => Ok(()),
            },
            Step::DeleteVm { all } => self.delete_vm(*all).await,
            // compat: `vm_strategy: create-swap-delete` behaves as delete-create in this planner.
            Step::ActivateVm | Step::OrphanVm => Ok(()),
            Step::CreateDisk {
                key,
                name,
                size,
                cloud_properties,
            } => {
                let (vm, _) = work.agent(row).await?;
                disk::create(work, row, &vm, key, name, *size, cloud_properties)
                    .await
                    .map(drop)
            }
            Step::MigrateDisk { from, to: into } => {
                let (_, to) = work.agent(row).await?;
                disk::migrate(work, &to, from, into, again).await
            }
            Step::ActivateDisk { disk } => {
                let (disk, _) = disk::load(work, disk).await?;
                Ok(disks::activate(work.db(), disk.id).await?)
            }
            Step::ResizeDisk { disk, size } => disk::resize(work, disk, *size).await,
            Step::OrphanDisk { disk } => disk::orphan(work, row, disk).await,
            Step::ReleaseAddresses => self.release_addresses().await,
            // Local DNS is off: there are no records to publish.
            Step::SyncDns => Ok(()),
            Step::Apply => self.apply().await,
            Step::PreStart => {
                self.with_agent(|to| async move { jobs::script(work, &to, "pre-start").await })
                    .await
            }
            Step::Start => {
                self.with_agent(|to| async move {
                    work.agents().start(&to).await.map_err(agents::failed)
                })
                .await
            }
            Step::WatchRunning { watch } => {
                let (_, to) = work.agent(row).await?;
                watch::until_running(work, &to, &row.name(), watch.min, watch.max).await
            }
            Step::PostStart => {
                self.with_agent(|to| async move { jobs::script(work, &to, "post-start").await })
                    .await
            }
            Step::EndUpdate { completed } => self.end_update(*completed).await,
            Step::DeleteInstance => self.delete_instance().await,
        }
    }

    /// Steps on jobs: without a VM there is nothing to do.
    async fn with_agent<F>(&self, run: impl FnOnce(Target) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        match self.work.find_agent(&self.row).await? {
            Some((_, to)) => run(to).await,
            None => Ok(()),
        }
    }

    async fn create_vm(&self) -> Result<(), Error> {
        let (work, plan) = (self.work, self.plan);
        let held = disks::list_of_instance(work.db(), self.row.id).await?;
        let request = vm::VmRequest {
            group: plan.spec.name.to_string(),
            cpi: plan.cpi.to_string(),
            stemcell_name: plan.spec.stemcell.name.to_string(),
            stemcell_version: plan.spec.stemcell.version.clone(),
            stemcell_cid: plan.stemcell_cid.to_string(),
            stemcell_api_version: plan.stemcell_api_version,
            cloud_properties: plan.spec.cloud_properties.clone(),
            networks: plan
                .spec
                .networks
                .iter()
                .map(|(name, net)| (name.to_string(), net.clone()))
                .collect(),
            disk_cids: held
                .into_iter()
                .filter(|disk| disk.active)
                .filter_map(|disk| disk.cid)
                .collect(),
            env: plan.spec.env.clone(),
        };
        vm::create(work, &self.row, &request).await?;
        // The rows show from here on what the new VM is made of, whatever happens to the update.
        let spec = self.spec_of_new_vm().await?;
        Ok(instances::set_spec(work.db(), self.row.id, &json_of(&spec)?).await?)
    }

    /// What is recorded once the VM exists: its own facts are the plan's, its jobs those of before.
    async fn spec_of_new_vm(&self) -> Result<InstanceSpec, Error> {
        let row = instances::find_by_uuid(self.work.db(), &self.row.uuid).await?;
        let stored = row
            .and_then(|row| row.spec)
            .and_then(|spec| serde_json::from_value::<InstanceSpec>(spec).ok());
        let new = &self.plan.spec;
        Ok(match stored {
            Some(stored) => InstanceSpec {
                networks: new.networks.clone(),
                stemcell: new.stemcell.clone(),
                vm_type: new.vm_type.clone(),
                vm_extensions: new.vm_extensions.clone(),
                vm_resources: new.vm_resources,
                cloud_properties: new.cloud_properties.clone(),
                env: new.env.clone(),
                ..stored
            },
            None => InstanceSpec {
                jobs: Vec::new(),
                packages: Default::default(),
                properties: Default::default(),
                configuration_hash: String::new(),
                template_hashes: Default::default(),
                rendered_templates_archive: None,
                ..new.clone()
            },
        })
    }

    async fn set_vm_metadata(&self) -> Result<(), Error> {
        let Some((vm, _)) = self.work.find_agent(&self.row).await? else {
            return Ok(());
        };
        let metadata = self.work.vm_metadata(&self.row);
        match self
            .work
            .cpis
            .get(&vm.cpi)?
            .set_vm_metadata(&disk::vm_cid(&vm), metadata)
            .await
        {
            Err(error) if !error.is_not_implemented() => Err(cloud::failed(error)),
            _ => Ok(()),
        }
    }

    async fn wait_for_agent(&self) -> Result<(), Error> {
        let (vm, to) = self.work.agent(&self.row).await?;
        let limit = self.work.ctx.services.settings.agent_wait_timeout();
        let cid = disk::vm_cid(&vm);
        let ready = self.work.agents().wait_until_ready(&to, &cid, limit);
        self.work
            .ctx
            .until_cancelled(ready)
            .await?
            .map_err(agents::failed)
    }

    async fn apply_identity(&self) -> Result<(), Error> {
        let (_, to) = self.work.agent(&self.row).await?;
        let spec: ApplySpec = typed(self.plan.spec.identity_spec())?;
        self.work
            .agents()
            .apply(&to, &spec)
            .await
            .map_err(agents::failed)?;
        let state = self
            .work
            .agents()
            .get_state(&to, false)
            .await
            .map_err(agents::failed)?;
        // Dynamic networks get their addresses from the cloud: the agent tells which.
        let mut stored = self.spec_of_new_vm().await?;
        for (name, settings) in state.networks() {
            stored.networks.insert(name.into(), settings);
        }
        Ok(instances::set_spec(self.work.db(), self.row.id, &json_of(&stored)?).await?)
    }

    async fn prepare(&self, packages_only: bool) -> Result<(), Error> {
        let (vm, to) = self.work.agent(&self.row).await?;
        let spec = if packages_only {
            self.plan.spec.packages_spec()
        } else {
            self.plan.spec.apply_spec()
        };
        let spec = blobs::sign(self.work, typed(spec)?, self.plan.stemcell_api_version).await?;
        self.deliver_templates(&vm, &to).await?;
        self.work
            .agents()
            .prepare(&to, &spec)
            .await
            .map_err(agents::failed)
    }

    async fn apply(&self) -> Result<(), Error> {
        let (vm, to) = self.work.agent(&self.row).await?;
        let spec = blobs::sign(
            self.work,
            typed(self.plan.spec.apply_spec())?,
            self.plan.stemcell_api_version,
        )
        .await?;
        self.deliver_templates(&vm, &to).await?;
        self.work
            .agents()
            .apply(&to, &spec)
            .await
            .map_err(agents::failed)
    }

    /// Agents without blobstore credentials get the rendered templates over the message bus.
    async fn deliver_templates(&self, _vm: &Vm, to: &Target) -> Result<(), Error> {
        match &self.plan.spec.rendered_templates_archive {
            Some(archive) if blobs::signs(self.work, self.plan.stemcell_api_version) => {
                blobs::hand_over(self.work, to, archive.blobstore_id.as_str(), &archive.sha1).await
            }
            _ => Ok(()),
        }
    }

    /// What `drain` is told of the time after: nothing when the instance goes.
    fn drain_spec(&self) -> Result<ApplySpec, Error> {
        match self.plan.action {
            Action::Delete => Ok(ApplySpec::default()),
            _ => typed(self.plan.spec.apply_spec()),
        }
    }

    async fn delete_vm(&self, all: bool) -> Result<(), Error> {
        for row in vms::list_of_instance(self.work.db(), self.row.id).await? {
            if all || row.active || row.state != "created" {
                vm::delete(self.work, &self.row, &row).await?;
            }
        }
        Ok(())
    }

    async fn release_addresses(&self) -> Result<(), Error> {
        let gone: Vec<IpAddr> = self
            .plan
            .released
            .iter()
            .map(|(_, address)| *address)
            .collect();
        for address in gone {
            addresses::release(self.work.db(), self.row.id, &address.to_string()).await?;
        }
        Ok(())
    }

    async fn end_update(&self, completed: bool) -> Result<(), Error> {
        let stored = instances::find_by_uuid(self.work.db(), &self.row.uuid)
            .await?
            .and_then(|row| row.spec);
        let stored = stored.and_then(|spec| serde_json::from_value::<InstanceSpec>(spec).ok());
        let spec = self.plan.settled_spec(stored);
        let spec = json_of(&spec)?;
        let state = self.plan.state.as_str();
        if completed {
            return Ok(
                instances::complete_update(self.work.db(), self.row.id, state, &spec).await?,
            );
        }
        instances::set_spec(self.work.db(), self.row.id, &spec).await?;
        Ok(instances::set_state(self.work.db(), self.row.id, state).await?)
    }

    async fn delete_instance(&self) -> Result<(), Error> {
        if self.work.force {
            for disk in disks::list_of_instance(self.work.db(), self.row.id).await? {
                disks::orphan(self.work.db(), disk.id).await?;
            }
        }
        if instances::delete(self.work.db(), self.row.id).await?
            || instances::find_by_uuid(self.work.db(), &self.row.uuid)
                .await?
                .is_none()
        {
            return Ok(());
        }
        Err(Error::unclassified(format!(
            "'{}' still has a VM or a disk and is not deleted",
            self.row.name()
        ))
        .hint("Deploy or delete again; with --force what can't be deleted becomes an orphan."))
    }
}

/// The agent's `update_settings`: trusted certificates, names of disks; blobstore and bus when they changed since
/// the VM was made.
pub async fn push_settings(work: &Work, row: &Instance) -> Result<(), Error> {
    let (vm, to) = work.agent(row).await?;
    let held = disks::list_of_instance(work.db(), row.id).await?;
    let named = held
        .into_iter()
        .filter(|disk| disk.active && !disk.name.is_empty());
    let now = snapshot::fingerprints(work);
    let before: Option<Fingerprints> = serde_json::from_value(vm.fingerprints.clone()).ok();
    let before = before
        .filter(|before| *before != Fingerprints::default())
        .unwrap_or_else(|| now.clone());
    let settings = UpdateSettings {
        trusted_certs: work.ctx.services.settings.trusted_certs.clone(),
        disk_associations: named
            .map(|disk| DiskAssociation {
                name: disk.name,
                cid: disk.cid.unwrap_or_default(),
            })
            .collect(),
        blobstores: (before.blobstore_config != now.blobstore_config).then(|| {
            let version = vm
                .stemcell_api_version
                .and_then(|version| u32::try_from(version).ok())
                .unwrap_or(1);
            blobs::agent_blobstores(work, version)
                .and_then(|list| serde_json::from_value(list).ok())
                .unwrap_or_default()
        }),
        mbus: None,
    };
    work.agents()
        .update_settings(&to, &settings)
        .await
        .map_err(agents::failed)?;
    let now = serde_json::to_value(&now).unwrap_or(Json::Null);
    Ok(vms::set_fingerprints(work.db(), vm.id, &now).await?)
}

fn drain_type(kind: DrainKind) -> DrainType {
    match kind {
        DrainKind::Update => DrainType::Update,
        DrainKind::Shutdown => DrainType::Shutdown,
    }
}

fn typed(spec: Json) -> Result<ApplySpec, Error> {
    serde_json::from_value(spec).map_err(|error| {
        Error::unclassified("The spec of an instance can't be read.").caused_by(error)
    })
}

fn json_of(spec: &InstanceSpec) -> Result<Json, Error> {
    serde_json::to_value(spec).map_err(|error| {
        Error::unclassified("The spec of an instance can't be stored.").caused_by(error)
    })
}
