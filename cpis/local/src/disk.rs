//! Persistent disks and their snapshots (`docs/spec/cpi.md` §11.2 item 6).
//!
//! A disk is an image with ext4, or a folder where images can't be mounted. The record says which VM holds it, and is
//! written before the mount appears and after it is gone: a crash in between is repaired by asking again.
//!
//! ```text
//! container:  disk.img --loop mount--> persist/<vm>/<disk>  ==shared==> /warden-cpi-dev/<disk>  --agent--> /var/vcap/store
//! plain:      disks/<disk>/data  --rename--> <root>/warden-cpi-dev/<disk>  --agent's link--> /var/vcap/store
//! ```

use cpi::{CreateDisk, Fault, Metadata};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

use crate::command::{exists, run, tool};
use crate::config::Config;
use crate::error::Error;
use crate::isolation;
use crate::mounts;
use crate::report::say;
use crate::runtime;
use crate::stemcell::remove_tree;
use crate::store::{DiskKind, DiskRecord, Isolation, Lock, Store, VmRecord};

/// Where disks appear in a VM.
const IN_VM: &str = "warden-cpi-dev";

pub struct Disks<'a> {
    store: &'a Store,
}

impl<'a> Disks<'a> {
    pub fn new(store: &'a Store) -> Self {
        Disks { store }
    }

    /// The CID is made of the idempotency key, where there is one.
    pub fn create(&self, config: &Config, request: &CreateDisk) -> Result<String, Error> {
        if request.size_mib == 0 {
            return Err(Fault::cpi_error("a disk needs at least 1 MiB").into());
        }
        let key = match &request.idempotency_key {
            Some(key) => key.clone(),
            None => uuid::Uuid::new_v4().to_string(),
        };
        let cid = format!("disk-{key}");
        let place = self.store.disk(&cid)?;
        let _lock = self.store.lock(&cid)?;
        if self.store.find_disk(&cid)?.is_some() {
            return Ok(cid);
        }
        remove_tree(&place)?;
        let (isolation, _) = isolation::choose(config, self.store)?;
        let image = isolation == Isolation::Namespaces && isolation::images_mountable(self.store);
        let mut record = DiskRecord {
            cid: cid.clone(),
            size_mib: request.size_mib,
            kind: if image {
                DiskKind::Image
            } else {
                DiskKind::Folder
            },
            attached_to: None,
            complete: false,
            metadata: Map::new(),
        };
        self.store.save_disk(&record)?;
        let made = match record.kind {
            DiskKind::Image => make_image(&place.join("disk.img"), request.size_mib),
            DiskKind::Folder => {
                use std::os::unix::fs::PermissionsExt;
                let data = place.join("data");
                fs_err::create_dir(&data)?;
                // As the root of a new file system, whatever the umask: jobs' users pass through it.
                fs_err::set_permissions(&data, std::fs::Permissions::from_mode(0o755))
                    .map_err(Error::from)
            }
        };
        if let Err(error) = made {
            remove_tree(&place)?;
            return Err(error);
        }
        record.complete = true;
        self.store.save_disk(&record)?;
        Ok(cid)
    }

    pub fn exists(&self, cid: &str) -> Result<bool, Error> {
        match self.store.disk(cid) {
            Ok(_) => Ok(self.store.find_disk(cid)?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// The record, with the disk's lock held.
    fn open(&self, cid: &str) -> Result<(DiskRecord, Lock), Error> {
        let missing = || Fault {
            ok_to_retry: false,
            ..Fault::disk_not_found(format!("Disk '{cid}' not found"))
        };
        self.store.disk(cid).map_err(|_| missing())?;
        let lock = self.store.lock(cid)?;
        match self.store.find_disk(cid)? {
            Some(record) => Ok((record, lock)),
            None => {
                self.store.forget_lock(cid);
                Err(missing().into())
            }
        }
    }

    pub fn delete(&self, cid: &str) -> Result<(), Error> {
        let (record, _lock) = self.open(cid)?;
        if let Some(vm) = &record.attached_to {
            return Err(Fault::cloud_error(format!(
                "Disk '{cid}' is attached to VM '{vm}'; detach it first"
            ))
            .into());
        }
        remove_tree(&self.store.disk(cid)?)?;
        self.store.forget_lock(cid);
        Ok(())
    }

    /// Makes the disk appear in the VM, which may be running. The path in the VM.
    pub fn attach(&self, vm: &VmRecord, cid: &str) -> Result<String, Error> {
        let (mut disk, _lock) = self.open(cid)?;
        match &disk.attached_to {
            Some(holder) if *holder != vm.cid => {
                return Err(Fault::cloud_error(format!(
                    "Disk '{cid}' is attached to VM '{holder}'"
                ))
                .into());
            }
            _ => {}
        }
        if vm.isolation == Isolation::Plain && disk.kind == DiskKind::Image {
            return Err(Fault::cloud_error(format!(
                "Disk '{cid}' is an image, which can't be mounted for VM '{}' in plain isolation",
                vm.cid
            ))
            .into());
        }
        disk.attached_to = Some(vm.cid.clone());
        self.store.save_disk(&disk)?;
        if let Err(error) = self.place(vm, &disk) {
            disk.attached_to = None;
            self.store.save_disk(&disk)?;
            return Err(error);
        }
        Ok(format!("/{IN_VM}/{cid}"))
    }

    /// Puts all disks of a VM where it sees them: after a restart.
    pub fn place_all(&self, vm: &VmRecord) -> Result<(), Error> {
        self.store
            .disks_of(&vm.cid)?
            .iter()
            .try_for_each(|disk| self.place(vm, disk))
    }

    fn place(&self, vm: &VmRecord, disk: &DiskRecord) -> Result<(), Error> {
        let home = self.store.disk(&disk.cid)?;
        match vm.isolation {
            Isolation::Namespaces => {
                let at = self.mount_point(&vm.cid, &disk.cid)?;
                fs_err::create_dir_all(&at)?;
                match disk.kind {
                    DiskKind::Image => mounts::image(&home.join("disk.img"), &at),
                    DiskKind::Folder => mounts::bind(&home.join("data"), &at),
                }
            }
            Isolation::Plain => {
                let at = self.in_root(&vm.cid, &disk.cid)?;
                match fs_err::symlink_metadata(&at) {
                    Ok(_) => Ok(()),
                    Err(_) => fs_err::rename(home.join("data"), at).map_err(Error::from),
                }
            }
        }
    }

    /// Takes the disk out of the VM, which may be running.
    pub fn detach(&self, vm: &VmRecord, cid: &str) -> Result<(), Error> {
        let (disk, _lock) = self.open(cid)?;
        if disk.attached_to.as_deref() != Some(vm.cid.as_str()) {
            return Err(Fault::disk_not_attached(format!(
                "Disk '{cid}' is not attached to VM '{}'",
                vm.cid
            ))
            .into());
        }
        self.take(vm, disk)
    }

    /// Takes all disks out of a VM that is going to be deleted.
    pub fn detach_all(&self, vm: &VmRecord) -> Result<(), Error> {
        for disk in self.store.disks_of(&vm.cid)? {
            let _lock = self.store.lock(&disk.cid)?;
            self.take(vm, disk)?;
        }
        Ok(())
    }

    fn take(&self, vm: &VmRecord, mut disk: DiskRecord) -> Result<(), Error> {
        match vm.isolation {
            Isolation::Namespaces => self.unmount(vm, &disk)?,
            Isolation::Plain => {
                let from = self.in_root(&vm.cid, &disk.cid)?;
                if fs_err::symlink_metadata(&from).is_ok() {
                    fs_err::rename(from, self.store.disk(&disk.cid)?.join("data"))?;
                }
            }
        }
        disk.attached_to = None;
        self.store.save_disk(&disk)
    }

    /// The mount can be gone here and still be held in the container, by the agent's bind mount. Such a disk must not be
    /// attached elsewhere.
    fn unmount(&self, vm: &VmRecord, disk: &DiskRecord) -> Result<(), Error> {
        let at = self.mount_point(&vm.cid, &disk.cid)?;
        let device = mounts::is_mounted(&at)
            .then(|| mounts::device(&at))
            .transpose()?;
        mounts::unmount_all(&at)?;
        match fs_err::remove_dir(&at) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let held = device.is_some_and(|device| {
            let init = runtime::init_pid(self.store, vm);
            disk.kind == DiskKind::Image && init.is_some_and(|init| mounts::holds(init, &device))
        });
        if held {
            self.place(vm, disk)?;
            return Err(Fault::cloud_error(format!(
                "Disk '{}' is still mounted inside of VM '{}'; its agent has to unmount it first",
                disk.cid, vm.cid
            ))
            .into());
        }
        Ok(())
    }

    /// Grows a detached disk. What can't be done in place is for the caller to copy.
    pub fn resize(&self, cid: &str, size_mib: u64) -> Result<(), Error> {
        let (mut disk, _lock) = self.open(cid)?;
        if size_mib == disk.size_mib {
            return Ok(());
        }
        if size_mib < disk.size_mib {
            return Err(Fault::not_supported(format!(
                "Disk '{cid}' has {} MiB and can't shrink to {size_mib} MiB",
                disk.size_mib
            ))
            .into());
        }
        if let Some(vm) = &disk.attached_to {
            return Err(
                Fault::not_supported(format!("Disk '{cid}' is attached to VM '{vm}'")).into(),
            );
        }
        if disk.kind == DiskKind::Image {
            let image = self.store.disk(cid)?.join("disk.img");
            fs_err::OpenOptions::new()
                .write(true)
                .open(&image)?
                .set_len(size_mib << 20)?;
            let mut check = tool("e2fsck", ["-f", "-p"]);
            // 1 means that it repaired something.
            let checked = check.arg(&image).output();
            let status = checked
                .map_err(|source| Error::ToolMissing {
                    tool: "e2fsck".into(),
                    source,
                })?
                .status;
            if !matches!(status.code(), Some(0 | 1)) {
                return Err(Error::Host(format!(
                    "the file system of disk '{cid}' is damaged (e2fsck: {status})"
                )));
            }
            let mut grow = tool("resize2fs", ["-f"]);
            grow.arg(&image);
            run(grow)?;
        }
        disk.size_mib = size_mib;
        self.store.save_disk(&disk)
    }

    pub fn set_metadata(&self, cid: &str, metadata: Metadata) -> Result<(), Error> {
        let (mut disk, _lock) = self.open(cid)?;
        disk.metadata.extend(metadata);
        self.store.save_disk(&disk)
    }

    /// A copy of the disk as it is now; a mounted one stands still meanwhile.
    pub fn snapshot(&self, cid: &str) -> Result<String, Error> {
        let (disk, _lock) = self.open(cid)?;
        let snapshot = format!("snap-{}", uuid::Uuid::new_v4());
        let to = self.store.snapshot(&snapshot)?;
        let home = self.store.disk(cid)?;
        let (from, frozen) = match (disk.kind, &disk.attached_to) {
            (DiskKind::Image, Some(vm)) => {
                let at = self.mount_point(vm, cid)?;
                (home.join("disk.img"), Freeze::new(&at))
            }
            (DiskKind::Image, None) => (home.join("disk.img"), None),
            (DiskKind::Folder, attached) => {
                let inside = match attached {
                    Some(vm) => self.in_root(vm, cid)?,
                    None => home.join("data"),
                };
                (
                    if inside.exists() {
                        inside
                    } else {
                        home.join("data")
                    },
                    None,
                )
            }
        };
        let mut copy = tool("cp", ["-a", "--reflink=auto", "--sparse=always"]);
        copy.arg(from).arg(&to);
        let copied = run(copy);
        drop(frozen);
        if let Err(error) = copied {
            self.delete_snapshot(&snapshot)?;
            return Err(error);
        }
        Ok(snapshot)
    }

    /// Gone already is fine.
    pub fn delete_snapshot(&self, cid: &str) -> Result<(), Error> {
        let Ok(path) = self.store.snapshot(cid) else {
            return Ok(());
        };
        match fs_err::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => remove_tree(&path),
            Ok(_) => fs_err::remove_file(&path).map_err(Error::from),
            Err(_) => Ok(()),
        }
    }

    fn mount_point(&self, vm: &str, disk: &str) -> Result<PathBuf, Error> {
        Ok(self.store.persist(vm)?.join(disk))
    }

    fn in_root(&self, vm: &str, disk: &str) -> Result<PathBuf, Error> {
        Ok(self.store.vm(vm)?.join("rootfs").join(IN_VM).join(disk))
    }
}

/// A sparse file with a file system. The director's sizes are generous, so nothing is reserved for root.
pub fn make_image(path: &Path, size_mib: u64) -> Result<(), Error> {
    fs_err::File::create(path)?.set_len(size_mib << 20)?;
    let mut command = tool(
        "mkfs.ext4",
        [
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1",
        ],
    );
    command.arg(path);
    run(command).map(drop)
}

/// A file system that stands still until this is dropped.
struct Freeze(PathBuf);

impl Freeze {
    fn new(at: &Path) -> Option<Freeze> {
        if !mounts::is_mounted(at) || !exists("fsfreeze") {
            return None;
        }
        let mut command = tool("fsfreeze", ["-f"]);
        command.arg(at);
        match run(command) {
            Ok(_) => Some(Freeze(at.to_path_buf())),
            Err(error) => {
                say(format!(
                    "the snapshot is taken of a file system in use: {error}"
                ));
                None
            }
        }
    }
}

impl Drop for Freeze {
    fn drop(&mut self) {
        let mut command = tool("fsfreeze", ["-u"]);
        command.arg(&self.0);
        if let Err(error) = run(command) {
            say(format!(
                "could not let '{}' go on: {error}",
                self.0.display()
            ));
        }
    }
}

/// The disks that a VM holds, by CID.
pub fn attached(store: &Store, vm: &str) -> Result<Vec<String>, Error> {
    Ok(store
        .disks_of(vm)?
        .into_iter()
        .map(|disk| disk.cid)
        .collect())
}

/// Metadata as it arrives, without nulls: a CPI keeps what it can (`docs/spec/cpi.md` §2.2).
pub fn without_nulls(metadata: Metadata) -> Map<String, Value> {
    metadata
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect()
}
