//! Persistent and dynamic disks (`docs/spec/agent-protocol.md` §3.10).

use std::path::{Path, PathBuf};

use agent_protocol::DiskHint;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::dispatch::Call;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::layout::Layout;
use crate::platform::Platform;
use crate::settings::{self, Disk};

fn refresh(agent: &Agent) -> Result<()> {
    agent.settings().reload().context("Refreshing the settings")
}

fn find(agent: &Agent, cid: &str) -> Result<Disk> {
    agent.settings().disk(cid).ok_or_else(|| {
        Error::new(format!(
            "Persistent disk with volume id '{cid}' could not be found"
        ))
    })
}

/// `add_persistent_disk(cid, hint)`: remembers where an attached disk is.
pub async fn add_persistent_disk(call: Call) -> Result<Value> {
    let cid: String = call.argument(0, 2)?;
    let hint: DiskHint = call.argument(1, 2)?;
    refresh(&call.agent)?;
    call.agent.settings().add_disk(&cid, &hint)?;
    Ok(json!({}))
}

/// `remove_persistent_disk(cid)`
pub async fn remove_persistent_disk(call: Call) -> Result<Value> {
    let cid: String = call.argument(0, 1)?;
    refresh(&call.agent)?;
    call.agent.settings().remove_disk(&cid)?;
    Ok(json!({}))
}

/// `mount_disk(cid)`: at `store`, or beside it if another disk is there.
pub async fn mount_disk(call: Call) -> Result<Value> {
    let cid: String = call.argument(0, 1)?;
    refresh(&call.agent)?;
    let disk = find(&call.agent, &cid)?;
    mount(&call.agent, &disk)
        .await
        .context("Mounting persistent disk")?;
    Ok(json!({}))
}

async fn mount(agent: &Agent, disk: &Disk) -> Result<()> {
    let store = agent.layout.store();
    let occupied = disk_at(agent, &store).is_some_and(|other| other.cid() != disk.cid());
    let at = if occupied {
        agent.layout.store_migration_target()
    } else {
        store
    };
    agent.platform.mount(disk, &at).await?;
    files::replace(&agent.layout.managed_disk(), disk.cid().as_bytes(), 0o600)
}

/// Mounts the disk again that was mounted when the VM was switched off; one that is no longer attached is passed over.
pub async fn remount_last(
    layout: &Layout,
    platform: &dyn Platform,
    settings: &settings::Service,
) -> Result<()> {
    let Ok(cid) = fs_err::read_to_string(layout.managed_disk()) else {
        return Ok(());
    };
    let Some(disk) = settings.disk(cid.trim()) else {
        tracing::warn!(
            cid = cid.trim(),
            "the disk that was mounted last is no longer attached"
        );
        return Ok(());
    };
    platform
        .mount(&disk, &layout.store())
        .await
        .context("Mounting persistent disk")
}

/// The known disk that is mounted there.
fn disk_at(agent: &Agent, at: &Path) -> Option<Disk> {
    let settings = agent.settings();
    settings
        .disk_cids()
        .into_iter()
        .filter_map(|cid| settings.disk(&cid))
        .find(|disk| agent.platform.is_mounted(disk, at))
}

fn places(agent: &Agent) -> [PathBuf; 2] {
    [agent.layout.store(), agent.layout.store_migration_target()]
}

/// `unmount_disk(cid)`: not mounted is fine.
pub async fn unmount_disk(call: Call) -> Result<Value> {
    let cid: String = call.argument(0, 1)?;
    let agent = &call.agent;
    let disk = find(agent, &cid)?;
    for at in places(agent) {
        if agent.platform.is_mounted(&disk, &at) {
            agent
                .platform
                .unmount(&at)
                .await
                .context("Unmounting persistent disk")?;
            return Ok(json!({"message": format!("Unmounted partition of {}", disk.describe())}));
        }
    }
    Ok(json!({"message": format!("Partition of {} is not mounted", disk.describe())}))
}

/// `list_disk()`: the known disks that are mounted.
pub async fn list_disk(call: Call) -> Result<Value> {
    let agent = &call.agent;
    refresh(agent)?;
    let settings = agent.settings();
    let mounted: Vec<String> = settings
        .disk_cids()
        .into_iter()
        .filter(|cid| {
            settings.disk(cid).is_some_and(|disk| {
                places(agent)
                    .iter()
                    .any(|at| agent.platform.is_mounted(&disk, at))
            })
        })
        .collect();
    Ok(json!(mounted))
}

/// `migrate_disk(…)`: copies what is at `store` to the disk mounted beside it, and swaps them. Done again after an
/// interruption, it copies again, or finds that the swap is over.
pub async fn migrate_disk(call: Call) -> Result<Value> {
    let agent = &call.agent;
    let [store, target] = places(agent);
    let Some(new) = disk_at(agent, &target) else {
        if disk_at(agent, &store).is_some() {
            return Ok(json!({})); // swapped before an interruption
        }
        return Err(Error::new(format!(
            "Migrating persistent disk: no disk is mounted at {}",
            target.display()
        )));
    };
    let migrated = async {
        copy_tree(&store, &target).await?;
        agent.platform.unmount(&store).await?;
        agent.platform.unmount(&target).await?;
        agent.platform.mount(&new, &store).await
    };
    migrated.await.context("Migrating persistent disk")?;
    Ok(json!({}))
}

/// Copies everything with owners, times, links, extended attributes and holes.
async fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let from = format!("{}/.", from.display());
    let to = format!("{}/", to.display());
    crate::platform::run_program("cp", &["-a", "--sparse=always", &from, &to])
        .await
        .context("Copying files from old disk to new disk")
}

fn dynamic_link(agent: &Agent, cid: &str) -> Result<PathBuf> {
    if cid.is_empty() || cid.contains('/') || cid.starts_with('.') {
        return Err(Error::new(format!(
            "'{cid}' can't be the cid of a dynamic disk"
        )));
    }
    Ok(agent.layout.dynamic_disks().join(cid))
}

/// `add_dynamic_disk(cid, hint)`: a link to the device.
pub async fn add_dynamic_disk(call: Call) -> Result<Value> {
    let cid: String = call.argument(0, 2)?;
    let hint: DiskHint = call.argument(1, 2)?;
    refresh(&call.agent)?;
    if hint.path.is_empty() {
        return Err(Error::new("Getting real device path: path is missing"));
    }
    files::make_dir(&call.agent.layout.dynamic_disks(), 0o700)?;
    files::point(&dynamic_link(&call.agent, &cid)?, Path::new(&hint.path))?;
    Ok(json!({}))
}

/// `remove_dynamic_disk(cid)`
pub async fn remove_dynamic_disk(call: Call) -> Result<Value> {
    let cid: String = call.argument(0, 1)?;
    files::remove(&dynamic_link(&call.agent, &cid)?)?;
    Ok(json!({}))
}
