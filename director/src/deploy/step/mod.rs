//! Carrying out the steps of one instance: one journal entry each, in the plan's order.
//!
//! Every step may find that an earlier worker did it, half or wholly: what it acts on is read from the rows,
//! never from memory, and what is already so is left alone.

mod agent;
mod new_vm;
mod record;

pub use agent::push_settings;

use agent_protocol::{ApplySpec, DrainType, Target};
use planner::{DrainKind, InstancePlan, InstanceSpec, Phase, Step};
use serde_json::Value as Json;

use super::work::Work;
use super::{disk, jobs, watch};
use crate::agents;
use crate::error::Error;
use crate::events::StageTask;
use crate::store::disks;
use crate::store::instances::{self, Instance};
use crate::tasks::Attempt;

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
            Step::Snapshot => crate::snapshots::take(work, row, true).await.map(drop),
            // `snapshot::director` switches swaps off, so no plan of ours has these.
            Step::ActivateVm | Step::OrphanVm => Err(Error::unclassified(format!(
                "This director can't do the step '{}' of the plan for '{}'.",
                step.kind(),
                row.name()
            ))
            .hint("The plan was made by another version of the director: deploy again.")),
            Step::UnmountDisk { disk } => {
                self.with_agent(|to| async move { disk::unmount(work, &to, disk).await })
                    .await
            }
            Step::DetachDisk { disk } => match work.find_agent(row).await? {
                Some((vm, to)) => disk::detach(work, &vm, &to, disk).await,
                None => Ok(()),
            },
            Step::DeleteVm { all } => self.delete_vm(*all).await,
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
            Step::PreStart => jobs::told_script(work, row, "pre-start").await,
            Step::Start => {
                self.with_agent(|to| async move {
                    work.agents().start(&to).await.map_err(agents::failed)
                })
                .await
            }
            Step::WatchRunning { watch } => {
                watch::until_running(work, row, watch.min, watch.max).await
            }
            Step::PostStart => jobs::told_script(work, row, "post-start").await,
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
