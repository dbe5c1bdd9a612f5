//! The right to log in: a key pair and a user of its own, given to the instances and taken away again; or a
//! key and user that somebody already has.

use super::super::Session;
use crate::commands::slugs::PoolOrInstanceSlug;
use crate::config::Paths;
use crate::error::{Error, Result, Within};
use director_client::{SshHost, SshTarget};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Hosts that let the user in.
pub struct Access {
    user: String,
    hosts: Vec<SshHost>,
    keys: Keys,
}

enum Keys {
    /// Made for this session; the files are gone when it is dropped.
    Own {
        private_key: NamedTempFile,
        known_hosts: NamedTempFile,
        targets: Vec<SshTarget>,
    },
    /// Given by the user; the hosts' keys are not known.
    Given(PathBuf),
}

impl Access {
    /// Makes a key pair and has the director give it to the instances. What a failure leaves behind is taken away again.
    pub async fn open(session: &Session, slugs: Vec<PoolOrInstanceSlug>) -> Result<Self> {
        let deployment = session.deployment()?;
        let paths = Paths::prepare()?;
        let (private_key, public_key) = key_pair(paths.tmp()).await?;
        let user = format!("bosh_{}", &uuid::Uuid::new_v4().simple().to_string()[..15]);
        let mut access = Access {
            user,
            hosts: Vec::new(),
            keys: Keys::Own {
                private_key,
                known_hosts: private_file(paths.tmp(), "ssh-known-hosts")?,
                targets: Vec::new(),
            },
        };
        for slug in &slugs {
            let set_up = access.set_up(session, deployment, slug, &public_key).await;
            if let Err(error) = set_up {
                access.close(session).await;
                return Err(error);
            }
        }
        let text = known_hosts_text(&access.hosts);
        if let Keys::Own { known_hosts, .. } = &mut access.keys {
            known_hosts.write_all(text.as_bytes())?;
        }
        Ok(access)
    }

    /// Uses a user and key that the instance knows already; the director is only asked for the address.
    pub async fn direct(
        session: &Session,
        slug: &PoolOrInstanceSlug,
        user: &str,
        private_key: &str,
    ) -> Result<Self> {
        let what = slug.to_string();
        let rows = session.client.instance_rows(session.deployment()?).await?;
        let mut matching = rows.into_iter().filter(|row| {
            let index = row.index.map(|index| index.to_string());
            let ids = [row.id.as_deref(), index.as_deref()];
            let ips = row.ips.as_deref().unwrap_or_default();
            slug.means(row.job.as_deref(), ids, ips)
        });
        let row = match (matching.next(), matching.next()) {
            (Some(row), None) => row,
            (None, _) => {
                return Err(Error::message(format!("Instance {what} has no active VM")));
            }
            _ => {
                return Err(Error::message(format!(
                    "Instance {what} refers to more than 1 VM"
                )));
            }
        };
        let cid = row
            .cid
            .ok_or_else(|| Error::message(format!("Instance {what} has no active VM")))?;
        let ip = row
            .ips
            .unwrap_or_default()
            .into_iter()
            .next()
            .ok_or_else(|| Error::message(format!("VM {cid} has no IP address")))?;
        let host = SshHost {
            job: row.job.unwrap_or_default(),
            id: row.id.unwrap_or_default(),
            ip,
            ..SshHost::default()
        };
        Ok(Access {
            user: user.to_owned(),
            hosts: vec![host],
            keys: Keys::Given(PathBuf::from(private_key)),
        })
    }

    async fn set_up(
        &mut self,
        session: &Session,
        deployment: &str,
        slug: &PoolOrInstanceSlug,
        public_key: &str,
    ) -> Result<()> {
        let target = target(session, deployment, slug).await?;
        let hosts = session
            .client
            .setup_ssh(
                deployment,
                &target,
                &self.user,
                public_key,
                &session.reporter,
            )
            .await?;
        if let Keys::Own { targets, .. } = &mut self.keys {
            targets.push(target);
        }
        let what = slug.to_string();
        if hosts.is_empty() {
            return Err(Error::message(format!(
                "Did not create any SSH sessions for the instances '{what}'"
            )));
        }
        if hosts.iter().any(|host| host.status != "success") {
            return Err(Error::message(format!(
                "Failed to set up SSH session for one of the instances '{what}'"
            )));
        }
        for host in hosts {
            // Two arguments may mean the same instance. Hosts without an id are told apart by their address.
            let is_same = |known: &SshHost| known.id == host.id && known.ip == host.ip;
            if !self.hosts.iter().any(is_same) {
                self.hosts.push(host);
            }
        }
        Ok(())
    }

    /// Takes the user away. Failing to is told, but is no failure of what was done.
    pub async fn close(&self, session: &Session) {
        let (Ok(deployment), Keys::Own { targets, .. }) = (session.deployment(), &self.keys) else {
            return;
        };
        for target in targets {
            let result = session
                .client
                .cleanup_ssh(deployment, target, &self.user)
                .await;
            if let Err(error) = result {
                session.ui.error_line(Error::from(error).render());
            }
        }
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn hosts(&self) -> &[SshHost] {
        &self.hosts
    }

    pub fn private_key(&self) -> &Path {
        match &self.keys {
            Keys::Own { private_key, .. } => private_key.path(),
            Keys::Given(path) => path,
        }
    }

    /// The file with the hosts' keys, if they are known.
    pub fn known_hosts(&self) -> Option<&Path> {
        match &self.keys {
            Keys::Own { known_hosts, .. } => Some(known_hosts.path()),
            Keys::Given(_) => None,
        }
    }
}

/// The instances meant; an IP address is looked up first.
async fn target(
    session: &Session,
    deployment: &str,
    slug: &PoolOrInstanceSlug,
) -> Result<SshTarget> {
    let named = SshTarget {
        group: slug.group.clone(),
        ids: slug.id.iter().cloned().collect(),
    };
    let (Some(address), None) = (&slug.group, &slug.id) else {
        return Ok(named);
    };
    if address.parse::<IpAddr>().is_err() {
        return Ok(named);
    }
    let rows = session.client.instance_rows(deployment).await?;
    let row = rows
        .into_iter()
        .find(|row| row.ips.iter().flatten().any(|ip| ip == address))
        .ok_or_else(|| {
            Error::message(format!(
                "Deployment '{deployment}' has no instance with the IP address '{address}'"
            ))
        })?;
    Ok(SshTarget {
        group: row.job,
        ids: row.id.into_iter().collect(),
    })
}

fn private_file(folder: &Path, prefix: &str) -> Result<NamedTempFile> {
    Ok(tempfile::Builder::new()
        .prefix(prefix)
        .tempfile_in(folder)?)
}

/// A 2048-bit RSA pair made by ssh-keygen, which comes with ssh: the file with the private key, and the
/// public one as a line of authorized_keys without comment. RSA, because every stemcell takes it.
async fn key_pair(folder: &Path) -> Result<(NamedTempFile, String)> {
    let making = tempfile::Builder::new()
        .prefix("ssh-key-pair")
        .tempdir_in(folder)?;
    let path = making.path().join("key");
    let output = tokio::process::Command::new("ssh-keygen")
        .args([
            "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-C", "", "-f",
        ])
        .arg(&path)
        .output()
        .await
        .within(|| "Running 'ssh-keygen'; install the package openssh-client")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned();
        return Err(Error::message(text).within("Generating an SSH key pair"));
    }
    let public = fs_err::read_to_string(path.with_extension("pub"))?;
    let mut private = private_file(folder, "ssh-priv-key")?;
    private.write_all(&fs_err::read(&path)?)?;
    Ok((private, format!("{}\n", public.trim_end())))
}

/// `<ip> <host key>` lines; an IPv6 address in the canonical form too, which is what ssh looks for.
fn known_hosts_text(hosts: &[SshHost]) -> String {
    let mut lines = BTreeSet::new();
    for host in hosts.iter().filter(|host| !host.host_public_key.is_empty()) {
        let key = host.host_public_key.trim_end();
        lines.insert(format!("{} {key}\n", host.ip));
        if let Ok(address) = host.ip.parse::<Ipv6Addr>() {
            lines.insert(format!("{address} {key}\n"));
        }
    }
    lines.into_iter().collect()
}
