//! Scripts of jobs: how they are run, in parallel, and how their failures are told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::error::{Context, Error, Result};
use crate::sys;

/// What scripts find programs with.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a cancelled script may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// A script of one job.
#[derive(Debug, Clone)]
pub struct Script {
    /// The job.
    pub job: String,
    /// The file.
    pub path: PathBuf,
}

/// Runs scripts in parallel. All are run to their end whatever happens to the others.
pub async fn run_all<F, Fut>(name: &str, scripts: &[Script], run: F) -> Result<()>
where
    F: Fn(Script) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let outcomes = join_all(scripts.iter().cloned().map(&run)).await;
    let (mut failed, mut succeeded) = (Vec::new(), Vec::new());
    for (script, outcome) in scripts.iter().zip(outcomes) {
        match outcome {
            Ok(()) => succeeded.push(script.job.as_str()),
            Err(error) => {
                tracing::warn!(job = script.job, script = name, %error, "script failed");
                failed.push(script.job.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let mut text = format!(
        "{} of {} {name} scripts failed. Failed Jobs: {}.",
        failed.len(),
        scripts.len(),
        failed.join(", ")
    );
    if !succeeded.is_empty() {
        text.push_str(&format!(" Successful Jobs: {}.", succeeded.join(", ")));
    }
    Err(Error::new(text))
}

/// A script with its environment, in a process group of its own. `niceness` is added to the agent's.
pub fn command(path: &Path, env: &BTreeMap<String, String>, niceness: i32) -> Command {
    let mut command = Command::new(path);
    command.env("PATH", PATH).envs(env).stdin(Stdio::null());
    sys::own_group_bound_to_agent(&mut command, niceness);
    command
}

/// Starts it; the error reads as the original's.
pub fn spawn(command: &mut Command, path: &Path) -> Result<Child> {
    command.spawn().map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        let path = path.display();
        Error::new(format!(
            "Starting command '{path}': fork/exec {path}: {reason}"
        ))
    })
}

/// What a script printed and how it ended.
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code, or 128 and the signal.
    pub code: i64,
}

/// Runs a script to its end and collects what it prints. Cancelled, its process group is asked to end, and killed
/// after [`GRACE`].
pub async fn run_captured(
    path: &Path,
    mut command: Command,
    cancel: &CancellationToken,
) -> Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut command, path)?;
    let group = child.id();
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let reading = async {
        tokio::try_join!(
            async {
                match &mut out {
                    Some(stream) => stream.read_to_end(&mut stdout).await,
                    None => Ok(0),
                }
            },
            async {
                match &mut err {
                    Some(stream) => stream.read_to_end(&mut stderr).await,
                    None => Ok(0),
                }
            },
        )
    };
    let running = async {
        // A process that the script left behind may keep the streams open: the script's own end is what counts.
        let mut reading = std::pin::pin!(reading);
        tokio::select! {
            read = &mut reading => {
                read.context("Reading the script's output")?;
                child.wait().await.context("Waiting for the script")
            }
            status = child.wait() => {
                let _ = tokio::time::timeout(Duration::from_millis(200), reading).await;
                status.context("Waiting for the script")
            }
        }
    };
    let status = with_cancel(running, group, cancel).await?;
    Ok(Output {
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        code: code_of(status),
    })
}

async fn with_cancel(
    running: impl Future<Output = Result<ExitStatus>>,
    group: Option<u32>,
    cancel: &CancellationToken,
) -> Result<ExitStatus> {
    let mut running = std::pin::pin!(running);
    tokio::select! {
        status = &mut running => return status,
        () = cancel.cancelled() => signal_group(group, Signal::SIGTERM),
    }
    match tokio::time::timeout(GRACE, &mut running).await {
        Ok(status) => status,
        Err(_) => {
            signal_group(group, Signal::SIGKILL);
            running.await
        }
    }
}

fn signal_group(group: Option<u32>, signal: Signal) {
    if let Some(group) = group.and_then(|id| i32::try_from(id).ok()) {
        let _ = killpg(Pid::from_raw(group), signal);
    }
}

/// The exit code; 128 and the signal's number for a death by signal.
pub fn code_of(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => i64::from(code),
        (None, Some(signal)) => 128 + i64::from(signal),
        (None, None) => -1,
    }
}
