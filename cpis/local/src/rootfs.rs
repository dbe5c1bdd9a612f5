//! The root file system of a VM: an overlay over the stemcell, or a copy of it.
//!
//! A copy links what is never written in place (`/usr` without `/usr/local`, `/opt` …) and copies the rest, so that a VM
//! can't change the stemcell by appending to a file.

use std::path::{Component, Path, PathBuf};

use crate::command::{run, tool};
use crate::error::Error;
use crate::mounts;
use crate::report::say;

/// The places of one VM's files.
pub struct Root {
    vm: PathBuf,
    lower: PathBuf,
}

/// Folders that packages replace file by file, never in place.
const LINKED: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

impl Root {
    pub fn new(vm: &Path, stemcell: &Path) -> Root {
        Root {
            vm: vm.to_path_buf(),
            lower: stemcell.join("rootfs"),
        }
    }

    /// What the VM sees as `/`.
    pub fn path(&self) -> PathBuf {
        self.vm.join("rootfs")
    }

    /// Makes the root; true if it is an overlay.
    pub fn create(&self, may_overlay: bool) -> Result<bool, Error> {
        for name in ["rootfs", "upper", "work"] {
            fs_err::create_dir_all(self.vm.join(name))?;
        }
        if may_overlay {
            match self.mount_overlay() {
                Ok(()) => return Ok(true),
                Err(error) => say(format!("{error}; copying the stemcell instead")),
            }
        }
        self.copy()?;
        Ok(false)
    }

    /// Mounts the overlay again, after a restart of the host too.
    pub fn mount_overlay(&self) -> Result<(), Error> {
        let lower = fs_err::canonicalize(&self.lower)?;
        mounts::overlay(
            &lower,
            &self.vm.join("upper"),
            &self.vm.join("work"),
            &self.path(),
        )
    }

    fn copy(&self) -> Result<(), Error> {
        let from = fs_err::canonicalize(&self.lower)?;
        let to = self.path();
        let (mut linked, mut copied) = (Vec::new(), Vec::new());
        for entry in fs_err::read_dir(&from)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let list = if LINKED.contains(&name.as_str()) {
                &mut linked
            } else {
                &mut copied
            };
            list.push(entry.path());
        }
        let copy = |options: &[&str], what: &[PathBuf]| {
            if what.is_empty() {
                return Ok(String::new());
            }
            let mut command = tool("cp", ["-a", "--reflink=auto"]);
            command.args(options).args(what).arg("-t").arg(&to);
            run(command)
        };
        // Links need one file system; where there are two, everything is copied.
        if let Err(error) = copy(&["--link"], &linked) {
            say(format!("the stemcell can't be linked: {error}; copying it"));
            copy(&["--remove-destination"], &linked)?;
        }
        copy(&[], &copied)?;
        let local = to.join("usr/local");
        if local.is_dir() && !local.is_symlink() {
            fs_err::remove_dir_all(&local)?;
            let mut command = tool("cp", ["-a", "--reflink=auto"]);
            command.arg(from.join("usr/local")).arg(to.join("usr"));
            run(command)?;
        }
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(&to, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Unmounts; what was written stays.
    pub fn unmount(&self) -> Result<(), Error> {
        mounts::unmount_all(&self.path())
    }

    /// Writes a file of the guest. A link in the stemcell can't lead out of the root: folders must be real, and the file is new.
    pub fn write(&self, path: &str, text: &[u8], mode: u32) -> Result<(), Error> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let file = self.inside(path)?;
        match fs_err::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let mut open = options.open(&file).map_err(|e| {
            Error::File(std::io::Error::new(
                e.kind(),
                format!("failed to create '{}': {e}", file.display()),
            ))
        })?;
        open.write_all(text)?;
        Ok(())
    }

    /// A folder of the guest, made where it is missing.
    pub fn folder(&self, path: &str) -> Result<PathBuf, Error> {
        let folder = self.inside(path)?;
        match folder.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(Error::Host(format!(
                    "'{path}' of the stemcell is not a folder"
                )));
            }
            Err(_) => fs_err::create_dir(&folder)?,
        }
        Ok(folder)
    }

    fn inside(&self, path: &str) -> Result<PathBuf, Error> {
        let mut place = self.path();
        let mut parts = Path::new(path)
            .components()
            .filter(|c| matches!(c, Component::Normal(_)));
        let name = parts.next_back();
        for part in parts {
            place.push(part);
            match place.symlink_metadata() {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    return Err(Error::Host(format!(
                        "'{}' of the stemcell is not a folder",
                        place.strip_prefix(self.path()).unwrap_or(&place).display()
                    )));
                }
                Err(_) => fs_err::create_dir(&place)?,
            }
        }
        if let Some(name) = name {
            place.push(name);
        }
        Ok(place)
    }
}
