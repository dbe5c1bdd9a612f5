//! CPU and memory of processes with their children, from `/proc`; nothing where there is none.

use std::collections::HashMap;

use fs_err as fs;
use tokio::time::Instant;

use super::process::TICKS_PER_SECOND;

/// All processes at one moment.
pub struct Snapshot {
    at: Instant,
    cpus: f64,
    memory_kb: u64,
    processes: HashMap<i32, Sample>,
    children: HashMap<i32, Vec<i32>>,
}

struct Sample {
    ticks: u64,
    resident_kb: u64,
}

/// What one process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Resident kilobytes, of itself.
    pub own_kb: u64,
    /// Resident kilobytes, with all children.
    pub total_kb: u64,
    /// `total_kb` in percent of the machine's memory.
    pub memory_percent: f64,
    /// CPU in percent of the machine's, with all children, since the previous sample.
    pub cpu_percent: f64,
    /// Number of descendants.
    pub children: usize,
}

/// The CPU time at an earlier moment.
#[derive(Debug, Clone, Copy)]
pub struct CpuMark {
    at: Instant,
    ticks: u64,
}

const PAGE_KB: u64 = 4;

impl Snapshot {
    /// Reads all of `/proc`.
    pub fn take() -> Self {
        let mut snapshot = Self {
            at: Instant::now(),
            cpus: std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64),
            memory_kb: memory_kb().unwrap_or_default(),
            processes: HashMap::new(),
            children: HashMap::new(),
        };
        let Ok(entries) = fs::read_dir("/proc") else {
            return snapshot;
        };
        for entry in entries.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
                continue;
            };
            if let Some((parent, sample)) = sample(pid) {
                snapshot.processes.insert(pid, sample);
                snapshot.children.entry(parent).or_default().push(pid);
            }
        }
        snapshot
    }

    /// What a process uses; `mark` is replaced by the present.
    pub fn usage(&self, pid: i32, mark: &mut Option<CpuMark>) -> Usage {
        let Some(own) = self.processes.get(&pid) else {
            return Usage::default();
        };
        let (mut ticks, mut total_kb, mut count) = (0, 0, 0);
        let mut pending = vec![pid];
        while let Some(pid) = pending.pop() {
            if let Some(sample) = self.processes.get(&pid) {
                ticks += sample.ticks;
                total_kb += sample.resident_kb;
                count += 1;
            }
            pending.extend(self.children.get(&pid).into_iter().flatten());
        }
        let cpu_percent = mark.map_or(0.0, |mark| {
            let seconds = (self.at - mark.at).as_secs_f64();
            let used = ticks.saturating_sub(mark.ticks) as f64 / TICKS_PER_SECOND;
            if seconds > 0.0 {
                used / seconds / self.cpus * 100.0
            } else {
                0.0
            }
        });
        *mark = Some(CpuMark { at: self.at, ticks });
        Usage {
            own_kb: own.resident_kb,
            total_kb,
            memory_percent: self.percent(total_kb),
            cpu_percent,
            children: count - 1,
        }
    }

    /// Kilobytes in percent of the machine's memory.
    pub fn percent(&self, kb: u64) -> f64 {
        if self.memory_kb == 0 {
            return 0.0;
        }
        kb as f64 / self.memory_kb as f64 * 100.0
    }
}

fn sample(pid: i32) -> Option<(i32, Sample)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
    let parent = fields.get(1)?.parse().ok()?;
    Some((
        parent,
        Sample {
            ticks: number(11)? + number(12)?,
            resident_kb: number(21)? * PAGE_KB,
        },
    ))
}

fn memory_kb() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
