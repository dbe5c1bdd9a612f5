//! Processes of jobs: found by pid file, told apart from later ones with the same pid, watched by pidfd.
//!
//! A pidfd becomes readable when its process ends, whoever its parent is, so a restarted agent watches the processes
//! of the one before it, and nothing is polled. Works without `/proc`, where the inode of the pidfd tells processes
//! apart (Linux 6.9 and later) instead of their start time.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::config::Program;
use crate::sys;

/// What distinguishes a process from a later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The pid.
    pub pid: i32,
    /// Clock ticks from boot to its start, from `/proc`.
    start: Option<u64>,
    /// Inode of its pidfd, where that is unique.
    inode: Option<u64>,
}

impl Identity {
    /// Whether both may be the same process: what both know must be equal.
    fn may_be(&self, other: &Self) -> bool {
        fn agree(a: Option<u64>, b: Option<u64>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        self.pid == other.pid && agree(self.start, other.start) && agree(self.inode, other.inode)
    }
}

/// What is kept of a process, also after the agent or the process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    identity: Identity,
    /// When the pid file was written, in nanoseconds: a newer file may name the same pid again.
    written: i64,
}

/// A live process of a job.
#[derive(Debug, Clone)]
pub struct Process {
    /// Which one.
    pub identity: Identity,
    written: i64,
    watch: Watch,
}

#[derive(Debug, Clone)]
enum Watch {
    Pidfd(Arc<OwnedFd>),
    /// Kernels without pidfd_open(2): ask now and then.
    Signal,
}

/// Between two looks for kernels that can't notify.
const POLL: Duration = Duration::from_millis(500);

/// `pidfd`s have a file system of their own since Linux 6.9, with an inode per process.
const PID_FS_MAGIC: i64 = 0x5049_4446;

impl Process {
    /// The live process that the pid file names; `None` if there is none, or if it can't be the job's: it has the
    /// pid of the remembered one, which is another process now.
    pub fn find(pidfile: &Path, remembered: Option<&Remembered>) -> Option<Self> {
        let text = fs::read_to_string(pidfile).ok()?;
        let pid: i32 = text.split_whitespace().next()?.parse().ok()?;
        let written = written(pidfile)?;
        let (identity, watch) = open(pid)?;
        if let Some(remembered) = remembered
            && remembered.written == written
            && remembered.identity.pid == pid
            && !remembered.identity.may_be(&identity)
        {
            return None;
        }
        Some(Self {
            identity,
            written,
            watch,
        })
    }

    /// What to keep of it.
    pub fn remember(&self) -> Remembered {
        Remembered {
            identity: self.identity.clone(),
            written: self.written,
        }
    }

    /// Returns when the process has ended.
    pub async fn ended(&self) {
        match &self.watch {
            Watch::Pidfd(fd) => match sys::when_readable(fd.clone()) {
                Ok(fd) => {
                    let _ = fd.readable().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "can't wait for a pidfd, polling it");
                    while is_live(fd) {
                        tokio::time::sleep(POLL).await;
                    }
                }
            },
            Watch::Signal => {
                while signal(self.identity.pid, None) {
                    tokio::time::sleep(POLL).await;
                }
            }
        }
    }

    /// Whether it still runs.
    pub fn is_live(&self) -> bool {
        match &self.watch {
            Watch::Pidfd(fd) => is_live(fd),
            Watch::Signal => signal(self.identity.pid, None),
        }
    }

    /// How long it has run, if `/proc` tells.
    pub fn age(&self) -> Option<Duration> {
        let start = self.identity.start? as f64 / TICKS_PER_SECOND;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
        Duration::try_from_secs_f64(uptime - start).ok()
    }

    /// Asks it to end, or ends it.
    fn kill(&self, with: Signal) {
        match &self.watch {
            Watch::Pidfd(fd) => {
                let with = match with {
                    Signal::SIGKILL => rustix::process::Signal::KILL,
                    _ => rustix::process::Signal::TERM,
                };
                let _ = rustix::process::pidfd_send_signal(fd, with);
            }
            Watch::Signal => {
                signal(self.identity.pid, Some(with));
            }
        }
    }
}

/// The unit of times in `/proc/<pid>/stat`: 100 on every Linux.
pub const TICKS_PER_SECOND: f64 = 100.0;

fn written(pidfile: &Path) -> Option<i64> {
    let meta = fs::metadata(pidfile).ok()?;
    Some(meta.mtime().wrapping_mul(1_000_000_000) + meta.mtime_nsec())
}

fn open(pid: i32) -> Option<(Identity, Watch)> {
    let raw = Pid::from_raw(pid).filter(|_| pid > 0)?;
    let mut identity = Identity {
        pid,
        start: start_ticks(pid),
        inode: None,
    };
    match pidfd_open(raw, PidfdFlags::NONBLOCK) {
        Ok(fd) => {
            if !is_live(&fd) {
                return None; // a zombie that nobody waited for
            }
            identity.inode = unique_inode(&fd);
            Some((identity, Watch::Pidfd(Arc::new(fd))))
        }
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) if signal(pid, None) => {
            Some((identity, Watch::Signal))
        }
        Err(_) => None,
    }
}

fn unique_inode(fd: &OwnedFd) -> Option<u64> {
    let kind = nix::sys::statfs::fstatfs(fd).ok()?.filesystem_type();
    if kind.0 as i64 != PID_FS_MAGIC {
        return None;
    }
    let file = File::from(fd.try_clone().ok()?);
    Some(file.metadata().ok()?.ino())
}

fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; field 22 is the 20th after it.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

fn is_live(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&now)), Ok(0))
}

fn signal(pid: i32, with: Option<Signal>) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), with).is_ok()
}

/// Variables that programs are told by monit.
pub struct Reason<'a> {
    /// The service.
    pub service: &'a str,
    /// What happened.
    pub event: &'a str,
}

/// Starts a program as monit would: no shell, little environment, a session of its own that outlives the agent. The
/// marks by which a CPI finds the processes of a VM are passed on.
pub fn spawn(program: &Program, reason: &Reason<'_>) -> Result<Child, String> {
    let (first, rest) = program.argv.split_first().ok_or("there is no program")?;
    let mut command = Command::new(first);
    command
        .args(rest)
        .env_clear()
        .env("PATH", "/bin:/usr/bin:/sbin:/usr/sbin")
        .env("MONIT_SERVICE", reason.service)
        .env("MONIT_EVENT", reason.event)
        .env("MONIT_DATE", rfc_date())
        .envs(
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BOSUN_")),
        )
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(name) = &program.gid {
        let gid = match name.parse() {
            Ok(number) => number,
            Err(_) => match nix::unistd::Group::from_name(name) {
                Ok(Some(group)) => group.gid.as_raw(),
                _ => return Err(format!("group '{name}' does not exist")),
            },
        };
        command.gid(gid);
    }
    if let Some(name) = &program.uid {
        let uid = match name.parse() {
            Ok(number) => number,
            Err(_) => match nix::unistd::User::from_name(name) {
                Ok(Some(user)) => user.uid.as_raw(),
                _ => return Err(format!("user '{name}' does not exist")),
            },
        };
        command.uid(uid);
    }
    sys::own_session(&mut command);
    command
        .spawn()
        .map_err(|error| format!("'{first}' can't be run: {error}"))
}

fn rfc_date() -> String {
    chrono::DateTime::<chrono::Utc>::from(SystemTime::now()).to_rfc2822()
}

/// A start program that failed may have left its process half up: so long it is still looked for.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Runs the start program until the pid file names a live process. A program that goes on running is left alone: it
/// may be the service itself.
pub async fn start(
    pidfile: &Path,
    program: &Program,
    remembered: Option<&Remembered>,
    reason: &Reason<'_>,
) -> Result<Process, String> {
    let mut deadline = Instant::now() + program.timeout;
    let mut child = spawn(program, reason)?;
    let mut failure = None;
    let mut ended = false;
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(process) = Process::find(pidfile, remembered) {
            if !ended {
                // It may be the service itself: somebody must wait for it, or it stays a zombie, and a stop
                // program that looks for its pid believes that it still runs.
                tokio::spawn(async move { child.wait().await });
            }
            return Ok(process);
        }
        if Instant::now() >= deadline {
            if !ended {
                tokio::spawn(async move { child.wait().await });
            }
            return Err(failure.unwrap_or_else(|| {
                format!(
                    "no process in {} after {} s",
                    pidfile.display(),
                    program.timeout.as_secs()
                )
            }));
        }
        tokio::select! {
            status = child.wait(), if !ended => {
                ended = true;
                pause = Duration::from_millis(5);
                if let Ok(status) = status && !status.success() {
                    failure = Some(format!("start program ended with {status}"));
                    deadline = deadline.min(Instant::now() + AFTER_FAILURE);
                }
            }
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_millis(200)),
        }
    }
}

/// Runs the stop program (without one: terminates the process, and kills it at the end of the time) until the process
/// has ended.
pub async fn stop(
    program: Option<&Program>,
    process: &Process,
    reason: &Reason<'_>,
) -> Result<(), String> {
    let Some(program) = program else {
        process.kill(Signal::SIGTERM);
        let limit = super::config::PROGRAM_TIMEOUT;
        if tokio::time::timeout(limit, process.ended()).await.is_err() {
            process.kill(Signal::SIGKILL);
            process.ended().await;
        }
        return Ok(());
    };
    let mut child = spawn(program, reason)?;
    let stopped = tokio::time::timeout(program.timeout, async {
        // The program may still be tidying up after the process is gone.
        tokio::join!(process.ended(), child.wait()).1
    });
    match stopped.await {
        Ok(_) => Ok(()),
        Err(_) if !process.is_live() => Ok(()),
        Err(_) => Err(format!(
            "the process {} still runs {} s after the stop program was started",
            process.identity.pid,
            program.timeout.as_secs()
        )),
    }
}
