//! The persistent disk: made once, attached to every new VM, moved to another disk when the manifest wants another
//! (spec cli §17.3).

use super::agent::{Agent, READY};
use super::cloud::Cloud;
use super::deployment::{Deployment, DiskPool};
use super::instance::now;
use super::read::sorted;
use super::stage::Stage;
use super::state::{DiskRecord, State};
use crate::error::{Result, Within};
use serde_json::{Map, Value};

/// The VM that disks are attached to.
pub struct Attacher<'a> {
    pub cloud: &'a Cloud,
    pub agent: &'a Agent,
    pub vm: &'a str,
    /// The VM's metadata, which its disks get most of.
    pub metadata: &'a Map<String, Value>,
}

impl Attacher<'_> {
    async fn attach(&self, disk: &DiskRecord, stage: &mut Stage) -> Result<()> {
        let step = format!("Attaching disk '{}' to VM '{}'", disk.cid, self.vm);
        let attach = async {
            let hint = self.cloud.attach_disk(self.vm, &disk.cid).await?;
            let metadata = self.disk_metadata();
            self.cloud.set_disk_metadata(&disk.cid, metadata).await?;
            self.agent
                .wait_until_ready(READY)
                .await
                .within(|| "Waiting for agent to be accessible after attaching disk")?;
            if let Some(hint) = hint {
                let added = self.agent.add_persistent_disk(&disk.cid, &hint).await;
                added.within(|| "Adding persistent disk")?;
            }
            let mounted = self.agent.mount_disk(&disk.cid).await;
            mounted.within(|| "Mounting disk")
        };
        stage.step(step, attach).await
    }

    async fn detach(&self, disk: &DiskRecord, stage: &mut Stage) -> Result<()> {
        let detach = async {
            let removed = self.agent.remove_persistent_disk(&disk.cid).await;
            removed.within(|| "Removing persistent disk")?;
            self.cloud.detach_disk(self.vm, &disk.cid).await?;
            self.agent
                .wait_until_ready(READY)
                .await
                .within(|| "Waiting for agent to be accessible after detaching disk")
        };
        stage
            .step(format!("Detaching disk '{}'", disk.cid), detach)
            .await
    }

    async fn create(
        &self,
        pool: &DiskPool,
        state: &mut State,
        stage: &mut Stage,
    ) -> Result<DiskRecord> {
        let create = self
            .cloud
            .create_disk(pool.size, &pool.cloud_properties, self.vm, state);
        stage.step("Creating disk", create).await
    }

    fn disk_metadata(&self) -> Map<String, Value> {
        let mut metadata = self.metadata.clone();
        let index = metadata.get("index").cloned().unwrap_or_default();
        for key in ["job", "name", "index", "created_at"] {
            metadata.remove(key);
        }
        metadata.insert("instance_index".into(), index);
        metadata.insert("attached_at".into(), now().into());
        metadata
    }
}

/// Gives the VM the disk that the manifest wants.
pub async fn update(
    vm: &Attacher<'_>,
    deployment: &Deployment,
    recreate: bool,
    state: &mut State,
    stage: &mut Stage,
) -> Result<()> {
    let Some(pool) = deployment.disk()? else {
        // compat: a disk that is no longer wanted stays in the state, for delete-env.
        return Ok(());
    };
    deploy(vm, &pool, recreate, state, stage)
        .await
        .within(|| "Deploying disk")
        .within(|| "Updating disks")
}

async fn deploy(
    vm: &Attacher<'_>,
    pool: &DiskPool,
    recreate: bool,
    state: &mut State,
    stage: &mut Stage,
) -> Result<()> {
    match state.current_disk().cloned() {
        None => {
            let disk = vm.create(pool, state, stage).await?;
            vm.attach(&disk, stage).await?;
            state.use_disk(&disk)?;
        }
        Some(old) => {
            vm.attach(&old, stage).await?;
            if recreate || differs(&old, pool) {
                migrate(vm, &old, pool, state, stage).await?;
            }
        }
    }
    delete_unused(vm.cloud, state, stage).await
}

fn differs(disk: &DiskRecord, pool: &DiskPool) -> bool {
    let properties = |map: &Map<String, Value>| sorted(Value::Object(map.clone())).to_string();
    disk.size != pool.size
        || properties(&disk.cloud_properties) != properties(&pool.cloud_properties)
}

async fn migrate(
    vm: &Attacher<'_>,
    old: &DiskRecord,
    pool: &DiskPool,
    state: &mut State,
    stage: &mut Stage,
) -> Result<()> {
    let new = vm.create(pool, state, stage).await?;
    vm.attach(&new, stage).await?;
    let step = format!("Migrating disk content from '{}' to '{}'", old.cid, new.cid);
    stage.step(step, vm.agent.migrate_disk()).await?;
    state.use_disk(&new)?;
    vm.detach(old, stage).await?;
    let step = format!("Deleting disk '{}'", old.cid);
    let delete = vm.cloud.delete_disk(old, state);
    stage.step(step, delete).await.map(drop)
}

/// Deletes the disks of the state file that are not the current one.
pub async fn delete_unused(cloud: &Cloud, state: &mut State, stage: &mut Stage) -> Result<()> {
    for disk in state.unused_disks() {
        let step = format!("Deleting unused disk '{}'", disk.cid);
        let delete = async {
            let deleted = cloud.delete_disk(&disk, state).await?;
            Ok(deleted.outcome("Disk Not Found"))
        };
        stage.step_or_skip(step, delete).await?;
    }
    Ok(())
}

/// Deletes the current disk.
pub async fn delete_current(cloud: &Cloud, state: &mut State, stage: &mut Stage) -> Result<()> {
    let Some(disk) = state.current_disk().cloned() else {
        return Ok(());
    };
    let step = format!("Deleting disk '{}'", disk.cid);
    let delete = async {
        let deleted = cloud.delete_disk(&disk, state).await?;
        Ok(deleted.outcome("Disk not found"))
    };
    stage.step_or_skip(step, delete).await
}
