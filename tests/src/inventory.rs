//! What is on this machine that an environment could leave behind.

use std::collections::BTreeSet;
use std::path::Path;

/// Mounts, links, loop devices, cgroups and processes, as sorted texts.
///
/// Only what bears the mark of the environment's folder, or of containers in general, is listed: other things come and
/// go on a machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Mount points below the folder.
    pub mounts: BTreeSet<String>,
    /// Names of network links in this namespace.
    pub links: BTreeSet<String>,
    /// Loop devices on files below the folder.
    pub loops: BTreeSet<String>,
    /// Groups of bosun's containers that have no process.
    pub cgroups: BTreeSet<String>,
    /// Processes with the folder in their command line, root or environment.
    pub processes: BTreeSet<String>,
    /// Named network namespaces.
    pub namespaces: BTreeSet<String>,
}

impl Inventory {
    /// Looks at the machine; `folder` is that of the environment.
    pub fn take(folder: &Path) -> Inventory {
        Inventory {
            mounts: mounts(folder),
            links: links(),
            loops: loops(folder),
            cgroups: cgroups(),
            processes: processes(folder),
            namespaces: names("/run/netns"),
        }
    }

    /// Host ends of the containers' network pairs.
    pub fn veths(&self) -> usize {
        self.links
            .iter()
            .filter(|name| name.starts_with("vb"))
            .count()
    }
}

fn names(folder: &str) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Asked of the kernel: /sys may show another network namespace than that of this process.
fn links() -> BTreeSet<String> {
    let output = std::process::Command::new("ip")
        .args(["-o", "link"])
        .output()
        .expect("ip is installed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
}

fn mounts(folder: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = format!("{}/", folder.display());
    text.lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|point| point.starts_with(&below))
        .map(str::to_owned)
        .collect()
}

fn loops(folder: &Path) -> BTreeSet<String> {
    names("/sys/block")
        .into_iter()
        .filter_map(|name| {
            std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()
        })
        .map(|file| file.trim().to_owned())
        .filter(|file| file.starts_with(&*folder.to_string_lossy()))
        .collect()
}

/// Groups of containers without a process in them: what a deleted container left. (One with processes is found by its
/// processes; other environments of this machine have theirs.)
fn cgroups() -> BTreeSet<String> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    let roots = hierarchies
        .map(|entry| entry.path())
        .chain(["/sys/fs/cgroup".into()]);
    let mut found = BTreeSet::new();
    for root in roots {
        let Ok(groups) = std::fs::read_dir(root.join("bosh")) else {
            continue;
        };
        for group in groups
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
        {
            let processes = std::fs::read_to_string(group.join("cgroup.procs"));
            if processes.is_ok_and(|text| text.trim().is_empty()) {
                found.insert(group.display().to_string());
            }
        }
    }
    found
}

fn processes(folder: &Path) -> BTreeSet<String> {
    let folder = folder.to_string_lossy().into_owned();
    let own = std::process::id().to_string();
    let mut found = BTreeSet::new();
    for pid in names("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()) && *name != own)
    {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let root = std::fs::read_link(format!("/proc/{pid}/root")).unwrap_or_default();
        if command.contains(&folder) || root.to_string_lossy().starts_with(&folder) {
            found.insert(command.trim().to_owned());
        }
    }
    found
}
