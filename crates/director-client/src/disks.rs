//! Orphaned disks, VMs and networks, snapshots, clean-up (spec director-api §17, §18, §19.3).

use crate::deployments::deployment_path;
use crate::http::Client;
use crate::request::Request;
use crate::{Error, Query, Reporter, Wrap, escape_segment};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

/// A disk that no instance uses any more.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct OrphanedDisk {
    pub disk_cid: String,
    /// MB.
    pub size: u64,
    pub az: Option<String>,
    pub deployment_name: String,
    pub instance_name: String,
    pub orphaned_at: String,
}

/// A VM that waits for its deletion.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct OrphanedVm {
    pub cid: String,
    pub az: Option<String>,
    pub deployment_name: String,
    pub instance_name: String,
    pub ip_addresses: Vec<String>,
    pub orphaned_at: String,
}

/// A network that no deployment uses any more.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct OrphanedNetwork {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub created_at: String,
    pub orphaned_at: String,
}

/// A snapshot of a persistent disk.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    pub job: Option<String>,
    pub index: Option<i64>,
    pub uuid: Option<String>,
    pub snapshot_cid: String,
    pub created_at: String,
    pub clean: bool,
}

/// What a clean-up would remove.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CleanupPlan {
    pub releases: Vec<CleanupRelease>,
    pub stemcells: Vec<crate::Stemcell>,
    pub compiled_packages: Vec<CleanupCompiledPackage>,
    pub orphaned_disks: Vec<OrphanedDisk>,
    pub orphaned_vms: Vec<OrphanedVm>,
    pub exported_releases: Vec<String>,
    pub dns_blobs: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CleanupRelease {
    pub name: String,
    pub versions: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CleanupCompiledPackage {
    pub package_name: String,
    pub stemcell_os: String,
    pub stemcell_version: String,
}

impl Client {
    /// Orphaned disks.
    pub async fn orphaned_disks(&self) -> Result<Vec<OrphanedDisk>, Error> {
        self.get_json("/disks")
            .await
            .wrap(|| "Finding orphaned disks")
    }

    /// Orphaned VMs.
    pub async fn orphaned_vms(&self) -> Result<Vec<OrphanedVm>, Error> {
        self.get_json("/orphaned_vms")
            .await
            .wrap(|| "Finding orphaned VMs")
    }

    /// Orphaned networks.
    pub async fn orphaned_networks(&self) -> Result<Vec<OrphanedNetwork>, Error> {
        self.get_json("/networks?orphaned=true")
            .await
            .wrap(|| "Finding orphaned networks")
    }

    /// Deletes an orphaned network. One that is not among the orphans afterwards counts as deleted.
    pub async fn delete_network(&self, name: &str, reporter: &dyn Reporter) -> Result<(), Error> {
        let path = format!("/networks/{}", escape_segment(name));
        let is_gone = async {
            let networks = self.orphaned_networks().await?;
            Ok(networks.iter().all(|network| network.name != name))
        };
        self.run_deletion(path, is_gone, reporter)
            .await
            .wrap(|| format!("Deleting orphaned network '{name}'"))
    }

    /// Deletes an orphaned disk. One that is not among the orphans afterwards counts as deleted.
    pub async fn delete_disk(&self, cid: &str, reporter: &dyn Reporter) -> Result<(), Error> {
        let path = format!("/disks/{}", escape_segment(cid));
        let is_gone = async {
            let disks = self.orphaned_disks().await?;
            Ok(disks.iter().all(|disk| disk.disk_cid != cid))
        };
        self.run_deletion(path, is_gone, reporter)
            .await
            .wrap(|| format!("Deleting disk '{cid}'"))
    }

    /// Takes a disk away from its instance and keeps it as an orphan.
    pub async fn orphan_disk(&self, cid: &str, reporter: &dyn Reporter) -> Result<(), Error> {
        let path = Query::new()
            .with("orphan", "true")
            .on(&format!("/disks/{}", escape_segment(cid)));
        self.run_task(Request::delete(path), reporter)
            .await
            .wrap(|| format!("Orphaning disk '{cid}'"))?;
        Ok(())
    }

    /// Gives a disk to a stopped instance. `properties` may be `copy`.
    pub async fn attach_disk(
        &self,
        deployment: &str,
        (group, id): (&str, &str),
        cid: &str,
        properties: Option<&str>,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let path = Query::new()
            .with("deployment", deployment)
            .with("job", group)
            .with("instance_id", id)
            .with_some("disk_properties", properties)
            .on(&format!("/disks/{}/attachments", escape_segment(cid)));
        self.run_task(Request::new(Method::PUT, path), reporter)
            .await?;
        Ok(())
    }

    /// Snapshots of a deployment.
    pub async fn snapshots(&self, deployment: &str) -> Result<Vec<Snapshot>, Error> {
        self.get_json(&format!("{}/snapshots", deployment_path(deployment)))
            .await
            .wrap(|| format!("Finding snapshots for deployment '{deployment}'"))
    }

    /// Takes snapshots of a deployment's disks, or of one instance's.
    pub async fn take_snapshot(
        &self,
        deployment: &str,
        instance: Option<(&str, &str)>,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let base = deployment_path(deployment);
        let path = match instance {
            Some((group, id)) => format!(
                "{base}/jobs/{}/{}/snapshots",
                escape_segment(group),
                escape_segment(id)
            ),
            None => format!("{base}/snapshots"),
        };
        self.run_task(Request::new(Method::POST, path), reporter)
            .await
            .wrap(|| format!("Taking snapshot of deployment '{deployment}'"))?;
        Ok(())
    }

    /// Deletes one snapshot, or all of a deployment. One that is gone anyway counts as deleted.
    pub async fn delete_snapshots(
        &self,
        deployment: &str,
        cid: Option<&str>,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let base = deployment_path(deployment);
        let path = match cid {
            Some(cid) => format!("{base}/snapshots/{}", escape_segment(cid)),
            None => format!("{base}/snapshots"),
        };
        let is_gone = async {
            let left = self.snapshots(deployment).await?;
            Ok(cid.is_some_and(|cid| left.iter().all(|snapshot| snapshot.snapshot_cid != cid)))
        };
        self.run_deletion(path, is_gone, reporter)
            .await
            .wrap(|| format!("Deleting snapshots of deployment '{deployment}'"))
    }

    /// Removes what nothing uses.
    pub async fn clean_up(
        &self,
        remove_all: bool,
        keep_orphaned_disks: bool,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let body = json!({"config": {
            "keep_orphaned_disks": keep_orphaned_disks,
            "remove_all": remove_all,
        }});
        self.run_task(Request::json(Method::POST, "/cleanup", &body), reporter)
            .await
            .wrap(|| "Cleaning up resources")?;
        Ok(())
    }

    /// What [`Client::clean_up`] would remove.
    pub async fn clean_up_plan(
        &self,
        remove_all: bool,
        keep_orphaned_disks: bool,
    ) -> Result<CleanupPlan, Error> {
        let path = Query::new()
            .with("remove_all", remove_all.to_string())
            .with("keep_orphaned_disks", keep_orphaned_disks.to_string())
            .on("/cleanup/dryrun");
        self.get_json(&path).await.wrap(|| "Cleaning up resources")
    }
}
