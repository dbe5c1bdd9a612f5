//! Running one CPI process: started by the wrapper, its output in files, stopped with all it started when it takes too long.

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::spool::Entry;
use super::{CallLog, ExternalCpiConfig};
use crate::Error;
use crate::redact::Secrets;
use crate::wire::{Request, Response};

/// The wrapper: keeps the answer when its parent is gone. `$1` is the call's folder. It names itself (pid and start time)
/// first, so that a later director can tell a running call from a dead one.
const WRAPPER: &str = r#"umask 077
d=$1; shift
cat "/proc/$$/stat" >"$d/pid.part" </dev/null && mv "$d/pid.part" "$d/pid"
"$@" >"$d/stdout" 2>"$d/stderr"
echo $? >"$d/status.part" && mv "$d/status.part" "$d/status""#;

/// How often the files of a running call are looked at. Its end is seen at once when it is our own child.
const LOOK: Duration = Duration::from_millis(50);
/// Between asking a call that takes too long to end and killing it.
const GRACE: Duration = Duration::from_secs(3);
/// How long the folder of a call may exist before its wrapper has named itself.
const NAMING: Duration = Duration::from_secs(5);

/// What all steps of one call need.
pub(super) struct Call<'a> {
    pub config: &'a ExternalCpiConfig,
    pub method: &'static str,
    pub request_id: &'a str,
    pub log: &'a dyn CallLog,
    pub secrets: &'a Secrets,
}

/// A process that ended.
pub(super) struct Finished {
    pub stdout: Vec<u8>,
    /// As the shell gives it: 128 + n for signal n.
    pub exit_status: String,
}

impl Finished {
    /// The result, if the call succeeded.
    pub fn result(&self) -> Option<Value> {
        let response = Response::parse(&self.stdout).ok()?;
        response.error.is_none().then_some(response.result)
    }
}

impl Call<'_> {
    /// Starts a process in a folder that is ours and waits for its end.
    pub async fn start_and_wait(
        &self,
        entry: Entry,
        request: &Request,
    ) -> Result<(Entry, Finished), Error> {
        let mut child = match self.spawn(&entry, request) {
            Ok(child) => child,
            Err(source) => {
                entry.remove();
                return Err(Error::Spawn {
                    path: self.config.path.clone(),
                    method: self.method.to_string(),
                    source,
                });
            }
        };
        let group = child.id().and_then(|id| Pid::from_raw(id as i32));
        let deadline = Instant::now() + self.config.timeout;
        let mut messages = Messages::default();
        loop {
            tokio::select! {
                ended = child.wait() => {
                    ended.map_err(|e| self.spool_error(e))?;
                    break;
                }
                () = tokio::time::sleep(LOOK) => messages.pass_on(&entry, self, false),
                () = tokio::time::sleep_until(deadline) => {
                    stop(group, &mut child).await;
                    messages.pass_on(&entry, self, true);
                    entry.remove();
                    return Err(self.timed_out());
                }
            }
        }
        messages.pass_on(&entry, self, true);
        let finished = entry.finished().map_err(|e| self.spool_error(e))?;
        let finished = finished.unwrap_or(Finished {
            stdout: Vec::new(),
            exit_status: "unknown: the wrapper was killed".into(),
        });
        Ok((entry, finished))
    }

    /// Waits for a call that another caller started. `None`: its process is gone without an answer.
    pub async fn wait_for_other(&self, entry: &Entry) -> Result<Option<Finished>, Error> {
        let started = Instant::now();
        let mut messages = Messages::default();
        loop {
            // Liveness first: a process that ends between the two looks has left its answer.
            let alive = entry.process().map_err(|e| self.spool_error(e))?;
            messages.pass_on(entry, self, false);
            if let Some(finished) = entry.finished().map_err(|e| self.spool_error(e))? {
                messages.pass_on(entry, self, true);
                return Ok(Some(finished));
            }
            match alive {
                Some(process) if !process.alive => return Ok(None),
                None if started.elapsed() > NAMING => return Ok(None),
                Some(process) if started.elapsed() > self.config.timeout => {
                    if let Some(group) = process.group {
                        let _ = kill_process_group(group, Signal::KILL);
                    }
                    entry.remove();
                    return Err(self.timed_out());
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    fn spawn(&self, entry: &Entry, request: &Request) -> std::io::Result<Child> {
        // The request holds credentials: it lies in a file without a name, gone with its last reader.
        let mut stdin = tempfile::tempfile_in(entry.path())?;
        serde_json::to_writer(&mut stdin, request).map_err(std::io::Error::other)?;
        stdin.flush()?;
        stdin.seek(SeekFrom::Start(0))?;
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(WRAPPER)
            .arg("cpi-wrapper")
            .arg(entry.path())
            .arg(&self.config.path)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(false);
        for name in ["TMPDIR", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(&self.config.env);
        command.spawn()
    }

    fn timed_out(&self) -> Error {
        Error::Timeout {
            path: self.config.path.clone(),
            method: self.method.to_string(),
            request_id: self.request_id.to_string(),
            after: self.config.timeout,
        }
    }

    fn spool_error(&self, source: std::io::Error) -> Error {
        Error::Spool {
            method: self.method.to_string(),
            source,
        }
    }
}

/// Ends a process group: first politely, so that a CPI can clean up, then for good.
async fn stop(group: Option<Pid>, child: &mut Child) {
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    // The wrapper ends at TERM; a CPI that cleans up may still be there, so the second signal goes out anyway.
    let ended = tokio::time::timeout(GRACE, child.wait()).await;
    if ended.is_ok() {
        let deadline = Instant::now() + GRACE;
        while rustix::process::test_kill_process_group(group).is_ok() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

/// The CPI's messages: passed on line by line as the file grows.
#[derive(Default)]
struct Messages {
    offset: u64,
    partial: Vec<u8>,
}

impl Messages {
    /// Losing a message is no reason to lose the call, so reading errors end in nothing.
    fn pass_on(&mut self, entry: &Entry, call: &Call<'_>, last: bool) {
        if let Ok(mut file) = fs_err::File::open(entry.path().join("stderr"))
            && file.seek(SeekFrom::Start(self.offset)).is_ok()
        {
            self.offset += file.read_to_end(&mut self.partial).unwrap_or(0) as u64;
        }
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.say(&line, call);
        }
        if last && !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.say(&line, call);
        }
    }

    fn say(&self, line: &[u8], call: &Call<'_>) {
        let line = String::from_utf8_lossy(line);
        call.log.cpi(&call.secrets.scrub(line.trim_end()));
    }
}
