//! The director's settings: one YAML file, read once at start.
//!
//! `main` calls [`Settings::load`]; nothing reads the environment or the file later. Unknown keys are refused
//! with their line. Every key is documented in `docs/operator.md`.

pub mod access;
pub mod cli;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::schedule::Cron;

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the settings can't be read; give the path of the director's settings file with --config"
    )]
    Read(#[source] std::io::Error),
    /// The source names the line, the column and the key.
    #[error("{file} is not a valid settings file: {source}; docs/operator.md lists all keys")]
    Parse {
        file: String,
        #[source]
        source: serde_yaml::Error,
    },
    #[error("{file}: {message}")]
    Invalid { file: String, message: String },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Shown by `/info`; part of absolute variable names.
    pub name: String,
    /// Generated at the first start and kept in the database when absent.
    pub uuid: Option<String>,
    /// Uploads under way, spools of CPI calls, caches. Nothing that is not also elsewhere.
    pub data_dir: PathBuf,
    pub listen: Listen,
    /// How clients and agents reach this API; default: from the listen address.
    pub public_url: Option<String>,
    pub database: Database,
    pub nats: Nats,
    #[serde(default)]
    pub users: Vec<User>,
    /// Users of a UAA instead of `users`.
    pub uaa: Option<access::Uaa>,
    /// A listener for metrics.
    pub metrics: Option<access::Metrics>,
    pub cpi: Cpi,
    pub blobstore: Blobstore,
    /// Tasks at a time.
    #[serde(default = "default_workers")]
    pub workers: usize,
    #[serde(default)]
    pub ruby: Ruby,
    /// Filter of the process's own log: `info`, `debug`, `bosun_director::tasks=debug,info`.
    #[serde(default = "default_log")]
    pub log: String,
    /// Seconds to wait for a new VM's agent (the original: 600).
    #[serde(default = "default_agent_wait")]
    pub agent_wait_timeout: u64,
    /// Record audit events (`bosh events`).
    #[serde(default = "yes")]
    pub record_events: bool,
    /// Ended tasks kept per type.
    #[serde(default = "default_max_tasks")]
    pub max_tasks: i64,
    /// Audit events kept.
    #[serde(default = "default_max_events")]
    pub max_events: i64,
    /// NTP servers handed to agents.
    #[serde(default)]
    pub ntp: Vec<String>,
    /// CA certificates (PEM) that every VM shall trust.
    #[serde(default)]
    pub trusted_certs: String,
    /// Names of the local DNS domain (`bosh`).
    #[serde(default = "default_dns_domain")]
    pub dns_domain: String,
    /// Take snapshots of persistent disks: after stops, by schedule, by `bosh take-snapshot`.
    #[serde(default)]
    pub enable_snapshots: bool,
    /// When snapshots of all deployments are taken.
    #[serde(default = "default_snapshot_schedule")]
    pub snapshot_schedule: Cron,
    #[serde(default)]
    pub disks: Disks,
    #[serde(default)]
    pub vms: Vms,
    /// Agents are reached for heartbeats: silence longer than this (seconds) is "unresponsive".
    #[serde(default = "default_agent_timeout")]
    pub agent_timeout: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    pub address: IpAddr,
    pub port: u16,
    /// Absent: plain HTTP, on loopback only.
    pub tls: Option<KeyPair>,
    /// Callers with a certificate, besides those with a password or token. Needs `tls`.
    pub client_certificates: Option<access::ClientCertificates>,
}

/// Paths of PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://user:password@host:port/name` (or with `?host=/socket/dir`).
    pub url: Option<Secret<String>>,
    /// A file that holds the URL, for those who keep secrets out of settings.
    pub url_file: Option<PathBuf>,
    #[serde(default = "default_connections")]
    pub max_connections: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    pub urls: Vec<String>,
    /// CA of the server's certificate (PEM file); handed to agents too.
    pub ca: PathBuf,
    /// The director's own certificate, CN `default.director.bosh-internal`.
    pub client: KeyPair,
    /// The CA that signs agents' certificates.
    pub agent_ca: KeyPair,
    /// File that the server includes; the director writes the permissions of all agents into it. Absent: the
    /// server authorises by other means.
    pub authorization_file: Option<PathBuf>,
    pub reload: Option<NatsReload>,
    /// How agents reach the server; default: the first of `urls`.
    pub agent_url: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsReload {
    /// The server's pid file; it gets SIGHUP after each change.
    pub pid_file: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    /// PHC string of `bosun-director hash-password`.
    pub password_hash: Secret<String>,
    /// Absent: `["bosh.admin"]`.
    pub scopes: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpi {
    /// Shown by `/info`; default: the executable's file name.
    pub name: Option<String>,
    /// The executable, CPI contract v1 or v2.
    pub path: PathBuf,
    /// Sent in the context of every call.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// Environment of the executable, besides PATH.
    #[serde(default)]
    pub env: std::collections::BTreeMap<String, String>,
    /// Seconds after which a call is given up.
    #[serde(default = "default_cpi_timeout")]
    pub timeout: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blobstore {
    /// `local`, `dav` or `s3`.
    pub provider: String,
    /// As agents know them for the provider; `local`: `blobstore_path`.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// How agents reach the director's `/signed/` URLs; default: `public_url`.
    pub agent_url: Option<String>,
    /// Key of signed URLs.
    pub secret: Option<Secret<String>>,
    pub secret_file: Option<PathBuf>,
}

/// Clean-up of orphaned disks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disks {
    /// Days that an orphaned disk is kept.
    pub max_orphaned_age_in_days: u32,
    pub cleanup_schedule: Cron,
}

impl Default for Disks {
    fn default() -> Disks {
        Disks {
            max_orphaned_age_in_days: 5,
            cleanup_schedule: Cron::fixed("0 0,30 * * * * UTC"),
        }
    }
}

/// Clean-up of orphaned VMs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vms {
    pub cleanup_schedule: Cron,
}

impl Default for Vms {
    fn default() -> Vms {
        Vms {
            cleanup_schedule: Cron::fixed("*/5 * * * * UTC"),
        }
    }
}

fn default_snapshot_schedule() -> Cron {
    Cron::fixed("0 0 7 * * * UTC")
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruby {
    /// The interpreter; looked up in PATH.
    #[serde(default = "default_ruby")]
    pub path: PathBuf,
    /// Rendering processes; started when first needed.
    #[serde(default = "default_ruby_workers")]
    pub workers: usize,
    /// Seconds that one job's templates may take.
    #[serde(default = "default_ruby_timeout")]
    pub timeout: u64,
}

impl Default for Ruby {
    fn default() -> Ruby {
        Ruby {
            path: default_ruby(),
            workers: default_ruby_workers(),
            timeout: default_ruby_timeout(),
        }
    }
}

fn default_workers() -> usize {
    3
}
fn default_log() -> String {
    "info".into()
}
fn default_agent_wait() -> u64 {
    600
}
fn yes() -> bool {
    true
}
fn default_max_tasks() -> i64 {
    2000
}
fn default_max_events() -> i64 {
    10_000
}
fn default_dns_domain() -> String {
    "bosh".into()
}
fn default_agent_timeout() -> u64 {
    60
}
fn default_connections() -> u32 {
    16
}
fn default_cpi_timeout() -> u64 {
    1800
}
fn default_ruby() -> PathBuf {
    "ruby".into()
}
fn default_ruby_workers() -> usize {
    2
}
fn default_ruby_timeout() -> u64 {
    60
}

impl Settings {
    /// Reads and checks a settings file. Relative paths are taken from the file's folder.
    pub fn load(file: &Path) -> Result<Settings, Error> {
        let text = fs_err::read_to_string(file).map_err(Error::Read)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        Settings::parse(&text, &file.display().to_string(), folder)
    }

    /// The same from a text; `file` is its name in errors.
    pub fn parse(text: &str, file: &str, folder: &Path) -> Result<Settings, Error> {
        let mut settings: Settings = serde_yaml::from_str(text).map_err(|source| Error::Parse {
            file: file.to_owned(),
            source,
        })?;
        settings.resolve(folder).map_err(|message| Error::Invalid {
            file: file.to_owned(),
            message,
        })?;
        Ok(settings)
    }

    fn resolve(&mut self, folder: &Path) -> Result<(), String> {
        let absolute = |path: &mut PathBuf| {
            if path.is_relative() {
                *path = folder.join(&*path);
            }
        };
        absolute(&mut self.data_dir);
        let pairs = [
            Some(&mut self.nats.client),
            Some(&mut self.nats.agent_ca),
            self.listen.tls.as_mut(),
            self.metrics.as_mut().map(|metrics| &mut metrics.tls),
        ];
        for pair in pairs.into_iter().flatten() {
            absolute(&mut pair.certificate);
            absolute(&mut pair.private_key);
        }
        absolute(&mut self.nats.ca);
        if let Some(file) = &mut self.nats.authorization_file {
            absolute(file);
        }
        if let Some(reload) = &mut self.nats.reload {
            absolute(&mut reload.pid_file);
        }
        absolute(&mut self.cpi.path);
        self.database.url_file.as_mut().map(absolute);
        self.blobstore.secret_file.as_mut().map(absolute);
        if let Some(metrics) = &mut self.metrics {
            absolute(&mut metrics.client_ca);
        }
        if let Some(certificates) = &mut self.listen.client_certificates {
            absolute(&mut certificates.ca);
            if self.listen.tls.is_none() {
                return Err("listen.client_certificates needs listen.tls: certificates are shown in a TLS handshake".into());
            }
            certificates.check()?;
        }
        if let Some(uaa) = &mut self.uaa {
            uaa.resolve(absolute)?;
            if !self.users.is_empty() {
                return Err("users and uaa are both given: with a UAA, all users are the UAA's; remove users".into());
            }
        }

        if self.listen.tls.is_none() && !self.listen.address.is_loopback() {
            return Err(format!(
                "listen.tls is missing: plain HTTP is allowed on a loopback address only, not on {}",
                self.listen.address
            ));
        }
        self.database.url = Some(secret(
            "database.url",
            self.database.url.take(),
            self.database.url_file.as_deref(),
        )?);
        if self.blobstore.secret.is_some() || self.blobstore.secret_file.is_some() {
            let blobs = &mut self.blobstore;
            blobs.secret = Some(secret(
                "blobstore.secret",
                blobs.secret.take(),
                blobs.secret_file.as_deref(),
            )?);
        }
        if !["local", "dav", "s3"].contains(&self.blobstore.provider.as_str()) {
            return Err(format!(
                "blobstore.provider is '{}': use local, dav or s3",
                self.blobstore.provider
            ));
        }
        if self.blobstore.provider == "local" && self.blobstore.secret.is_none() {
            return Err("blobstore.secret (or secret_file) is missing: it signs the URLs that agents fetch blobs with".into());
        }
        if self.nats.urls.is_empty() {
            return Err(
                "nats.urls is empty: name at least one server, like tls://127.0.0.1:4222".into(),
            );
        }
        if self.name.is_empty() {
            return Err("name is empty: it names the director in /info and in variables".into());
        }
        for user in &self.users {
            argon2::password_hash::phc::PasswordHash::new(user.password_hash.expose()).map_err(|_| {
                format!("users: the password_hash of '{}' is no hash; make one with bosun-director hash-password", user.name)
            })?;
        }
        Ok(())
    }

    /// The database's URL. A secret.
    pub fn database_url(&self) -> &str {
        self.database.url.as_ref().map_or("", |url| url.expose())
    }

    /// Base of the API's URLs as clients use them, without a slash at the end.
    pub fn public_url(&self) -> String {
        let url = self.public_url.clone().unwrap_or_else(|| {
            let scheme = if self.listen.tls.is_some() {
                "https"
            } else {
                "http"
            };
            format!(
                "{scheme}://{}",
                std::net::SocketAddr::new(self.listen.address, self.listen.port)
            )
        });
        url.trim_end_matches('/').to_owned()
    }

    /// Base of signed blob URLs as agents use them.
    pub fn blob_url(&self) -> String {
        let url = self
            .blobstore
            .agent_url
            .clone()
            .unwrap_or_else(|| self.public_url());
        url.trim_end_matches('/').to_owned()
    }

    /// How agents reach NATS.
    pub fn agent_nats_url(&self) -> String {
        self.nats
            .agent_url
            .clone()
            .unwrap_or_else(|| self.nats.urls[0].clone())
    }

    /// The CPI's name in `/info`.
    pub fn cpi_name(&self) -> String {
        self.cpi.name.clone().unwrap_or_else(|| {
            self.cpi
                .path
                .file_name()
                .map_or_else(|| "cpi".into(), |name| name.to_string_lossy().into_owned())
        })
    }

    pub fn agent_wait_timeout(&self) -> Duration {
        Duration::from_secs(self.agent_wait_timeout)
    }
}

fn secret(
    key: &str,
    given: Option<Secret<String>>,
    file: Option<&Path>,
) -> Result<Secret<String>, String> {
    match (given, file) {
        (Some(_), Some(_)) => Err(format!("{key} and {key}_file are both given: keep one")),
        (Some(value), None) => Ok(value),
        (None, Some(file)) => fs_err::read_to_string(file)
            .map(|text| Secret::new(text.trim().to_owned()))
            .map_err(|error| format!("{key}_file: {error}")),
        (None, None) => Err(format!("{key} (or {key}_file) is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "\
name: d
data_dir: data
listen: {address: 127.0.0.1, port: 25555}
database: {url: 'postgres://localhost/d'}
nats:
  urls: ['tls://127.0.0.1:4222']
  ca: ca.pem
  client: {certificate: c.pem, private_key: c.key}
  agent_ca: {certificate: a.pem, private_key: a.key}
cpi: {path: /cpi}
blobstore: {provider: local, options: {blobstore_path: blobs}, secret: s3cret}
";

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = format!("{MINIMAL}workerz: 3\n");
        let error = Settings::parse(&text, "director.yml", Path::new("/etc/bosun"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("workerz") && error.contains("line 12"),
            "{error}"
        );
    }

    #[test]
    fn paths_are_relative_to_the_file_and_secrets_stay_hidden() {
        let settings = Settings::parse(MINIMAL, "director.yml", Path::new("/etc/bosun")).unwrap();
        assert_eq!(settings.data_dir, Path::new("/etc/bosun/data"));
        assert_eq!(
            settings.nats.client.certificate,
            Path::new("/etc/bosun/c.pem")
        );
        assert!(!format!("{settings:?}").contains("s3cret"));
        assert_eq!(settings.public_url(), "http://127.0.0.1:25555");
    }

    #[test]
    fn plain_http_is_refused_off_loopback() {
        let text = MINIMAL.replace("127.0.0.1, port", "0.0.0.0, port");
        let error = Settings::parse(&text, "director.yml", Path::new("/"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("listen.tls"), "{error}");
    }
}
