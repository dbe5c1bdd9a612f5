//! Persistent disks: made, attached, mounted, migrated, let go. Each function may be repeated.

use agent_protocol::Target;
use cpi::{AttachDisk, CreateDisk, DetachDisk, ResizeDisk};
use domain::{DiskCid, VmCid};
use planner::DiskRef;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::work::Work;
use crate::error::Error;
use crate::store::disks::{self, Disk, NewDisk};
use crate::store::instances::Instance;
use crate::store::vms::Vm;
use crate::{agents, cloud};

/// The row behind a reference of the plan; `None` when it is gone (orphaned by an earlier attempt).
pub async fn find(work: &Work, disk: &DiskRef) -> Result<Option<Disk>, Error> {
    Ok(match disk {
        DiskRef::Cid(cid) => disks::find_by_cid(work.db(), cid.as_str()).await?,
        DiskRef::Created(key) => disks::find_by_key(work.db(), key_of(key)?).await?,
    })
}

/// The same, for steps that need the disk.
pub async fn load(work: &Work, disk: &DiskRef) -> Result<(Disk, DiskCid), Error> {
    let row = find(work, disk).await?;
    let cid = row.as_ref().and_then(|row| row.cid.clone());
    match row.zip(cid) {
        Some((row, cid)) => Ok((row, DiskCid::new(cid))),
        None => Err(Error::unclassified(format!(
            "The disk of this plan ({disk:?}) is not there any more."
        ))
        .hint("Deploy again: the plan is made anew from what is there.")),
    }
}

fn key_of(key: &str) -> Result<Uuid, Error> {
    Uuid::parse_str(key)
        .map_err(|error| Error::unclassified(format!("'{key}' is no disk key.")).caused_by(error))
}

/// Row first, then `create_disk`; the same key is the same disk.
pub async fn create(
    work: &Work,
    instance: &Instance,
    vm: &Vm,
    key: &str,
    name: &str,
    size: u64,
    cloud_properties: &Map<String, Json>,
) -> Result<String, Error> {
    let properties = Json::Object(cloud_properties.clone());
    let new = NewDisk {
        instance_id: instance.id,
        key: key_of(key)?,
        size: i64::try_from(size).unwrap_or(i64::MAX),
        name,
        cloud_properties: &properties,
        cpi: &vm.cpi,
        task_id: work.task_id(),
    };
    let row = disks::request(work.db(), &new).await?;
    if let Some(cid) = row.cid {
        return Ok(cid);
    }
    let cpi = work.cpis.get(&vm.cpi)?;
    let call = CreateDisk {
        size_mib: size,
        cloud_properties: properties,
        vm_cid: vm.cid.clone().map(VmCid::new),
        idempotency_key: Some(key.to_owned()),
    };
    match cpi.create_disk(call).await {
        Ok(cid) => {
            disks::created(work.db(), row.id, cid.as_str()).await?;
            cpi.settle(key).await;
            work.record("create", "disk", Some(cid.as_str()), instance, None)
                .await;
            Ok(cid.into_string())
        }
        Err(error) => {
            if error.fault().is_some() {
                // By contract nothing is left of a creation that failed with an answer.
                cpi.settle(key).await;
                disks::delete(work.db(), row.id).await?;
            }
            let error = cloud::failed(error);
            work.record("create", "disk", None, instance, Some(&error))
                .await;
            Err(error)
        }
    }
}

/// CPI `attach_disk`, the agent's `add_persistent_disk`, CPI `set_disk_metadata`.
pub async fn attach(
    work: &Work,
    instance: &Instance,
    vm: &Vm,
    to: &Target,
    disk: &DiskRef,
    again: bool,
) -> Result<(), Error> {
    let (row, cid) = load(work, disk).await?;
    let cpi = work.cpis.get(&row.cpi)?;
    let call = AttachDisk {
        vm_cid: vm_cid(vm),
        disk_cid: cid.clone(),
        stemcell_api_version: api_version(vm),
    };
    let hint = match cpi.attach_disk(call.clone()).await {
        Ok(hint) => hint,
        // An earlier attempt may have attached it, and other people's CPIs refuse a second time.
        Err(error) if again => {
            let attached = cpi
                .get_disks(&vm_cid(vm))
                .await
                .is_ok_and(|disks| disks.contains(&cid));
            if !attached {
                return Err(cloud::failed(error));
            }
            let off = DetachDisk {
                vm_cid: vm_cid(vm),
                disk_cid: cid.clone(),
                stemcell_api_version: api_version(vm),
            };
            cpi.detach_disk(off).await.map_err(cloud::failed)?;
            cpi.attach_disk(call).await.map_err(cloud::failed)?
        }
        Err(error) => return Err(cloud::failed(error)),
    };
    wait(work, to, vm).await?;
    work.agents()
        .add_persistent_disk(to, &cid, &hint)
        .await
        .map_err(agents::failed)?;
    match cpi
        .set_disk_metadata(&cid, work.disk_metadata(instance))
        .await
    {
        Err(error) if !error.is_not_implemented() => Err(cloud::failed(error)),
        _ => Ok(()),
    }
}

/// The agent's `mount_disk`.
pub async fn mount(work: &Work, vm: &Vm, to: &Target, disk: &DiskRef) -> Result<(), Error> {
    let (_, cid) = load(work, disk).await?;
    wait(work, to, vm).await?;
    work.agents()
        .mount_disk(to, &cid)
        .await
        .map_err(agents::failed)
}

/// The agent's `unmount_disk`, if it has it mounted.
pub async fn unmount(work: &Work, to: &Target, disk: &DiskRef) -> Result<(), Error> {
    let Some(cid) = find(work, disk)
        .await?
        .and_then(|row| row.cid)
        .map(DiskCid::new)
    else {
        return Ok(());
    };
    let mounted = work.agents().list_disk(to).await.map_err(agents::failed)?;
    if !mounted.contains(&cid) {
        return Ok(());
    }
    work.agents()
        .unmount_disk(to, &cid)
        .await
        .map_err(agents::failed)
}

/// The agent's `remove_persistent_disk`, CPI `detach_disk`; not attached counts as detached.
pub async fn detach(work: &Work, vm: &Vm, to: &Target, disk: &DiskRef) -> Result<(), Error> {
    let Some(row) = find(work, disk).await? else {
        return Ok(());
    };
    let Some(cid) = row.cid.map(DiskCid::new) else {
        return Ok(());
    };
    work.agents()
        .remove_persistent_disk(to, &cid)
        .await
        .map_err(agents::failed)?;
    let call = DetachDisk {
        vm_cid: vm_cid(vm),
        disk_cid: cid,
        stemcell_api_version: api_version(vm),
    };
    match work.cpis.get(&row.cpi)?.detach_disk(call).await {
        Err(error) if !error.is_disk_not_attached() => Err(cloud::failed(error)),
        _ => Ok(()),
    }
}

/// The agent's `migrate_disk`: the old disk's data comes to the new one, which takes its place.
///
/// After an interruption (`again`) the agent may have finished: then the old disk is no longer mounted.
pub async fn migrate(
    work: &Work,
    to: &Target,
    from: &DiskRef,
    into: &DiskRef,
    again: bool,
) -> Result<(), Error> {
    let (_, old) = load(work, from).await?;
    let (_, new) = load(work, into).await?;
    if again {
        let mounted = work.agents().list_disk(to).await.map_err(agents::failed)?;
        if mounted.contains(&new) && !mounted.contains(&old) {
            return Ok(());
        }
    }
    work.agents()
        .migrate_disk(to, &old, &new)
        .await
        .map_err(agents::failed)
}

/// CPI `resize_disk` of a detached disk; the row follows.
pub async fn resize(work: &Work, disk: &DiskRef, size: u64) -> Result<(), Error> {
    let (row, cid) = load(work, disk).await?;
    let size_row = i64::try_from(size).unwrap_or(i64::MAX);
    if row.size != size_row {
        let call = ResizeDisk {
            disk_cid: cid,
            size_mib: size,
        };
        work.cpis
            .get(&row.cpi)?
            .resize_disk(call)
            .await
            .map_err(cloud::failed)?;
        disks::resized(work.db(), row.id, size_row).await?;
    }
    Ok(())
}

/// Moves the row to the orphans; the data stays.
pub async fn orphan(work: &Work, instance: &Instance, disk: &DiskRef) -> Result<(), Error> {
    if let Some(row) = find(work, disk).await?
        && let Some(cid) = disks::orphan(work.db(), row.id).await?
    {
        work.record("orphan", "disk", Some(&cid), instance, None)
            .await;
    }
    Ok(())
}

/// Finds out what became of `create_disk` calls that nobody saw the end of, by asking again with the same
/// key: then there is a disk with a CID, which the next plan lets go, or no row.
pub async fn settle_left_overs(work: &Work, instances: &[Instance]) -> Result<(), Error> {
    for instance in instances {
        for row in disks::list_of_instance(work.db(), instance.id).await? {
            if row.cid.is_some() || row.task_id == Some(work.task_id()) {
                continue;
            }
            let cpi = work.cpis.get(&row.cpi)?;
            let key = row.idempotency_key.to_string();
            let call = CreateDisk {
                size_mib: u64::try_from(row.size).unwrap_or(0),
                cloud_properties: row.cloud_properties.clone(),
                vm_cid: None,
                idempotency_key: Some(key.clone()),
            };
            match cpi.create_disk(call).await {
                Ok(cid) => disks::created(work.db(), row.id, cid.as_str()).await?,
                Err(error) if error.fault().is_some() => disks::delete(work.db(), row.id).await?,
                Err(error) => return Err(cloud::failed(error)),
            }
            cpi.settle(&key).await;
        }
    }
    Ok(())
}

async fn wait(work: &Work, to: &Target, vm: &Vm) -> Result<(), Error> {
    let limit = work.ctx.services.settings.agent_wait_timeout();
    let cid = vm_cid(vm);
    let ready = work.agents().wait_until_ready(to, &cid, limit);
    work.ctx
        .until_cancelled(ready)
        .await?
        .map_err(agents::failed)
}

pub(super) fn vm_cid(vm: &Vm) -> VmCid {
    VmCid::new(vm.cid.clone().unwrap_or_default())
}

fn api_version(vm: &Vm) -> Option<u32> {
    vm.stemcell_api_version
        .and_then(|version| u32::try_from(version).ok())
}
