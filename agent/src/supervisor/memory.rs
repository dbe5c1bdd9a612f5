//! What the engine must know after a restart of the agent: who was monitored, and which processes were whose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::process::Remembered;
use crate::error::{Result, plain};
use crate::files;

/// One service's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMemory {
    /// It was looked after.
    pub monitored: bool,
    /// Its process.
    pub process: Option<Remembered>,
}

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Which life of the machine this is about.
    boot: Option<String>,
    /// By service name.
    pub services: BTreeMap<String, ServiceMemory>,
}

impl Memory {
    /// Reads the file. If the machine or container was started since, processes are forgotten and `run` is emptied:
    /// its pid files are about another life.
    pub fn load(file: &Path, run: &Path) -> Self {
        let mut memory: Self = match files::read_json(file) {
            Ok(memory) => memory.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "the supervisor's memory is lost, going by pid files");
                Self::default()
            }
        };
        let boot = boot_id();
        if memory.boot != boot {
            if memory.boot.is_some() && boot.is_some() {
                for service in memory.services.values_mut() {
                    service.process = None;
                }
                if let Err(error) = empty(run) {
                    tracing::warn!(%error, "pid files of before the reboot can't all be removed");
                }
            }
            memory.boot = boot;
        }
        memory
    }

    /// Writes the file.
    pub fn save(&self, file: &Path) -> Result<()> {
        files::replace_json(file, self, 0o600)
    }
}

/// Tells lives of the machine apart: the kernel's boot and the start of the first process, which in a container is
/// the container's own.
fn boot_id() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let init = std::fs::read_to_string("/proc/1/stat").ok()?;
    let start = init.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    Some(format!("{}-{start}", boot.trim()))
}

/// Removes files below a directory, keeping directories with their owners.
fn empty(directory: &Path) -> Result<()> {
    let entries: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => return Ok(()),
    };
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            empty(&path)?;
        } else {
            fs::remove_file(&path).map_err(plain)?;
        }
    }
    Ok(())
}
