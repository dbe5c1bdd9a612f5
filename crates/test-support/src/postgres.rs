//! A private PostgreSQL cluster per test process and a fresh database per test.
//!
//! The cluster is made by the first test that needs one, listens on a free loopback port, keeps nothing
//! safe (`fsync=off`) and dies with the process. Run by root it runs as `postgres` or `nobody`, because
//! the server refuses to be root.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sqlx::{Connection, Executor, PgConnection};

struct Cluster {
    port: u16,
}

const PREFIX: &str = "bosun-test-pg-";

static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();

/// A fresh, empty database on the shared cluster. Left behind when the test ends: the cluster goes with
/// the process.
pub struct TestDatabase {
    url: String,
}

impl TestDatabase {
    /// Creates the database, starting the cluster if this is the first one.
    pub async fn create() -> anyhow::Result<TestDatabase> {
        let cluster = tokio::task::spawn_blocking(|| {
            CLUSTER.get_or_init(|| start().map_err(|error| format!("{error:#}")))
        })
        .await?;
        let cluster = cluster
            .as_ref()
            .map_err(|error| anyhow::anyhow!("test PostgreSQL: {error}"))?;
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&url(cluster.port, "postgres")).await?;
        admin
            .execute(sqlx::AssertSqlSafe(format!("create database {name}")))
            .await?;
        admin.close().await?;
        Ok(TestDatabase {
            url: url(cluster.port, &name),
        })
    }

    /// `postgres://…` of this database.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://bosun@127.0.0.1:{port}/{database}")
}

/// Deletes the folders of clusters whose server is dead: a test process can't do it for itself at its end.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // The first line of postmaster.pid is the server's pid; a folder without one may be just being made.
        let pid = std::fs::read_to_string(entry.path().join("data/postmaster.pid")).ok();
        let pid = pid
            .as_deref()
            .and_then(|text| text.lines().next())
            .map(str::to_owned);
        let age = entry
            .metadata()
            .and_then(|m| m.modified())
            .ok()
            .and_then(|t| t.elapsed().ok());
        // Young folders may be half made, whatever their pid file says.
        let old = age.is_some_and(|age| age > Duration::from_secs(120));
        let lives = pid.is_some_and(|pid| {
            // `initdb` runs the server alone and writes its pid with a minus sign.
            Path::new("/proc")
                .join(pid.trim().trim_start_matches('-'))
                .exists()
        });
        let dead = old && !lives;
        if dead {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn start() -> anyhow::Result<Cluster> {
    sweep();
    let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?.keep();
    let identity = unprivileged_identity()?;
    if let Some((uid, gid)) = identity {
        std::os::unix::fs::chown(&dir, Some(uid), Some(gid))?;
    }
    let data = dir.join("data");
    let bin = binaries()?;
    let made = command(&bin.join("initdb"), identity, None)
        .args([
            "-D",
            path(&data),
            "-U",
            "bosun",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .stdout(Stdio::null())
        .output()
        .context("initdb")?;
    if !made.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr));
    }
    let port = free_port()?;
    let mut server = command(&bin.join("postgres"), identity, Some(()));
    server
        .args([
            "-D",
            path(&data),
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-k",
            path(&dir),
        ])
        .args([
            "-c",
            "fsync=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "synchronous_commit=off",
        ])
        .args(["-c", "max_connections=200", "-c", "shared_buffers=32MB"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    crate::process::run_for_ever(server, vec![dir])?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() || !answers(&bin, port) {
        if Instant::now() > deadline {
            bail!("PostgreSQL did not answer on port {port} within 60 seconds");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Cluster { port })
}

fn answers(bin: &Path, port: u16) -> bool {
    Command::new(bin.join("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}

/// A program run under `setpriv`: as somebody who is not root, and told to die with us when `mortal`.
fn command(program: &Path, identity: Option<(u32, u32)>, mortal: Option<()>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((uid, gid)) = identity {
        command.args([
            format!("--reuid={uid}"),
            format!("--regid={gid}"),
            "--clear-groups".into(),
        ]);
    }
    if mortal.is_some() {
        // SIGINT is the server's fast shutdown.
        command.arg("--pdeathsig=INT");
    }
    command
        .arg("--")
        .arg(program)
        .stdin(Stdio::null())
        .current_dir("/");
    command
}

fn unprivileged_identity() -> anyhow::Result<Option<(u32, u32)>> {
    if !std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)? {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    for wanted in ["postgres", "nobody"] {
        let found = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|f| f[0] == wanted);
        if let Some(fields) = found {
            return Ok(Some((fields[2].parse()?, fields[3].parse()?)));
        }
    }
    bail!("PostgreSQL refuses to run as root and there is no user 'postgres' or 'nobody'")
}

fn binaries() -> anyhow::Result<PathBuf> {
    let packaged = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<PathBuf> = packaged.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    versions.reverse();
    versions.push("/usr/local/bin".into());
    versions.push("/usr/bin".into());
    versions
        .into_iter()
        .find(|dir| dir.join("initdb").exists())
        .context("PostgreSQL's initdb is not installed: apt-get install postgresql")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// A loopback port that nobody listens on now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
