//! [`Platform`]: everything that touches the machine outside the base directory.
//!
//! [`Container`] is a container whose CPI made interfaces, hostname and init; [`Dummy`] changes nothing outside of the
//! base directory, as the original's platform of that name, for tests and simulators. A VM with disks and interfaces
//! of its own is a third one.

mod container;
pub mod directory_disk;
mod dummy;
mod users;

use std::path::{Path, PathBuf};

use agent_protocol::Settings;
use async_trait::async_trait;
use nix::unistd::Gid;

use crate::error::Result;
use crate::settings::Disk;

pub use container::Container;
pub use dummy::Dummy;

/// Runs a program to its end; its output becomes part of the error.
pub async fn run_program(program: &str, arguments: &[&str]) -> Result<()> {
    users::run(program, arguments, None).await
}

/// What the agent needs of its machine.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Host name, hosts file, passwords and keys, as the settings want them. Called at every start; idempotent.
    async fn set_up(&self, settings: &Settings) -> Result<()>;

    /// Group `vcap`, if the machine has it.
    fn vcap_group(&self) -> Option<Gid>;

    /// Gives a path to `root:vcap`, if the machine has that group.
    fn give_to_vcap(&self, path: &Path) -> Result<()> {
        match self.vcap_group() {
            Some(gid) => nix::unistd::chown(path, Some(nix::unistd::Uid::from_raw(0)), Some(gid))
                .map_err(|errno| {
                    crate::error::Error::new(format!(
                        "Giving {} to root:vcap: {errno}",
                        path.display()
                    ))
                }),
            None => Ok(()),
        }
    }

    /// Makes the disk's content appear at `at`.
    async fn mount(&self, disk: &Disk, at: &Path) -> Result<()>;

    /// Takes away what is mounted at `at`; says whether something was.
    async fn unmount(&self, at: &Path) -> Result<bool>;

    /// Whether this disk is what is mounted at `at`.
    fn is_mounted(&self, disk: &Disk, at: &Path) -> bool;

    /// Makes a user that may log in with this key and become root.
    async fn create_user(&self, user: &str, homes: &Path, public_key: &str) -> Result<()>;

    /// Removes the users whose names start with `bosh_` and match the expression.
    async fn delete_users(&self, expression: &str) -> Result<()>;

    /// The public key that ssh clients see.
    fn host_public_key(&self) -> Result<String>;

    /// The hosts file.
    fn hosts_file(&self) -> PathBuf;

    /// Where logrotate reads its configuration.
    fn logrotate_file(&self) -> PathBuf;

    /// The machine's address where it shares the host's interfaces.
    fn own_address(&self) -> Option<String> {
        None
    }

    /// Where the system's logs are.
    fn system_logs(&self) -> PathBuf;

    /// Makes the machine trust these certificates, and no longer those of an earlier call.
    async fn trust_certificates(&self, pem: &str) -> Result<()>;

    /// Forgets neighbours' hardware addresses; best effort.
    async fn forget_neighbours(&self, ips: &[String]);

    /// Switches the machine off.
    async fn shutdown(&self) -> Result<()>;
}
