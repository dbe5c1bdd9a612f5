//! The folder in which calls under way and unread answers are kept: `<spool>/<method>-<key>/{pid,stdout,stderr,status}`.
//!
//! Files are few and small, so they are read and written in place, without a thread of their own.

use rustix::process::Pid;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::Finished;
use crate::Error;

/// Marks folders of calls that nobody asks for again.
const ONCE: &str = "once-";
/// After this a call's folder has no reader: the answer is read within moments of the call's end.
const LEFT_OVER: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
pub(super) struct Spool {
    dir: PathBuf,
}

/// The folder of one call.
pub(super) struct Entry {
    path: PathBuf,
}

/// The wrapper of a call.
pub(super) struct Process {
    pub alive: bool,
    pub group: Option<Pid>,
}

impl Spool {
    pub fn new(dir: PathBuf) -> Self {
        Spool { dir }
    }

    /// A folder for a call that nobody will ask for again.
    pub fn anonymous(&self, method: &'static str) -> Result<Entry, Error> {
        let entry = self.entry(method, &format!("{ONCE}{}", uuid::Uuid::new_v4()));
        self.create(method, &entry)?;
        Ok(entry)
    }

    /// Removes what calls of a director that died left behind, once nobody can be reading it any more.
    pub fn sweep(&self) {
        let Ok(entries) = fs_err::read_dir(&self.dir) else {
            return;
        };
        for found in entries.flatten() {
            let once = found.file_name().to_string_lossy().contains(ONCE);
            let changed = found.metadata().and_then(|meta| meta.modified());
            let old = changed.is_ok_and(|when| when.elapsed().is_ok_and(|age| age > LEFT_OVER));
            let entry = Entry { path: found.path() };
            let alive = entry.process().is_ok_and(|p| p.is_some_and(|p| p.alive));
            if once && old && !alive {
                entry.remove();
            }
        }
    }

    /// `None`: the folder is new and ours. Otherwise the call that was started before with this key.
    pub fn claim(&self, method: &'static str, key: &str) -> Result<Option<Entry>, Error> {
        let entry = self.entry(method, key);
        Ok(if self.create(method, &entry)? {
            None
        } else {
            Some(entry)
        })
    }

    /// The calls of a method that have a key, which is a plain name.
    pub fn keyed(&self, method: &str) -> Vec<(String, Entry)> {
        let mut all = self.calls_of(method);
        all.retain(|(key, _)| !key.starts_with(ONCE));
        all
    }

    fn calls_of(&self, method: &str) -> Vec<(String, Entry)> {
        let Ok(entries) = fs_err::read_dir(&self.dir) else {
            return Vec::new();
        };
        let prefix = format!("{method}-");
        entries
            .flatten()
            .filter_map(|found| {
                let name = found.file_name().to_string_lossy().into_owned();
                let key = name.strip_prefix(&prefix)?.to_owned();
                Some((key, Entry { path: found.path() }))
            })
            .collect()
    }

    pub fn entry(&self, method: &str, key: &str) -> Entry {
        let safe: String = key
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => (byte as char).to_string(),
                other => format!("%{other:02x}"),
            })
            .collect();
        Entry {
            path: self.dir.join(format!("{method}-{safe}")),
        }
    }

    /// Forgets answers whose result satisfies `gone`: what they told of was deleted, so a later call with that key is a new one.
    pub fn forget_results(&self, method: &str, gone: impl Fn(&serde_json::Value) -> bool) {
        for (_, entry) in self.calls_of(method) {
            if let Ok(Some(finished)) = entry.finished()
                && finished.result().is_some_and(|result| gone(&result))
            {
                entry.remove();
            }
        }
    }

    /// False: it exists already.
    fn create(&self, method: &'static str, entry: &Entry) -> Result<bool, Error> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        let made = builder.create(&entry.path).or_else(|error| {
            if error.kind() != ErrorKind::NotFound {
                return Err(error);
            }
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.dir)?;
            builder.create(&entry.path)
        });
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(Error::Spool {
                method: method.to_string(),
                source: std::io::Error::new(
                    source.kind(),
                    format!("failed to create '{}': {source}", entry.path.display()),
                ),
            }),
        }
    }
}

impl Entry {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the process left, once its wrapper has written the status.
    pub fn finished(&self) -> std::io::Result<Option<Finished>> {
        let exit_status = match fs_err::read_to_string(self.path.join("status")) {
            Ok(status) => status.trim().to_string(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stdout = fs_err::read(self.path.join("stdout"))?;
        Ok(Some(Finished {
            stdout,
            exit_status,
        }))
    }

    /// The wrapper, once it has named itself. A pid that was given to another process since counts as dead.
    pub fn process(&self) -> std::io::Result<Option<Process>> {
        let recorded = match fs_err::read_to_string(self.path.join("pid")) {
            Ok(stat) => stat,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((pid, started)) = parse_stat(&recorded) else {
            return Ok(None);
        };
        let now = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        Ok(Some(Process {
            alive: parse_stat(&now) == Some((pid, started)),
            group: Pid::from_raw(pid),
        }))
    }

    /// Best effort: a folder that can't be removed costs a few bytes, not the call.
    pub fn remove(&self) {
        if let Err(error) = fs_err::remove_dir_all(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, "could not remove the folder of a CPI call");
        }
    }
}

/// Pid and start time (fields 1 and 22) of a line of `/proc/<pid>/stat`; nothing for a zombie.
fn parse_stat(stat: &str) -> Option<(i32, u64)> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    // The name in parentheses may hold anything, so count from its end.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    let state = rest.next()?;
    let started = rest.nth(18)?.parse().ok()?;
    (state != "Z").then_some((pid, started))
}
