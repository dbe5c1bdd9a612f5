//! Task type `attach_disk`: another disk becomes the persistent disk of a stopped instance.

use async_trait::async_trait;
use journal::StepKind;
use planner::DiskRef;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::deploy::work::Work;
use crate::deploy::{disk, find_deployment, lock};
use crate::error::{Error, code};
use crate::store::disks::{self, Disk, NewDisk};
use crate::store::instances::{self, Instance};
use crate::store::vms;
use crate::tasks::{Context, Handler};

/// Arguments of the task; the deployment is the task's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttachArgs {
    pub group: String,
    /// The uuid.
    pub instance: String,
    pub cid: String,
    /// Size and cloud properties of the disk before are those of an unknown one, too.
    pub copy: bool,
}

/// Handler of `attach_disk`.
pub struct AttachDisk;

#[async_trait]
impl Handler for AttachDisk {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: AttachArgs = ctx.args()?;
        let guard = lock(ctx).await?;
        let deployment = find_deployment(ctx).await?;
        let name = deployment.name.clone();
        let work = Work::tagged(ctx, deployment);
        let attaching = Attaching {
            row: find(&work, &args).await?,
            work,
            args,
        };
        attaching.run().await?;
        guard.release().await?;
        let AttachArgs {
            cid,
            group,
            instance,
            ..
        } = &attaching.args;
        Ok(format!(
            "attached disk '{cid}' to '{group}/{instance}' in deployment '{name}'"
        ))
    }
}

/// The instance, if it may be given a disk.
async fn find(work: &Work, args: &AttachArgs) -> Result<Instance, Error> {
    let name = format!(
        "Instance '{}/{}' in deployment '{}'",
        args.group, args.instance, work.deployment.name
    );
    let row = instances::find_by_uuid(work.db(), &args.instance)
        .await?
        .filter(|row| row.group_name == args.group && row.deployment_id == work.deployment.id)
        .ok_or_else(|| {
            Error::new(
                code::ATTACH_DISK_UNKNOWN_INSTANCE,
                format!("{name} was not found"),
            )
            .hint("`bosh instances` shows the uuids.")
        })?;
    let refused = |why: &str| Error::new(code::ATTACH_DISK_INSTANCE_STATE, format!("{name} {why}"));
    if row.ignore {
        return Err(refused(
            "is in 'ignore' state. Attaching disks to ignored instances is not allowed.",
        ));
    }
    if row.state != "stopped" && row.state != "detached" {
        return Err(refused("must be in 'bosh stopped' state"));
    }
    let holder = match disks::find_by_cid(work.db(), &args.cid).await? {
        Some(disk) if disk.instance_id != row.id => {
            instances::find(work.db(), disk.instance_id).await?
        }
        _ => None,
    };
    match holder {
        None => Ok(row),
        Some(other) => Err(Error::unclassified(format!(
            "Disk '{}' is the disk of instance '{}'",
            args.cid,
            other.slug()
        ))
        .hint("Orphan it first: `bosh orphan-disk`.")),
    }
}

struct Attaching {
    work: Work,
    row: Instance,
    args: AttachArgs,
}

impl Attaching {
    /// With a VM: the old disk leaves it, the new one enters. Without: only the record changes.
    async fn run(&self) -> Result<(), Error> {
        let (work, row, cid) = (&self.work, &self.row, &self.args.cid);
        let before = disks::list_of_instance(work.db(), row.id)
            .await?
            .into_iter()
            .find(|disk| disk.active && disk.name.is_empty() && disk.cid.as_ref() != Some(cid));
        let vm = match row.state.as_str() {
            "stopped" => work.find_agent(row).await?,
            _ => None,
        };
        let before_cid = before.as_ref().and_then(|disk| disk.cid.clone());
        if let (Some((vm, to)), Some(old)) = (&vm, &before_cid) {
            let old = DiskRef::Cid(old.as_str().into());
            let detaching = || async {
                disk::unmount(work, to, &old).await?;
                disk::detach(work, vm, to, &old).await
            };
            work.ctx
                .step("detach_old", StepKind::DetachDisk, |_| detaching())
                .await?;
        }
        let was_orphan = work
            .ctx
            .step("take_over", StepKind::OrphanDisk, |_| {
                self.take_over(before.as_ref())
            })
            .await?;
        let Some((vm, to)) = &vm else { return Ok(()) };
        let new = DiskRef::Cid(cid.as_str().into());
        let attached = async {
            work.ctx
                .step("attach", StepKind::AttachDisk, |attempt| {
                    disk::attach(work, row, vm, to, &new, attempt.number > 1)
                })
                .await?;
            work.ctx
                .step("mount", StepKind::MountDisk, |_| {
                    disk::mount(work, vm, to, &new)
                })
                .await
        }
        .await;
        match attached {
            Err(error) if !error.is_interrupted() => {
                self.give_back(was_orphan, before_cid.as_deref()).await?;
                Err(error)
            }
            ended => ended,
        }
    }

    /// The records: whether the new disk was an orphan.
    async fn take_over(&self, before: Option<&Disk>) -> Result<bool, Error> {
        let (work, row, cid) = (&self.work, &self.row, &self.args.cid);
        if let Some(known) = disks::find_by_cid(work.db(), cid).await?
            && known.active
        {
            return Ok(false);
        }
        let copied = before.filter(|_| self.args.copy);
        let nothing = json!({});
        let cpi = match vms::find_active(work.db(), row.id).await? {
            Some(vm) => vm.cpi,
            None => before.map(|disk| disk.cpi.clone()).unwrap_or_default(),
        };
        let unknown = NewDisk {
            instance_id: row.id,
            key: uuid::Uuid::new_v4(),
            size: copied.map_or(1, |disk| disk.size),
            name: "",
            cloud_properties: copied.map_or(&nothing, |disk| &disk.cloud_properties),
            cpi: &cpi,
            task_id: work.task_id(),
        };
        if let Some(old) = before.and_then(|disk| disk.cid.as_deref()) {
            work.record("orphan", "disk", Some(old), row, None).await;
        }
        Ok(disks::take_over(work.db(), cid, &unknown).await?)
    }

    /// The new disk could not be attached: the records are as before, so that a start finds the old disk.
    async fn give_back(&self, was_orphan: bool, before: Option<&str>) -> Result<(), Error> {
        let (work, row) = (&self.work, &self.row);
        if let Some(new) = disks::find_by_cid(work.db(), &self.args.cid).await? {
            if was_orphan {
                disks::orphan(work.db(), new.id).await?;
            } else {
                disks::delete(work.db(), new.id).await?;
            }
        }
        if let Some(before) = before {
            let unknown = NewDisk {
                instance_id: row.id,
                key: uuid::Uuid::new_v4(),
                size: 1,
                name: "",
                cloud_properties: &Json::Object(Default::default()),
                cpi: "",
                task_id: work.task_id(),
            };
            disks::take_over(work.db(), before, &unknown).await?;
        }
        Ok(())
    }
}
