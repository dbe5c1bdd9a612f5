//! Task types `orphan_disk` and `delete_orphan_disks`.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::cloud;
use crate::deploy::bounded::at_most;
use crate::deploy::prepare::snapshot::MAX_THREADS;
use crate::deploy::work::Work;
use crate::deploy::{disk, find_owner, lock_of};
use crate::error::Error;
use crate::events::Auditable;
use crate::store::orphans::OrphanDiskRow;
use crate::store::{disks, snapshots};
use crate::tasks::{Context, Handler};

#[derive(Deserialize)]
struct OneDisk {
    cid: String,
}

/// Handler of `orphan_disk`: the instance does without its disk, the data stays.
pub struct OrphanDisk;

#[async_trait]
impl Handler for OrphanDisk {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let OneDisk { cid } = ctx.args()?;
        let stage = ctx.events.stage("Orphan disk", &[], 1);
        stage.run(cid.clone(), orphan(ctx, &cid)).await?;
        Ok(format!("disk {cid} orphaned"))
    }
}

async fn orphan(ctx: &Context, cid: &str) -> Result<(), Error> {
    let db = ctx.services.store.pool();
    let owner = match disks::find_by_cid(db, cid).await? {
        Some(disk) => find_owner(ctx, disk.instance_id).await?,
        None => None,
    };
    let Some((instance, deployment)) = owner else {
        ctx.events
            .warning(&format!("Disk {cid} does not exist. Orphaning is skipped"));
        return Ok(());
    };
    // Stricter than the original: a deploy under way counts on the disk.
    let guard = lock_of(ctx, &deployment.name).await?;
    let work = Work::new(ctx, deployment, Map::new());
    disk::orphan(&work, &instance, &planner::DiskRef::Cid(cid.into())).await?;
    guard.release().await
}

#[derive(Deserialize)]
struct ManyDisks {
    cids: Vec<String>,
}

/// Handler of `delete_orphan_disks`. A disk that nobody knows counts as deleted.
pub struct DeleteOrphans;

#[async_trait]
impl Handler for DeleteOrphans {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let ManyDisks { cids } = ctx.args()?;
        let stage = ctx
            .events
            .stage("Deleting orphaned disks", &[], cids.len() as u64);
        at_most(MAX_THREADS as usize, &cids, |cid| {
            stage.run(format!("Deleting orphaned disk {cid}"), async move {
                match ctx.services.store.find_orphan_disk(cid).await? {
                    Some(orphan) => delete_orphan(ctx, &orphan).await,
                    None => {
                        ctx.debug(format!("Disk not found: {cid}"));
                        Ok(())
                    }
                }
            })
        })
        .await?;
        Ok(format!("orphaned disk(s) {} deleted", cids.join(", ")))
    }
}

/// Deletes an orphaned disk with its snapshots, snapshots first. What the CPI does not know counts as deleted.
///
/// # Errors
/// Those of the CPI; the row stays, and with it what could not be deleted.
pub async fn delete_orphan(ctx: &Context, orphan: &OrphanDiskRow) -> Result<(), Error> {
    delete_snapshots(ctx, orphan).await?;
    let object = Auditable {
        object_type: "disk",
        object_name: Some(orphan.cid.clone()),
        instance: Some(orphan.instance_name.clone()),
    };
    let deletion = async {
        let cpi = ctx.services.cpis.for_task(ctx).get(&orphan.cpi)?;
        match cpi.delete_disk(&orphan.cid.as_str().into()).await {
            Err(error) if !error.is_disk_not_found() => return Err(cloud::failed(error)),
            _ => {}
        }
        Ok(ctx.services.store.delete_orphan_disk(orphan.id).await?)
    };
    ctx.audit()
        .of_deployment(&orphan.deployment_name)
        .around("delete", object, json!({}), deletion)
        .await
}

/// Tries all of them; how many failed is the error.
async fn delete_snapshots(ctx: &Context, orphan: &OrphanDiskRow) -> Result<(), Error> {
    let db = ctx.services.store.pool();
    let cpi = ctx.services.cpis.for_task(ctx).get(&orphan.cpi)?;
    let mut failed = 0;
    for cid in snapshots::of_orphan(db, orphan.id).await? {
        match cpi.delete_snapshot(&cid.as_str().into()).await {
            Err(error) if !error.is_disk_not_found() => {
                failed += 1;
                ctx.debug(format!(
                    "Failed to delete snapshot {cid} of disk {}: {error}",
                    orphan.cid
                ));
            }
            _ => snapshots::delete_orphan(db, &cid).await?,
        }
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Error::unclassified(format!(
        "Failed to delete {failed} snapshot(s) of disk {}",
        orphan.cid
    ))
    .hint("The task's debug output says why; the disk stays an orphan, delete it again."))
}
