//! Task type → handler. One line per type (director-api.md §3.6).

use async_trait::async_trait;

use super::Context;
use crate::error::Error;
use crate::{
    cleanup, deploy, disks, errands, instances, logs, releases, snapshots, ssh, stemcells, vms,
};

/// Does the work of one type of task.
///
/// `run` may be called again for the same task after its worker died: finished steps return their recorded
/// output, everything outside of steps must be safe to repeat.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Returns the task's result line.
    async fn run(&self, context: &Context) -> Result<String, Error>;
}

/// The handler of a task type; `None` for types of another version of the director.
pub fn handler(kind: &str) -> Option<Box<dyn Handler>> {
    Some(match kind {
        "update_release" => Box::new(releases::Upload),
        "delete_release" => Box::new(releases::Delete),
        "update_stemcell" => Box::new(stemcells::Upload),
        "delete_stemcell" => Box::new(stemcells::Delete),
        "update_deployment" => Box::new(deploy::UpdateDeployment),
        "delete_deployment" => Box::new(deploy::DeleteDeployment),
        "update_instance" => Box::new(deploy::UpdateInstance),
        "vms" => Box::new(instances::ListFull),
        "ssh" => Box::new(ssh::Ssh),
        "fetch_logs" => Box::new(logs::FetchLogs),
        "run_errand" => Box::new(errands::RunErrand),
        "export_release" => Box::new(releases::Export),
        "create_snapshot" => Box::new(snapshots::CreateSnapshot),
        "snapshot_deployment" => Box::new(snapshots::SnapshotDeployment),
        "snapshot_deployments" => Box::new(snapshots::SnapshotDeployments),
        "delete_snapshot" => Box::new(snapshots::DeleteSnapshot),
        "delete_deployment_snapshots" => Box::new(snapshots::DeleteDeploymentSnapshots),
        "attach_disk" => Box::new(disks::AttachDisk),
        "orphan_disk" => Box::new(disks::OrphanDisk),
        "delete_orphan_disks" => Box::new(disks::DeleteOrphans),
        "delete_vm" => Box::new(vms::DeleteVm),
        "delete_artifacts" => Box::new(cleanup::DeleteArtifacts),
        "scheduled_orphaned_disk_cleanup" => Box::new(cleanup::OldDisks),
        "scheduled_orphaned_vm_cleanup" => Box::new(cleanup::OrphanedVms),
        "scheduled_dns_blobs_cleanup" => Box::new(cleanup::DnsBlobs),
        _ => return None,
    })
}
