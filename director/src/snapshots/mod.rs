//! Snapshots of persistent disks: taken by people, by the schedule and after each stop of an instance, if the
//! settings switch them on (docs/spec/director-api.md §18, operations.md §7).
//!
//! [`take`] is a step of deploys; the tasks here are what the API and the schedule queue.

mod tasks;

pub use tasks::{
    CreateSnapshot, DeleteDeploymentSnapshots, DeleteSnapshot, SnapshotDeployment,
    SnapshotDeployments,
};

use domain::DiskCid;

use crate::cloud;
use crate::deploy::work::Work;
use crate::error::{Error, code};
use crate::services::Services;
use crate::store::deployments::Deployment;
use crate::store::instances::Instance;
use crate::store::snapshots::{self as rows, Snapshot};
use crate::store::{disks, vms};

/// Takes one of each disk of an instance; their CIDs. Nothing when snapshots are off, or not what the CPI can.
/// `clean`: the jobs are stopped.
pub async fn take(work: &Work, instance: &Instance, clean: bool) -> Result<Vec<String>, Error> {
    if !work.ctx.services.settings.enable_snapshots {
        work.ctx.debug("Snapshots are disabled; skipping");
        return Ok(Vec::new());
    }
    let agent = vms::find_active(work.db(), instance.id)
        .await?
        .map(|vm| vm.agent_id);
    let metadata = work.snapshot_metadata(instance, agent.as_deref());
    let mut taken = Vec::new();
    for disk in disks::list_of_instance(work.db(), instance.id).await? {
        let Some(cid) = disk.cid else { continue };
        let call = cpi::SnapshotDisk {
            disk_cid: DiskCid::new(cid),
            metadata: metadata.clone(),
        };
        match work.cpis.get(&disk.cpi)?.snapshot_disk(call).await {
            Ok(cid) => {
                rows::insert(work.db(), disk.id, cid.as_str(), clean).await?;
                taken.push(cid.into_string());
            }
            Err(error) if error.is_not_implemented() => {
                work.ctx
                    .debug("CPI does not support disk snapshots; skipping");
                return Ok(Vec::new());
            }
            Err(error) => return Err(cloud::failed(error)),
        }
    }
    Ok(taken)
}

/// What `GET …/snapshots` shows, narrowed to a group and an index or uuid.
pub async fn list(
    services: &Services,
    deployment: &Deployment,
    group: Option<&str>,
    instance: Option<&str>,
) -> Result<Vec<Snapshot>, Error> {
    let all = rows::of_deployment(services.store.pool(), deployment.id).await?;
    let meant = |row: &Snapshot| {
        group.is_none_or(|group| row.group_name == group)
            && instance.is_none_or(|id| row.uuid == id || row.index.to_string() == id)
    };
    Ok(all.into_iter().filter(|row| meant(row)).collect())
}

/// The snapshot, if it is one of this deployment.
///
/// # Errors
/// 70008.
pub async fn find(
    services: &Services,
    deployment: &Deployment,
    cid: &str,
) -> Result<Snapshot, Error> {
    let missing = |text: String| {
        Error::new(code::SNAPSHOT_NOT_FOUND, text).hint("`bosh snapshots` shows what is there.")
    };
    match rows::find(services.store.pool(), cid).await? {
        Some(found) if found.deployment_id == deployment.id => Ok(found),
        Some(_) => Err(missing(format!(
            "snapshot {cid} not found in deployment {}",
            deployment.name
        ))),
        None => Err(missing(format!("snapshot {cid} not found"))),
    }
}
