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
    /// Groups of bosun's containers.
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
            links: names("/sys/class/net"),
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

fn cgroups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Ok(hierarchies) = std::fs::read_dir("/sys/fs/cgroup") else {
        return found;
    };
    let roots = hierarchies
        .flatten()
        .map(|entry| entry.path())
        .chain(["/sys/fs/cgroup".into()]);
    for root in roots {
        let Ok(groups) = std::fs::read_dir(root.join("bosh")) else {
            continue;
        };
        found.extend(
            groups
                .flatten()
                .filter(|group| group.path().is_dir())
                .map(|g| g.path().display().to_string()),
        );
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
