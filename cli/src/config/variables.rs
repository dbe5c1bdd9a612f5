//! Environment variables and the paths that hang on them.

use crate::error::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// A variable that is set and not empty.
pub fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that is set, if only to nothing.
pub fn given(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A switch: set and empty turns it on, as Go's `ParseBool` reads the rest.
pub fn boolean(name: &str, flag: &str) -> Result<bool> {
    let Ok(value) = std::env::var(name) else {
        return Ok(false);
    };
    match value.as_str() {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(Error::message(format!(
            "invalid argument for flag `{flag}' (expected bool): strconv.ParseBool: parsing \"{other}\": invalid syntax"
        ))),
    }
}

/// The user's home folder.
pub fn home() -> Result<PathBuf> {
    optional("HOME").map(PathBuf::from).ok_or_else(|| {
        Error::message("Expected HOME to be set; set it, or pass --config with the path of a file")
    })
}

/// A path with a leading `~` replaced.
pub fn expand(path: &str) -> Result<PathBuf> {
    match path.strip_prefix("~/") {
        Some(rest) => Ok(home()?.join(rest)),
        None => Ok(PathBuf::from(path)),
    }
}

/// The path without `..`, by its text alone.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// The proxy for director and ssh connections.
pub fn proxy() -> Option<String> {
    optional("BOSH_ALL_PROXY")
}

/// Folders below `~/.bosh`.
#[derive(Debug, Clone)]
pub struct Paths {
    tmp: PathBuf,
}

impl Paths {
    /// Makes the temporary folder, private to the user.
    pub fn prepare() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let tmp = home()?.join(".bosh/tmp");
        fs_err::create_dir_all(&tmp)?;
        fs_err::set_permissions(&tmp, std::fs::Permissions::from_mode(0o700))?;
        Ok(Paths { tmp })
    }

    /// `~/.bosh/tmp`.
    pub fn tmp(&self) -> &Path {
        &self.tmp
    }
}
