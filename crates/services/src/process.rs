//! Finding programs, starting and ending them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// What can go wrong with a server process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed.
    #[error("{program} is not installed. Install it: apt-get install {package}")]
    Missing { program: String, package: String },
    /// A program could not be run or gave up.
    #[error("{program} failed: {detail}. Its log is {log}")]
    Failed {
        program: String,
        detail: String,
        log: PathBuf,
    },
    /// A program did not get ready in time.
    #[error("{program} was not ready after {seconds} s: {detail}. Its log is {log}")]
    NotReady {
        program: String,
        seconds: u64,
        detail: String,
        log: PathBuf,
    },
    /// A path is too long for a Unix socket.
    #[error(
        "the path {path} is too long for a Unix socket (at most {limit} bytes). Choose a shorter data folder"
    )]
    PathTooLong { path: PathBuf, limit: usize },
    /// A file or folder could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database refused a statement.
    #[error("the database could not be prepared")]
    Database(#[source] sqlx::Error),
}

/// The full path of a program: in `PATH`, or in a folder where Debian puts servers.
pub fn find_program(name: &str, package: &str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Missing {
            program: name.to_owned(),
            package: package.to_owned(),
        })
}

/// A TCP port that was free on the address a moment ago.
pub fn free_port(address: &str) -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind((address, 0))?
        .local_addr()?
        .port())
}

/// A command that runs a program; with a signal, the kernel sends it that one when the thread that started it ends.
pub(crate) fn command(program: &Path, last_signal: Option<Signal>) -> Command {
    let Some(signal) = last_signal else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!(
            "--pdeathsig={}",
            signal.as_str().trim_start_matches("SIG")
        ))
        .arg("--")
        .arg(program);
    command
}

/// Starts a server with its output in a file and in a process group of its own, so that a Ctrl-C on the terminal
/// reaches only who watches it.
pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Child, Error> {
    let output = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?
        .into_file();
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0);
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    command.spawn().map_err(|error| Error::Failed {
        program,
        detail: error.to_string(),
        log: log.to_owned(),
    })
}

/// Repeats a check until it succeeds, the process ends or the time is over.
pub(crate) async fn wait_ready<F, Fut>(
    program: &str,
    child: &mut Child,
    log: &Path,
    limit: Duration,
    mut check: F,
) -> Result<(), Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), String>>,
{
    let until = Instant::now() + limit;
    loop {
        let detail = match check().await {
            Ok(()) => return Ok(()),
            Err(detail) => detail,
        };
        if let Some(status) = child.try_wait()? {
            return Err(Error::Failed {
                program: program.to_owned(),
                detail: format!("it ended with {status}; {}", last_line(log)),
                log: log.to_owned(),
            });
        }
        if Instant::now() > until {
            return Err(Error::NotReady {
                program: program.to_owned(),
                seconds: limit.as_secs(),
                detail,
                log: log.to_owned(),
            });
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

fn last_line(log: &Path) -> String {
    fs_err::read_to_string(log)
        .ok()
        .and_then(|text| {
            text.lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .map(str::to_owned)
        })
        .unwrap_or_else(|| "it wrote nothing".to_owned())
}

/// Sends a signal to a child and waits for its end; after the time limit it is killed.
pub(crate) async fn stop(
    child: &mut Child,
    signal: Signal,
    limit: Duration,
) -> std::io::Result<()> {
    let Some(pid) = child.id() else { return Ok(()) };
    // An error means it is gone already, which is what is wanted.
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
    if tokio::time::timeout(limit, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

/// Ends a process that is not a child of this one, and waits until it is gone: first by the signal, after the time
/// limit by force. Returns whether there was one.
pub async fn stop_pid(pid: i32, signal: Signal, limit: Duration) -> bool {
    let pid = Pid::from_raw(pid);
    if kill(pid, signal).is_err() {
        return false;
    }
    let until = Instant::now() + limit;
    while kill(pid, None).is_ok() {
        if Instant::now() > until {
            let _ = kill(pid, Signal::SIGKILL);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// Whether a process has ended and its parent has not noticed yet.
pub(crate) fn is_zombie(pid: i32) -> bool {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold anything.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}
