//! The platform that leaves the machine alone (`docs/spec/agent-protocol.md` §7): files below the base directory are
//! real, and so are disks (as links), jobs and scripts; users, certificates, neighbours and power are not touched.

use std::path::{Path, PathBuf};

use agent_protocol::Settings;
use async_trait::async_trait;
use nix::unistd::Gid;

use super::{Platform, directory_disk};
use crate::error::Result;
use crate::files;
use crate::layout::Layout;
use crate::settings::Disk;

/// An agent's base directory and nothing around it.
pub struct Dummy {
    layout: Layout,
}

impl Dummy {
    /// Keeps everything below `layout`.
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }
}

#[async_trait]
impl Platform for Dummy {
    async fn set_up(&self, settings: &Settings) -> Result<()> {
        for user in ["vcap", "root"] {
            let path = self.layout.bosh().join(user).join("password");
            files::replace(&path, settings.env.bosh.password.as_bytes(), 0o600)?;
        }
        Ok(())
    }

    fn vcap_group(&self) -> Option<Gid> {
        None
    }

    async fn mount(&self, disk: &Disk, at: &Path) -> Result<()> {
        directory_disk::attach(&disk.path(), at, directory_disk::Means::Link)
    }

    async fn unmount(&self, at: &Path) -> Result<bool> {
        if !at.is_symlink() {
            return Ok(false);
        }
        directory_disk::detach(at).await
    }

    fn is_mounted(&self, disk: &Disk, at: &Path) -> bool {
        directory_disk::is_attached(&disk.path(), at)
    }

    async fn create_user(&self, user: &str, _homes: &Path, public_key: &str) -> Result<()> {
        let keys = self.layout.bosh().join(user).join("authorized_keys");
        files::replace(&keys, public_key.as_bytes(), 0o600)
    }

    async fn delete_users(&self, expression: &str) -> Result<()> {
        let expression =
            crate::error::Context::context(regex::Regex::new(expression), "Compiling regexp")?;
        let Ok(entries) = fs_err::read_dir(self.layout.bosh()) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("bosh_") && expression.is_match(&name) {
                files::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn host_public_key(&self) -> Result<String> {
        Ok("dummy-public-key".into())
    }

    fn hosts_file(&self) -> PathBuf {
        self.layout.bosh().join("etc_hosts")
    }

    fn logrotate_file(&self) -> PathBuf {
        self.layout.bosh().join("logrotate")
    }

    fn system_logs(&self) -> PathBuf {
        self.layout.base().join("var_log")
    }

    async fn trust_certificates(&self, _pem: &str) -> Result<()> {
        Ok(())
    }

    async fn forget_neighbours(&self, _ips: &[String]) {}

    async fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}
