//! A container: interfaces, hostname, init and the disks' mounts are the CPI's, users and files are ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_protocol::Settings;
use async_trait::async_trait;
use domain::{Digest, MultiDigest};
use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Group, User, getppid};
use serde::{Deserialize, Serialize};

use super::{Platform, directory_disk, users};
use crate::error::{Context, Error, Result, plain};
use crate::files;
use crate::layout::Layout;
use crate::options::Machine;
use crate::settings::Disk;

const CERTIFICATES: &str = "/usr/local/share/ca-certificates";

/// The container this process runs in.
pub struct Container {
    layout: Layout,
    machine: Machine,
    vcap: Option<Gid>,
}

/// What was done once on this VM (agent_state.json).
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct AgentState {
    #[serde(rename = "Linux")]
    linux: LinuxState,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct LinuxState {
    hosts_configured: bool,
    /// Digest of the password hash that was set last: setting it again at every start would cost a process.
    password_set: Option<MultiDigest>,
}

impl Container {
    /// Looks up group `vcap` once.
    pub fn new(layout: Layout, machine: Machine) -> Self {
        let vcap = Group::from_name("vcap").ok().flatten().map(|g| g.gid);
        if vcap.is_none() {
            tracing::warn!("there is no group vcap: files of jobs stay with root's group");
        }
        Self {
            layout,
            machine,
            vcap,
        }
    }

    async fn set_passwords(&self, settings: &Settings) -> Result<()> {
        let bosh = &settings.env.bosh;
        let hash = if bosh.password.is_empty() {
            "*"
        } else {
            &bosh.password
        };
        let mut hashes = Vec::new();
        if User::from_name("vcap").ok().flatten().is_some() {
            hashes.push(("vcap", hash));
        }
        if !bosh.keep_root_password {
            hashes.push(("root", hash));
        }
        users::set_password_hashes(&hashes)
            .await
            .context("Setting passwords")
    }
}

#[async_trait]
impl Platform for Container {
    async fn set_up(&self, settings: &Settings) -> Result<()> {
        let path = self.layout.agent_state();
        let mut state: AgentState = files::read_json(&path)?.unwrap_or_default();
        if !state.linux.hosts_configured {
            let hosts = crate::actions::sync_dns::hosts_file(&settings.agent_id, &[]);
            write_in_place(&self.hosts_file(), &hosts).context("Setting up hosts file")?;
            state.linux.hosts_configured = true;
            files::replace_json(&path, &state, 0o600)?;
        }
        let password = MultiDigest::from(Digest::sha256(&settings.env.bosh.password));
        if state.linux.password_set.as_ref() != Some(&password) {
            self.set_passwords(settings).await?;
            state.linux.password_set = Some(password);
            files::replace_json(&path, &state, 0o600)?;
        }
        let keys = &settings.env.bosh.authorized_keys;
        if !keys.is_empty() {
            users::authorize("vcap", keys, None).context("Setting up authorized keys")?;
        }
        Ok(())
    }

    fn vcap_group(&self) -> Option<Gid> {
        self.vcap
    }

    async fn mount(&self, disk: &Disk, at: &Path) -> Result<()> {
        let means = if self.machine.plain {
            directory_disk::Means::Link
        } else {
            directory_disk::Means::Mount
        };
        directory_disk::attach(&disk.path(), at, means)
    }

    async fn unmount(&self, at: &Path) -> Result<bool> {
        directory_disk::detach(at).await
    }

    fn is_mounted(&self, disk: &Disk, at: &Path) -> bool {
        directory_disk::is_attached(&disk.path(), at)
    }

    async fn create_user(&self, user: &str, homes: &Path, public_key: &str) -> Result<()> {
        users::create(user, homes, public_key).await
    }

    async fn delete_users(&self, expression: &str) -> Result<()> {
        users::delete(expression).await
    }

    fn host_public_key(&self) -> Result<String> {
        let mut problem = None;
        for kind in ["rsa", "ecdsa", "ed25519"] {
            match fs::read_to_string(format!("/etc/ssh/ssh_host_{kind}_key.pub")) {
                Ok(key) => return Ok(key.trim_end().to_owned()),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        Err(problem.map_or_else(|| Error::new("there is no host key"), plain))
    }

    fn hosts_file(&self) -> PathBuf {
        "/etc/hosts".into()
    }

    fn logrotate_file(&self) -> PathBuf {
        "/etc/logrotate.d/vcap".into()
    }

    fn own_address(&self) -> Option<String> {
        self.machine.address.clone()
    }

    fn system_logs(&self) -> PathBuf {
        "/var/log".into()
    }

    async fn trust_certificates(&self, pem: &str) -> Result<()> {
        let folder = Path::new(CERTIFICATES);
        let mut changed = false;
        if folder.is_dir() {
            for entry in fs::read_dir(folder).map_err(plain)? {
                let path = entry.map_err(plain)?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with("bosh-trusted-cert-") {
                    files::remove(&path)?;
                    changed = true;
                }
            }
        }
        for (index, certificate) in split_certificates(pem).iter().enumerate() {
            let path = folder.join(format!("bosh-trusted-cert-{}.crt", index + 1));
            files::replace(&path, certificate.as_bytes(), 0o644)?;
            changed = true;
        }
        if !changed {
            return Ok(()); // none before, none now: no need for the slow program
        }
        let mut outcome = Ok(());
        for _ in 0..3 {
            let update = users::run("update-ca-certificates", &["-f"], None);
            outcome = match tokio::time::timeout(Duration::from_secs(60), update).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Error::new(
                    "update-ca-certificates took more than 60 seconds",
                )),
            };
            if outcome.is_ok() {
                break;
            }
        }
        outcome.context("Updating certificates with retries")
    }

    async fn forget_neighbours(&self, ips: &[String]) {
        if self.machine.plain {
            return; // they are the host's
        }
        for ip in ips {
            if let Err(error) = users::run("ip", &["neigh", "flush", "to", ip], None).await {
                tracing::debug!(%ip, %error, "can't flush the neighbour entry");
            }
        }
    }

    async fn shutdown(&self) -> Result<()> {
        if self.machine.vm.is_some() {
            // The VM's init: it ends everything it started, and so the VM.
            return kill(getppid(), Signal::SIGTERM).context("Asking the VM's init to stop");
        }
        users::run("shutdown", &["-P", "0"], None).await
    }
}

/// In containers the hosts file is often a mount of its own, which can't be renamed over.
fn write_in_place(path: &Path, content: &str) -> Result<()> {
    files::replace(path, content.as_bytes(), 0o644)
        .or_else(|_| fs::write(path, content).map_err(plain))
}

fn split_certificates(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    bundle
        .split_inclusive(END)
        .filter_map(|part| {
            let start = part.find("-----BEGIN CERTIFICATE-----")?;
            Some(format!("{}\n", &part[start..]))
        })
        .collect()
}
