//! A private Postgres cluster: made when it is not there, reached only through a Unix socket in a folder that no
//! other user may enter.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User, chown};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::process::{Child, Command};

use crate::process::{self, Error};

/// Bytes that the path of a Unix socket may have on Linux, without the final zero.
const SOCKET_PATH_LIMIT: usize = 107;
/// The superuser of a cluster made here.
const SUPERUSER: &str = "bosun";
const PACKAGE: &str = "postgresql";
/// For a dead server to be taken off the process table.
const REAPED_WITHIN: Duration = Duration::from_secs(20);

/// Where a cluster lives and how it runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for everything: the cluster in `data`, the socket, the log. Every folder above it must let other
    /// users pass: Postgres refuses to run as root, so for root it runs as the user `postgres`.
    pub dir: PathBuf,
    /// Data may be lost when the machine dies. For tests only: three times faster.
    pub volatile: bool,
    /// The server ends when the thread that started it ends, also when its process is killed. For tests.
    pub mortal: bool,
}

/// A running cluster. Dropping it leaves the process; [`Postgres::stop`] ends it.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    child: Child,
}

impl Postgres {
    /// Makes the cluster when the folder has none, starts it and waits until it answers. A server of this folder that
    /// an earlier process left behind is ended first.
    pub async fn start(options: Options) -> Result<Postgres, Error> {
        let bin = bin_dir()?;
        let dir = options.dir;
        let socket = dir.join(".s.PGSQL.5432");
        if socket.as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err(Error::PathTooLong {
                path: socket,
                limit: SOCKET_PATH_LIMIT,
            });
        }
        let owner = server_user()?;
        fs_err::create_dir_all(&dir)?;
        fs_err::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        let log = dir.join("postgres.log");
        if let Some(owner) = &owner {
            chown(&dir, Some(owner.uid), Some(owner.gid)).map_err(std::io::Error::from)?;
        }
        let data = dir.join("data");
        if !data.join("PG_VERSION").exists() {
            init(&bin, &data, owner.as_ref(), &log, options.volatile).await?;
        }
        stop_left_over(&data).await;

        let last_signal = options.mortal.then_some(Signal::SIGINT);
        let mut command = as_user(&bin.join("postgres"), owner.as_ref(), last_signal);
        command.arg("-D").arg(&data).arg("-k").arg(&dir);
        for setting in [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=200",
        ] {
            command.args(["-c", setting]);
        }
        if options.volatile {
            for setting in [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "shared_buffers=32MB",
            ] {
                command.args(["-c", setting]);
            }
        }
        let mut child = process::spawn(command, &log)?;
        let connect = connect_options(&dir, "postgres");
        process::wait_ready(
            "postgres",
            &mut child,
            &log,
            Duration::from_secs(60),
            || async {
                let connection = connect.connect().await.map_err(|error| error.to_string())?;
                connection.close().await.map_err(|error| error.to_string())
            },
        )
        .await?;
        Ok(Postgres { dir, child })
    }

    /// The URL of a database of this cluster, for sqlx.
    pub fn url(&self, database: &str) -> String {
        url(&self.dir, database)
    }

    /// Makes a database when it is not there.
    pub async fn ensure_database(&self, name: &str) -> Result<(), Error> {
        ensure_database(&self.dir, name).await
    }

    /// The process id of the server.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the server ends by itself.
    pub async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// Ends the server: open transactions are rolled back, what was committed is on the disk.
    pub async fn stop(&mut self) -> std::io::Result<()> {
        process::stop(&mut self.child, Signal::SIGINT, Duration::from_secs(30)).await
    }
}

/// Makes a database when it is not there, on the running cluster in a folder.
pub async fn ensure_database(dir: &Path, name: &str) -> Result<(), Error> {
    let mut connection = connect_options(dir, "postgres")
        .connect()
        .await
        .map_err(Error::Database)?;
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .map_err(Error::Database)?;
    if !there {
        let statement = format!("create database \"{}\"", name.replace('"', "\"\""));
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .map_err(Error::Database)?;
    }
    connection.close().await.map_err(Error::Database)
}

/// The URL of a database of the cluster in a folder, whether it runs or not.
pub fn url(dir: &Path, database: &str) -> String {
    let host: String = dir
        .to_string_lossy()
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    format!("postgres://{SUPERUSER}@localhost/{database}?host={host}")
}

fn connect_options(dir: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(dir)
        .username(SUPERUSER)
        .database(database)
}

/// The newest of Debian's versioned folders of Postgres programs.
fn bin_dir() -> Result<PathBuf, Error> {
    let mut found: Vec<(u32, PathBuf)> = fs_err::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| {
                    Some((
                        entry.file_name().to_str()?.parse().ok()?,
                        entry.path().join("bin"),
                    ))
                })
                .filter(|(_, bin)| bin.join("postgres").exists() && bin.join("initdb").exists())
                .collect()
        })
        .unwrap_or_default();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return Ok(bin);
    }
    let postgres = process::find_program("postgres", PACKAGE)?;
    let real = fs_err::canonicalize(postgres)?;
    Ok(real.parent().map(Path::to_owned).unwrap_or_default())
}

/// The user that the server runs as, when it can't be the caller.
fn server_user() -> Result<Option<User>, Error> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    User::from_name("postgres")
        .map_err(std::io::Error::from)?
        .map(Some)
        .ok_or_else(|| Error::Missing {
            program: "the user postgres".to_owned(),
            package: PACKAGE.to_owned(),
        })
}

fn as_user(program: &Path, user: Option<&User>, last_signal: Option<Signal>) -> Command {
    let mut command = process::command(program, last_signal);
    // The server needs nothing of the caller's environment, which may hold secrets.
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/");
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

async fn init(
    bin: &Path,
    data: &Path,
    user: Option<&User>,
    log: &Path,
    volatile: bool,
) -> Result<(), Error> {
    // An earlier try that was cut off left a folder that initdb would refuse.
    if data.exists() {
        fs_err::remove_dir_all(data)?;
    }
    let mut command = as_user(&bin.join("initdb"), user, None);
    command.arg("-D").arg(data).args([
        "-U",
        SUPERUSER,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
    ]);
    if volatile {
        command.arg("--no-sync");
    }
    let mut child = process::spawn(command, log)?;
    let status = child.wait().await?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        program: "initdb".to_owned(),
        detail: format!("it ended with {status}"),
        log: log.to_owned(),
    })
}

/// Ends a server that still runs on the cluster: its watcher was killed, and its shared memory would keep a new one
/// from starting.
async fn stop_left_over(data: &Path) {
    let Ok(text) = fs_err::read_to_string(data.join("postmaster.pid")) else {
        return;
    };
    let Some(pid) = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<i32>().ok())
    else {
        return;
    };
    // One that was killed a moment ago may still wait for its parent's notice. Postgres would take it for running.
    let until = tokio::time::Instant::now() + REAPED_WITHIN;
    while process::is_zombie(pid) && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let command = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ours = String::from_utf8_lossy(&command).contains(&*data.to_string_lossy());
    if ours && process::stop_pid(pid, Signal::SIGINT, Duration::from_secs(30)).await {
        tracing::info!(pid, "ended a Postgres server that was left behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_keeps_its_databases_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = Options {
            dir: folder.path().join("pg"),
            volatile: true,
            mortal: false,
        };
        let mut postgres = Postgres::start(options.clone()).await.unwrap();
        postgres.ensure_database("one").await.unwrap();
        postgres.ensure_database("one").await.unwrap();
        postgres.stop().await.unwrap();

        let mut postgres = Postgres::start(options).await.unwrap();
        let mut connection = sqlx::PgConnection::connect(&postgres.url("one"))
            .await
            .unwrap();
        let name: String = sqlx::query_scalar("select current_database()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(name, "one");
        postgres.stop().await.unwrap();
    }

    #[test]
    fn a_url_escapes_what_a_folder_may_be_called() {
        assert_eq!(
            url(Path::new("/a b/ü"), "x"),
            "postgres://bosun@localhost/x?host=/a%20b/%C3%BC"
        );
    }
}
