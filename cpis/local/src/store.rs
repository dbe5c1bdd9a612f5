//! What is kept on disk, and the locks that keep parallel calls apart.
//!
//! ```text
//! <store_dir>/stemcells/<cid>/rootfs        imported root file systems
//!             vms/<cid>/vm.json             the record, written before anything is made
//!                       rootfs, upper, work, data, bundle, console.log
//!             disks/<cid>/disk.json         and disk.img, or data/
//!             snapshots/<cid>               copies
//!             persist/<vm>/<disk>           where attached disks are mounted on the host
//!             locks/                        flock'ed files
//! ```
//! Records are replaced by renaming, so a reader sees the old or the new one.

use cpi::Fault;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A VM, from the moment before its first trace on the host.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct VmRecord {
    pub cid: String,
    pub agent_id: String,
    pub stemcell_cid: String,
    pub isolation: Isolation,
    /// False until `create_vm` succeeded: such a VM is removed by whoever finds it.
    pub complete: bool,
    /// Set while the whole environment is down; `start` clears it.
    #[serde(default)]
    pub stopped: bool,
    pub networks: Vec<VmNetwork>,
    /// The root is an overlay; otherwise a copy.
    #[serde(default)]
    pub overlay: bool,
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    Namespaces,
    Plain,
}

/// One interface of a VM.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct VmNetwork {
    pub name: String,
    pub address: Ipv4Addr,
    pub prefix: u8,
    /// Given when this network holds the default route.
    pub gateway: Option<Ipv4Addr>,
    pub mac: String,
    /// The host's end of the pair.
    pub host_interface: String,
    pub guest_interface: String,
    pub mtu: Option<u32>,
}

/// A persistent disk.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct DiskRecord {
    pub cid: String,
    pub size_mib: u64,
    pub kind: DiskKind,
    /// The VM that holds it.
    pub attached_to: Option<String>,
    /// Made to the end.
    pub complete: bool,
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum DiskKind {
    /// A sparse file with ext4, mounted through a loop device.
    Image,
    /// A folder: where there are no loop devices or no mounts. Its size is not enforced.
    Folder,
}

/// Held until dropped, or until the process ends however it ends.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] Flock<std::fs::File>);

#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    pub fn new(dir: &Path) -> Store {
        Store {
            dir: dir.to_path_buf(),
        }
    }

    /// Makes the folders; they hold credentials of VMs, so only root may look.
    pub fn open(dir: &Path) -> Result<Store, Error> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let store = Store::new(dir);
        if !dir.exists() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(dir)?;
        }
        for name in ["stemcells", "vms", "disks", "snapshots", "persist", "locks"] {
            let path = dir.join(name);
            if !path.exists() {
                fs_err::create_dir_all(&path)?;
                // Plain VMs run as other users below `vms`, so it may be passed through, but not read.
                let mode = if name == "vms" { 0o711 } else { 0o700 };
                fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
            }
        }
        Ok(store)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn exists(&self) -> bool {
        self.dir.join("vms").is_dir()
    }

    pub fn stemcell(&self, cid: &str) -> Result<PathBuf, Fault> {
        self.item("stemcells", cid)
    }
    pub fn vm(&self, cid: &str) -> Result<PathBuf, Fault> {
        self.item("vms", cid)
    }
    pub fn disk(&self, cid: &str) -> Result<PathBuf, Fault> {
        self.item("disks", cid)
    }
    pub fn snapshot(&self, cid: &str) -> Result<PathBuf, Fault> {
        self.item("snapshots", cid)
    }
    pub fn persist(&self, vm: &str) -> Result<PathBuf, Fault> {
        self.item("persist", vm)
    }

    /// CIDs come from callers and become file names, so anything else than a plain name is refused.
    fn item(&self, folder: &str, cid: &str) -> Result<PathBuf, Fault> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if cid.is_empty() || cid.len() > 128 || cid.starts_with('.') || !cid.chars().all(plain) {
            return Err(Fault::cpi_error(format!("'{cid}' is no id of this CPI")));
        }
        Ok(self.dir.join(folder).join(cid))
    }

    /// Waits for the lock `name`.
    pub fn lock(&self, name: &str) -> Result<Lock, Error> {
        let path = self.dir.join("locks").join(name);
        loop {
            let file = fs_err::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)?;
            let file: std::fs::File = file.into();
            let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| {
                Error::Host(format!("could not lock '{}': {e}", path.display()))
            })?;
            // Whoever deletes a VM deletes its lock's file too: a lock on a file without a name locks nobody out.
            use std::os::unix::fs::MetadataExt;
            let named = std::fs::metadata(&path).map(|m| m.ino()).ok();
            if named == lock.metadata().map(|m| m.ino()).ok() {
                return Ok(Lock(lock));
            }
        }
    }

    /// Forgets a lock that is held and won't be needed again.
    pub fn forget_lock(&self, name: &str) {
        let _ = fs_err::remove_file(self.dir.join("locks").join(name));
    }

    pub fn find_vm(&self, cid: &str) -> Result<Option<VmRecord>, Error> {
        read(&self.vm(cid)?.join("vm.json"))
    }
    pub fn save_vm(&self, record: &VmRecord) -> Result<(), Error> {
        write(&self.vm(&record.cid)?.join("vm.json"), record)
    }
    pub fn find_disk(&self, cid: &str) -> Result<Option<DiskRecord>, Error> {
        let found: Option<DiskRecord> = read(&self.disk(cid)?.join("disk.json"))?;
        Ok(found.filter(|disk| disk.complete))
    }
    pub fn save_disk(&self, record: &DiskRecord) -> Result<(), Error> {
        write(&self.disk(&record.cid)?.join("disk.json"), record)
    }

    /// Every VM with a record, complete or not.
    pub fn vms(&self) -> Result<Vec<VmRecord>, Error> {
        self.names("vms")?
            .iter()
            .filter_map(|cid| self.find_vm(cid).transpose())
            .collect()
    }

    pub fn disks(&self) -> Result<Vec<DiskRecord>, Error> {
        self.names("disks")?
            .iter()
            .filter_map(|cid| self.find_disk(cid).transpose())
            .collect()
    }

    /// The disks that a VM holds.
    pub fn disks_of(&self, vm: &str) -> Result<Vec<DiskRecord>, Error> {
        let mut disks = self.disks()?;
        disks.retain(|disk| disk.attached_to.as_deref() == Some(vm));
        Ok(disks)
    }

    /// Sorted names in a folder.
    pub fn names(&self, folder: &str) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        match fs_err::read_dir(self.dir.join(folder)) {
            Ok(entries) => {
                for entry in entries {
                    names.push(entry?.file_name().to_string_lossy().into_owned());
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        names.sort();
        Ok(names)
    }
}

/// A JSON file, if it is there.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs_err::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| Error::Record {
            path: path.to_path_buf(),
            source,
        })
}

/// Replaces a JSON file at once, and for good: it is on the disk when this returns.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).map_err(std::io::Error::from)?;
    durable::replace(path, &text, durable::Mode::Is(0o600))?;
    Ok(())
}
