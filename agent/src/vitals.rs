//! How the VM does (`docs/spec/agent-protocol.md` §3.1). What the kernel doesn't tell here is left out.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use agent_protocol::{CpuVitals, DiskVitals, DisksVitals, MemVitals, Uptime, Vitals};
use fs_err as fs;
use nix::sys::statvfs::statvfs;

use crate::layout::Layout;

/// Reads vitals; CPU use is that since the last reading.
pub struct VitalsReader {
    layout: Layout,
    last: Mutex<Option<CpuTimes>>,
}

#[derive(Clone, Copy, Default)]
struct CpuTimes {
    user: u64,
    sys: u64,
    wait: u64,
    total: u64,
}

impl VitalsReader {
    /// Reads for this tree.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            last: Mutex::new(None),
        }
    }

    /// Reads now.
    pub fn read(&self) -> Vitals {
        let info = nix::sys::sysinfo::sysinfo().ok();
        let (mut load, mut uptime, mut swap) = (Vec::new(), 0, MemVitals::default());
        if let Some(info) = &info {
            let (one, five, fifteen) = info.load_average();
            load = [one, five, fifteen].map(|l| format!("{l:.2}")).to_vec();
            uptime = info.uptime().as_secs();
            let used = info.swap_total().saturating_sub(info.swap_free());
            swap = memory(used / 1024, info.swap_total() / 1024);
        }
        let mem = meminfo()
            .or_else(|| {
                let info = info?;
                let used = info.ram_total().saturating_sub(info.ram_unused());
                Some((used / 1024, info.ram_total() / 1024))
            })
            .map(|(used, total)| memory(used, total))
            .unwrap_or_default();
        Vitals {
            cpu: self.cpu().unwrap_or_default(),
            disk: DisksVitals {
                ephemeral: mounted(&self.layout.data()),
                persistent: mounted(&self.layout.store()),
                system: usage(Path::new("/")),
            },
            load,
            mem,
            swap,
            uptime: Uptime { secs: uptime },
        }
    }

    fn cpu(&self) -> Option<CpuVitals> {
        let now = cpu_times()?;
        let mut last = self.last.lock().unwrap_or_else(|p| p.into_inner());
        let before = last.replace(now).unwrap_or_default();
        let total = now.total.saturating_sub(before.total).max(1) as f64;
        let percent = |now: u64, before: u64| {
            format!("{:.1}", now.saturating_sub(before) as f64 / total * 100.0)
        };
        Some(CpuVitals {
            sys: percent(now.sys, before.sys),
            user: percent(now.user, before.user),
            wait: percent(now.wait, before.wait),
        })
    }
}

fn cpu_times() -> Option<CpuTimes> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, sys, idle, wait, irq, softirq, steal] = times.get(..8)?.try_into().ok()?;
    Some(CpuTimes {
        user: user + nice,
        sys: sys + irq + softirq,
        wait,
        total: user + nice + sys + idle + wait + irq + softirq + steal,
    })
}

/// Used and total kilobytes.
fn meminfo() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let total = field("MemTotal:")?;
    Some((total.saturating_sub(field("MemAvailable:")?), total))
}

fn memory(used_kb: u64, total_kb: u64) -> MemVitals {
    MemVitals {
        kb: used_kb.to_string(),
        percent: percent(used_kb, total_kb),
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0".into();
    }
    format!("{:.0}", part as f64 / whole as f64 * 100.0)
}

fn usage(path: &Path) -> Option<DiskVitals> {
    let stat = statvfs(path).ok()?;
    // As df: blocks reserved for root count neither as used nor as available.
    let used = stat.blocks() - stat.blocks_free();
    Some(DiskVitals {
        inode_percent: percent(stat.files() - stat.files_free(), stat.files()),
        percent: percent(used, used + stat.blocks_available()),
    })
}

/// Only what is a mount point of its own.
fn mounted(path: &Path) -> Option<DiskVitals> {
    let own = fs::metadata(path).ok()?;
    let parent = fs::metadata(path.parent()?).ok()?;
    if own.dev() == parent.dev() {
        return None;
    }
    usage(path)
}
