//! Persistent disks of containers: the CPI mounts the disk on the host, and what arrives in the container is a
//! directory (`docs/spec/cpi.md` §11). It is bind-mounted to where jobs expect it; where the kernel refuses mounts, a
//! symbolic link does the same for them.
//!
//! Whether a disk is mounted is told by comparing device and inode of both directories, which needs no `/proc`.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use crate::error::{Context, Error, Result, plain};
use crate::files;

/// How to make one directory appear at another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Bind mount, or a link where that is refused.
    Mount,
    /// Always a link.
    Link,
}

/// The original unmounts every second for ten minutes while somebody uses the disk; so many tenths of that.
const UNMOUNT_ATTEMPTS: u32 = 6000;

/// Makes `directory` appear at `at`. Nothing happens if it is there already.
pub fn attach(directory: &Path, at: &Path, means: Means) -> Result<()> {
    if !directory.is_dir() {
        return Err(Error::new(format!(
            "Mounting persistent disk: {} is not a directory; the CPI has to mount the disk there before attaching it",
            directory.display()
        )));
    }
    if is_attached(directory, at) {
        return Ok(());
    }
    if fs::symlink_metadata(at).is_ok_and(|meta| meta.is_symlink()) {
        files::remove(at)?;
    }
    files::make_dir(at, 0o700)?;
    if means == Means::Mount {
        let mounted = nix::mount::mount(
            Some(directory),
            at,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        );
        match mounted {
            Ok(()) => return Ok(()),
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) => {
                tracing::info!(at = %at.display(), "mounts are refused here, using a link");
            }
            Err(errno) => {
                return Err(errno).with_context(|| format!("Mounting at {}", at.display()));
            }
        }
    }
    match fs::remove_dir(at) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            return Err(Error::new(format!(
                "Mounting persistent disk: {} holds files that a link would hide; move them away",
                at.display()
            )));
        }
        other => other.map_err(plain)?,
    }
    files::point(at, directory).map(drop)
}

/// Whether `at` shows `directory`.
pub fn is_attached(directory: &Path, at: &Path) -> bool {
    match (fs::metadata(directory), fs::metadata(at)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        _ => false,
    }
}

/// Takes away what [`attach`] made; waits while it is in use. Says whether there was something.
pub async fn detach(at: &Path) -> Result<bool> {
    match fs::symlink_metadata(at) {
        Err(_) => return Ok(false),
        Ok(meta) if meta.is_symlink() => {
            files::remove(at)?;
            files::make_dir(at, 0o700)?;
            return Ok(true);
        }
        Ok(_) => {}
    }
    for _ in 0..UNMOUNT_ATTEMPTS {
        match nix::mount::umount2(at, MntFlags::empty()) {
            Ok(()) => return Ok(true),
            // Not a mount point, or no right to mount and so none mounted by us.
            Err(Errno::EINVAL | Errno::ENOENT | Errno::EPERM) => return Ok(false),
            Err(Errno::EBUSY) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(errno) => {
                return Err(errno).with_context(|| format!("Unmounting {}", at.display()));
            }
        }
    }
    Err(Error::new(format!(
        "Unmounting {}: still in use after 10 minutes; stop what has files open there",
        at.display()
    )))
}
