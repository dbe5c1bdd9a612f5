//! Writing files so that a crash leaves the old or the new content, never half of it.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Result, plain};

/// Writes `content` beside `path` and renames it there. `mode` are the permission bits.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    durable::replace(path, content, durable::Mode::Is(mode)).map_err(plain)
}

/// [`replace`] with JSON.
pub fn replace_json(path: &Path, value: &impl Serialize, mode: u32) -> Result<()> {
    let content =
        serde_json::to_vec(value).with_context(|| format!("Marshalling {}", path.display()))?;
    replace(path, &content, mode)
}

/// Reads JSON; `None` if there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(plain(error)),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("Unmarshalling {}", path.display())),
    }
}

/// Makes a directory and its parents with these permission bits; one that exists keeps its own. Says whether it is
/// new.
pub fn make_dir(path: &Path, mode: u32) -> Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(plain)?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // The umask may have taken bits away.
            set_mode(path, mode)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(error).with_context(|| format!("Making directory {}", path.display())),
    }
}

/// Sets permission bits.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(plain)
}

/// Removes a file, link or whole directory; nothing there is fine.
pub fn remove(path: &Path) -> Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(plain(error)),
        _ => Ok(()),
    }
}

/// Points the symbolic link `link` at `target` atomically, replacing what was there. Says whether it changed.
pub fn point(link: &Path, target: &Path) -> Result<bool> {
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(false);
    }
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent).map_err(plain)?;
    }
    if fs::symlink_metadata(link).is_ok_and(|meta| meta.is_dir()) {
        remove(link)?;
    }
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    let temporary = link.with_file_name(format!(".{name}.new"));
    remove(&temporary)?;
    fs::os::unix::fs::symlink(target, &temporary).map_err(plain)?;
    fs::rename(&temporary, link).map_err(plain)?;
    Ok(true)
}
