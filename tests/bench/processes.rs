//! What the kernel knows of processes: their memory, their processor time, their family.

use std::path::Path;
use std::time::Duration;

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident pages, each counted whole.
    pub resident: u64,
    /// Resident pages, each shared one counted in part.
    pub proportional: u64,
    /// Pages that are no file's: what the process itself wrote.
    pub own: u64,
}

/// The memory of one process; zero when it is gone.
pub fn memory(pid: i32) -> Memory {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or_default()
            * 1024
    };
    Memory {
        resident: field("Rss:"),
        proportional: field("Pss:"),
        own: field("Anonymous:"),
    }
}

/// The process and all that it started, directly or not.
pub fn family(pid: i32) -> Vec<i32> {
    let mut family = vec![pid];
    let all: Vec<(i32, i32)> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut at = 0;
    while let Some(&older) = family.get(at) {
        family.extend(all.iter().filter(|(_, p)| *p == older).map(|(pid, _)| pid));
        at += 1;
    }
    family
}

/// The agents of the containers that live below a folder.
pub fn agents(folder: &Path) -> Vec<i32> {
    let folder = folder.to_string_lossy();
    all()
        .into_iter()
        .filter(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "bosh-agent" && has_root_below(*pid, &folder)
        })
        .collect()
}

/// Its root is a mount made of folders below this one, or, in plain isolation, such a folder.
fn has_root_below(pid: i32, folder: &str) -> bool {
    let root = std::fs::read_link(format!("/proc/{pid}/root")).unwrap_or_default();
    if root.to_string_lossy().starts_with(folder) {
        return true;
    }
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    mounts
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"))
        .any(|line| line.contains(folder))
}

/// Processor time that all threads of a process have had since it started.
pub fn processor_time(pid: i32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let nanoseconds = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    Duration::from_nanos(nanoseconds)
}

fn all() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}
