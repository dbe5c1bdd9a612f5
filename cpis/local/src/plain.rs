//! VMs without namespaces: a process tree in a chroot, for hosts that allow no more (root in an ordinary container).
//!
//! Nothing separates such VMs but their root: they share the host's processes, network and users. A VM's processes
//! are found again by three marks, any of which is enough: descent from its init, its root, and
//! `BOSUN_VM` in the environment.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::init;
use crate::rootfs::Root;
use crate::store::{self, Store, VmRecord};

/// How long the init may take to enter its root, and a killed process to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// The init of a VM. The start time (field 22 of `stat`) tells it from a later process with the same pid.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
struct InitRecord {
    pid: i32,
    started: u64,
}

/// Starts the init and waits until it is in its root.
pub fn start(store: &Store, record: &VmRecord, root: &Root) -> Result<(), Error> {
    let vm = store.vm(&record.cid)?;
    let ready = root.path().join(init::READY);
    let _ = fs_err::remove_file(&ready);
    root.folder("/run")?;
    make_devices(root);
    let console = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(vm.join("console.log"))?;
    let console: std::fs::File = console.into();
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["init", "--root"])
        .arg(root.path())
        .env_clear();
    for variable in init::environment(record) {
        if let Some((name, value)) = variable.split_once('=') {
            command.env(name, value);
        }
    }
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::from(console.try_clone()?))
        .stderr(Stdio::from(console));
    let mut child = command.spawn()?;
    let pid = child.id() as i32;
    let started = Process::read(pid).map_or(0, |process| process.started);
    store::write(&vm.join("init.json"), &InitRecord { pid, started })?;
    let deadline = Instant::now() + PATIENCE;
    while !ready.exists() {
        let ended = child.try_wait()?;
        if ended.is_some() || Instant::now() > deadline {
            let why = ended.map_or("it does not get ready".into(), |status| {
                match status.signal() {
                    Some(signal) => format!("signal {signal}"),
                    None => status.to_string(),
                }
            });
            let said = fs_err::read_to_string(vm.join("console.log")).unwrap_or_default();
            let last = said.lines().last().unwrap_or_default();
            return Err(Error::Host(format!(
                "the VM's init did not start ({why}): {last}"
            )));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The nodes that everything needs. Where they can't be made, an ordinary file stands in for `/dev/null`.
fn make_devices(root: &Root) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    use std::os::unix::fs::PermissionsExt;
    let Ok(dev) = root.folder("/dev") else { return };
    let devices = [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
    ];
    for (name, minor) in devices {
        let path = dev.join(name);
        if path.exists() {
            continue;
        }
        if mknod(
            &path,
            SFlag::S_IFCHR,
            Mode::from_bits_truncate(0o666),
            makedev(1, minor),
        )
        .is_err()
        {
            if name == "null" {
                let _ = fs_err::write(&path, "");
            } else {
                continue;
            }
        }
        let _ = fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o666));
    }
    let tty = dev.join("tty");
    if !tty.exists()
        && mknod(
            &tty,
            SFlag::S_IFCHR,
            Mode::from_bits_truncate(0o666),
            makedev(5, 0),
        )
        .is_ok()
    {
        let _ = fs_err::set_permissions(&tty, std::fs::Permissions::from_mode(0o666));
    }
    let shm = dev.join("shm");
    if fs_err::create_dir_all(&shm).is_ok() {
        let _ = fs_err::set_permissions(&shm, std::fs::Permissions::from_mode(0o1777));
    }
}

pub fn is_running(store: &Store, record: &VmRecord) -> bool {
    find_init(store, record).is_some()
}

fn find_init(store: &Store, record: &VmRecord) -> Option<InitRecord> {
    let path = store.vm(&record.cid).ok()?.join("init.json");
    let init: InitRecord = store::read(&path).ok()??;
    let process = Process::read(init.pid)?;
    (process.started == init.started && !process.dead).then_some(init)
}

/// Ends every process of the VM, and is sure of it.
pub fn stop(store: &Store, record: &VmRecord, root: &Root) -> Result<(), Error> {
    let init = find_init(store, record);
    if let Some(init) = init {
        // From now on it restarts nothing and only reaps.
        let _ = kill(Pid::from_raw(init.pid), Signal::SIGTERM);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut members = members(&record.cid, init.map(|init| init.pid), &root.path());
        if members.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return Err(Error::Host(format!(
                "processes {members:?} of VM {} can't be killed",
                record.cid
            )));
        }
        // Init last: as long as it lives nothing escapes from it.
        if let Some(init) = init
            && members.len() > 1
        {
            members.remove(&init.pid);
        }
        for pid in members {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(LOOK);
    }
    let _ = fs_err::remove_file(store.vm(&record.cid)?.join("init.json"));
    Ok(())
}

struct Process {
    parent: i32,
    started: u64,
    /// A zombie: it holds nothing any more.
    dead: bool,
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, so count from its end.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Process {
            dead: matches!(fields.first(), Some(&"Z" | &"X")),
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Live processes of a VM.
fn members(cid: &str, init: Option<i32>, root: &Path) -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let processes: BTreeMap<i32, Process> = pids
        .filter_map(|pid| Some((pid, Process::read(pid)?)))
        .collect();
    let marker = format!("BOSUN_VM={cid}");
    let mut found: BTreeSet<i32> = processes
        .keys()
        .copied()
        .filter(|pid| Some(*pid) == init || in_root(*pid, root) || is_marked(*pid, &marker))
        .collect();
    // Descent needs no rights, unlike the other marks: it finds processes of other users too.
    loop {
        let more: Vec<i32> = processes
            .iter()
            .filter(|(pid, process)| !found.contains(pid) && found.contains(&process.parent))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.retain(|pid| !processes[pid].dead);
    found
}

fn in_root(pid: i32, root: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|link| link == root)
}

fn is_marked(pid: i32, marker: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == marker.as_bytes())
}
