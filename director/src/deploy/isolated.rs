//! Task type `update_instance`: stop, start, restart or recreate one instance from its stored spec, touching
//! nothing else (manifests-and-planning §5.9, director-api §12.2).

use agent_protocol::{ApplySpec, DrainType};
use async_trait::async_trait;
use journal::StepKind;
use manifest::documents::WatchTime;
use planner::{DiskRef, InstanceSpec, NextStates};
use serde_json::{Map, Value as Json};

use super::work::Work;
use super::{args, blobs, disk, find_deployment, jobs, lock, prepare, vm, watch};
use crate::error::{Error, code};
use crate::instances::select;
use crate::store::instances::{self, Instance};
use crate::store::{binding, disks};
use crate::tasks::{Context, Handler};
use crate::{agents, cloud};

pub struct UpdateInstance;

#[async_trait]
impl Handler for UpdateInstance {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: args::UpdateInstance = ctx.args()?;
        let guard = lock(ctx).await?;
        let deployment = find_deployment(ctx).await?;
        let store = &ctx.services.store;
        let row = select::one(
            store,
            &deployment.name,
            deployment.id,
            &args.group,
            &args.instance,
        )
        .await?;
        allowed(&row, &args.action)?;
        let isolated = Isolated {
            work: Work::tagged(ctx, deployment),
            row,
            args,
        };
        isolated.run().await?;
        guard.release().await?;
        Ok(isolated.row.slug())
    }
}

fn allowed(row: &Instance, action: &str) -> Result<(), Error> {
    if row.lifecycle == "errand" {
        return Err(Error::new(
            code::JOB_INVALID_LIFECYCLE,
            format!(
                "Isolated {action} can not be run on instances of type errand. Try the bosh run-errand command."
            ),
        ));
    }
    if row.ignore {
        return Err(Error::new(
            code::INSTANCE_GROUP_IGNORED,
            format!(
                "You are trying to change the state of the ignored instance '{}'.This operation is not allowed. You need to unignore it first.",
                row.slug()
            ),
        ));
    }
    Ok(())
}

struct Isolated {
    work: Work,
    row: Instance,
    args: args::UpdateInstance,
}

impl Isolated {
    async fn run(&self) -> Result<(), Error> {
        let stage = self.work.ctx.events.stage(
            &format!("Updating instance {}", self.row.name()),
            &[],
            None,
        );
        let recreate = self.args.action == "recreate";
        let hard = recreate || (self.args.action == "stop" && self.args.hard);
        let may_be_silent = recreate && self.args.ignore_unresponsive_agent;
        if self.args.action != "start" {
            let stopping = async {
                let silent = may_be_silent && self.is_silent().await?;
                self.stop(hard, silent).await?;
                Ok(silent)
            };
            let silent = stage.run("Stopping instance", stopping).await?;
            if hard {
                stage.run("Deleting VM", self.delete_vm(silent)).await?;
            }
            if self.args.action == "stop" {
                let state = if hard { "detached" } else { "stopped" };
                return Ok(instances::set_state(self.work.db(), self.row.id, state).await?);
            }
        }
        let spec = self.spec()?;
        if self.work.find_agent(&self.row).await?.is_none() {
            stage.run("Creating VM", self.create_vm(&spec)).await?;
        }
        stage.run("Starting instance", self.start(&spec)).await
    }

    fn spec(&self) -> Result<InstanceSpec, Error> {
        let stored = self
            .row
            .spec
            .clone()
            .and_then(|spec| serde_json::from_value(spec).ok());
        stored.ok_or_else(|| {
            Error::unclassified(format!(
                "'{}' was never deployed: there is nothing to start.",
                self.row.name()
            ))
            .hint("Deploy first.")
        })
    }

    async fn step<F>(
        &self,
        name: &str,
        kind: StepKind,
        run: impl FnOnce() -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        self.work
            .ctx
            .step(&format!("{}/{name}", self.row.uuid), kind, |_| run())
            .await
    }

    /// A step that the agent takes, if it is not silent: then it counts as taken, so that it is not made up for on the
    /// VM that comes after.
    async fn step_of_agent<F>(
        &self,
        silent: bool,
        name: &str,
        kind: StepKind,
        run: impl FnOnce() -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let run = || async {
            match silent {
                true => Ok(()),
                false => run().await,
            }
        };
        self.step(name, kind, run).await
    }

    /// Whether there is an agent that doesn't answer.
    async fn is_silent(&self) -> Result<bool, Error> {
        let Some((_, to)) = self.work.find_agent(&self.row).await? else {
            return Ok(false);
        };
        let answer = self.work.agents().get_state(&to, false);
        match self.work.ctx.until_cancelled(answer).await? {
            Ok(_) => Ok(false),
            Err(error) if error.is_timeout() => Ok(true),
            Err(error) => Err(agents::failed(error)),
        }
    }

    async fn stop(&self, hard: bool, silent: bool) -> Result<(), Error> {
        let Some((_, to)) = self.work.find_agent(&self.row).await? else {
            return Ok(());
        };
        let (work, to) = (&self.work, &to);
        let next = NextStates {
            vm_deleted: hard,
            instance_deleted: false,
            deployment_deleted: false,
        };
        let spec = self.apply_spec(&self.spec()?).await?;
        if !self.args.skip_drain {
            self.step_of_agent(silent, "pre_stop", StepKind::PreStop, || {
                jobs::pre_stop(work, to, next)
            })
            .await?;
            self.step_of_agent(silent, "drain", StepKind::Drain, || {
                jobs::drain(work, to, DrainType::Shutdown, Some(&spec))
            })
            .await?;
        }
        self.step_of_agent(silent, "stop", StepKind::Stop, || async {
            work.agents().stop(to).await.map_err(agents::failed)
        })
        .await?;
        self.step_of_agent(silent, "post_stop", StepKind::PostStop, || {
            jobs::script(work, to, "post-stop")
        })
        .await?;
        self.step_of_agent(silent, "snapshot", StepKind::SnapshotDisk, || async {
            crate::snapshots::take(work, &self.row, true)
                .await
                .map(drop)
        })
        .await
    }

    async fn delete_vm(&self, silent: bool) -> Result<(), Error> {
        let work = &self.work;
        if let Some((old, to)) = work.find_agent(&self.row).await? {
            for disk in self.active_disks().await? {
                self.step_of_agent(
                    silent,
                    &format!("unmount/{disk:?}"),
                    StepKind::UnmountDisk,
                    || disk::unmount(work, &to, &disk),
                )
                .await?;
                self.step_of_agent(
                    silent,
                    &format!("detach/{disk:?}"),
                    StepKind::DetachDisk,
                    || disk::detach(work, &old, &to, &disk),
                )
                .await?;
            }
        }
        self.step("delete_vm", StepKind::DeleteVm, || async {
            for old in crate::store::vms::list_of_instance(work.db(), self.row.id).await? {
                vm::delete(work, &self.row, &old).await?;
            }
            Ok(())
        })
        .await
    }

    async fn active_disks(&self) -> Result<Vec<DiskRef>, Error> {
        let rows = disks::list_of_instance(self.work.db(), self.row.id).await?;
        let cids = rows
            .into_iter()
            .filter(|disk| disk.active)
            .filter_map(|disk| disk.cid);
        Ok(cids.map(|cid| DiskRef::Cid(cid.into())).collect())
    }

    async fn create_vm(&self, spec: &InstanceSpec) -> Result<(), Error> {
        let (work, row) = (&self.work, &self.row);
        let stemcells = binding::stemcells(work.db()).await?;
        let stemcell = stemcells
            .into_iter()
            .find(|known| {
                known.name == spec.stemcell.name.as_str() && known.version == spec.stemcell.version
            })
            .ok_or_else(|| {
                let (name, version) = (&spec.stemcell.name, &spec.stemcell.version);
                Error::new(
                    code::STEMCELL_NOT_FOUND,
                    format!("Stemcell '{name}/{version}' doesn't exist"),
                )
            })?;
        let held = disks::list_of_instance(work.db(), row.id).await?;
        let request = vm::VmRequest {
            group: row.group_name.clone(),
            cpi: stemcell.cpi.clone(),
            stemcell_name: stemcell.name.clone(),
            stemcell_version: stemcell.version.clone(),
            stemcell_cid: stemcell.cid.clone(),
            stemcell_api_version: stemcell
                .api_version
                .and_then(|v| u32::try_from(v).ok())
                .unwrap_or(1),
            cloud_properties: spec.cloud_properties.clone(),
            networks: spec
                .networks
                .iter()
                .map(|(name, net)| (name.to_string(), net.clone()))
                .collect(),
            disk_cids: held
                .into_iter()
                .filter(|disk| disk.active)
                .filter_map(|disk| disk.cid)
                .collect(),
            env: spec.env.clone(),
        };
        self.step("create_vm", StepKind::CreateVm, || async {
            vm::create(work, row, &request).await.map(drop)
        })
        .await?;
        let (made, to) = work.agent(row).await?;
        let cid = disk::vm_cid(&made);
        let ready = async {
            let metadata: Map<String, Json> = work.vm_metadata(row);
            match work
                .cpis
                .get(&made.cpi)?
                .set_vm_metadata(&cid, metadata)
                .await
            {
                Err(error) if !error.is_not_implemented() => return Err(cloud::failed(error)),
                _ => {}
            }
            let limit = work.ctx.services.settings.agent_wait_timeout();
            work.ctx
                .until_cancelled(work.agents().wait_until_ready(&to, &cid, limit))
                .await?
                .map_err(agents::failed)
        };
        if let Err(error) = self
            .step("wait_for_agent", StepKind::WaitForAgent, || ready)
            .await
        {
            if !error.is_interrupted() {
                let _ = vm::delete(work, row, &made).await;
            }
            return Err(error);
        }
        for disk in self.active_disks().await? {
            self.step(&format!("attach/{disk:?}"), StepKind::AttachDisk, || {
                disk::attach(work, row, &made, &to, &disk, false)
            })
            .await?;
            self.step(&format!("mount/{disk:?}"), StepKind::MountDisk, || {
                disk::mount(work, &made, &to, &disk)
            })
            .await?;
        }
        self.step("settings", StepKind::UpdateSettings, || {
            super::step::push_settings(work, row)
        })
        .await?;
        self.step("identity", StepKind::Apply, || async {
            let identity = typed(spec.identity_spec())?;
            work.agents()
                .apply(&to, &identity)
                .await
                .map_err(agents::failed)
        })
        .await
    }

    async fn apply_spec(&self, spec: &InstanceSpec) -> Result<ApplySpec, Error> {
        let version = crate::store::vms::find_active(self.work.db(), self.row.id).await?;
        let version = version
            .and_then(|vm| vm.stemcell_api_version)
            .and_then(|v| u32::try_from(v).ok())
            .unwrap_or(1);
        let spec = typed(spec.apply_spec())?;
        blobs::sign(&self.work, spec, version).await
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<(), Error> {
        let (work, row) = (&self.work, &self.row);
        let (made, to) = work.agent(row).await?;
        let to = &to;
        let apply = self.apply_spec(spec).await?;
        let version = made
            .stemcell_api_version
            .and_then(|v| u32::try_from(v).ok())
            .unwrap_or(1);
        self.step("apply", StepKind::Apply, || async {
            if let Some(archive) = &spec.rendered_templates_archive
                && blobs::signs(work, version)
            {
                blobs::hand_over(work, to, archive.blobstore_id.as_str(), &archive.sha1).await?;
            }
            work.agents()
                .apply(to, &apply)
                .await
                .map_err(agents::failed)
        })
        .await?;
        self.step("pre_start", StepKind::PreStart, || {
            jobs::told_script(work, row, "pre-start")
        })
        .await?;
        self.step("start", StepKind::Start, || async {
            work.agents().start(to).await.map_err(agents::failed)
        })
        .await?;
        let WatchTime { min, max } = self.watch_time().await?;
        self.step("watch", StepKind::WatchRunning, || {
            watch::until_running(work, row, min, max)
        })
        .await?;
        self.step("post_start", StepKind::PostStart, || {
            jobs::told_script(work, row, "post-start")
        })
        .await?;
        Ok(instances::set_state(work.db(), row.id, "started").await?)
    }

    /// The group's `update_watch_time` in the stored manifest.
    async fn watch_time(&self) -> Result<WatchTime, Error> {
        let nothing = args::UpdateDeployment::default();
        let loaded =
            prepare::documents::load(&self.work.ctx, &self.work.deployment, &nothing).await?;
        let groups = &loaded.documents.manifest.instance_groups;
        let group = groups
            .iter()
            .find(|group| group.name.as_str() == self.row.group_name);
        Ok(group.map_or(
            loaded.documents.manifest.update.update_watch_time,
            |group| group.update.update_watch_time,
        ))
    }
}

fn typed(spec: Json) -> Result<ApplySpec, Error> {
    serde_json::from_value(spec).map_err(|error| {
        Error::unclassified("The stored spec of an instance can't be read.").caused_by(error)
    })
}
