//! VMs as OCI containers, run by runc or crun, whichever is there.
//!
//! The container is created without a network, gets its interfaces by the pid of its init, and is then started, so
//! nothing inside ever sees it half connected. Its init is this very binary (`init.rs`), bound into the root.

use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::command::{exists, run, tool};
use crate::config::Config;
use crate::error::Error;
use crate::init;
use crate::report::say;
use crate::rootfs::Root;
use crate::store::{Store, VmRecord};

/// Where containers see the init.
const INIT: &str = "/usr/sbin/bosun-init";
/// All containers' control groups lie below it, outside of the caller's.
const CGROUP: &str = "bosh";
const CGROUPS: &str = "/sys/fs/cgroup";
/// Version 2 where it is mounted beside version 1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// An OCI runtime.
#[derive(Clone)]
pub struct Runtime {
    program: String,
    /// crun makes none where they are not purely of version 2 or can't be written.
    without_cgroups: bool,
    /// crun 1.8 refuses to work where version 1 and 2 of control groups are mixed; it must not see the mix.
    hide_unified: bool,
}

impl Runtime {
    /// The configured one, or the first that is there.
    pub fn find(config: &Config) -> Option<Runtime> {
        let program = match &config.runtime {
            Some(program) => program.clone(),
            None => ["runc", "crun"]
                .into_iter()
                .find(|name| exists(name))?
                .to_string(),
        };
        let is_crun = program.ends_with("crun");
        let unified = Path::new(CGROUPS).join("cgroup.controllers").exists();
        Some(Runtime {
            without_cgroups: is_crun && (!unified || !cgroups_writable()),
            hide_unified: is_crun && Path::new(UNIFIED).join("cgroup.controllers").exists(),
            program,
        })
    }

    /// `runc` or `crun` or the configured path.
    pub fn name(&self) -> &str {
        &self.program
    }

    pub fn needs_cgroups(&self) -> bool {
        !self.without_cgroups
    }

    fn command(&self, store: &Store, arguments: &[&str]) -> std::process::Command {
        let mut command = if self.hide_unified {
            // A slave namespace: disks that are mounted on the host later still reach the container.
            let script = format!("umount {UNIFIED} && exec \"$@\"");
            let isolate = ["--mount", "--propagation", "slave", "--", "sh", "-c"];
            let mut command = tool("unshare", isolate);
            command.args([&script, "sh", &self.program]);
            command
        } else {
            tool(&self.program, [""; 0])
        };
        command.arg("--root").arg(store.dir().join("runtime"));
        if self.without_cgroups {
            command.arg("--cgroup-manager=disabled");
        }
        command.args(arguments);
        command
    }

    /// Creates the container; the pid of its init, which waits for `start`.
    pub fn create(&self, store: &Store, record: &VmRecord, root: &Root) -> Result<i32, Error> {
        let vm = store.vm(&record.cid)?;
        let bundle = vm.join("bundle");
        fs_err::create_dir_all(&bundle)?;
        fs_err::create_dir_all(vm.join("data"))?;
        let spec = self.spec(store, record, root)?;
        fs_err::write(bundle.join("config.json"), spec.to_string())?;
        // The container keeps these for its life: never a pipe of ours, whose reader would wait for their end.
        let console = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(vm.join("console.log"))?;
        let console: std::fs::File = console.into();
        let pid_file = vm.join("pid");
        let log = vm.join("runtime.log");
        let _ = fs_err::remove_file(&log);
        let mut command = self.command(store, &[]);
        command
            .arg("--log")
            .arg(&log)
            .arg("create")
            .arg("--bundle")
            .arg(&bundle)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&record.cid);
        command
            .stdout(Stdio::from(console.try_clone()?))
            .stderr(Stdio::from(console));
        let status = command.status().map_err(|source| Error::ToolMissing {
            tool: self.program.clone(),
            source,
        })?;
        if !status.success() {
            let said = fs_err::read_to_string(&log).unwrap_or_default();
            return Err(Error::Tool {
                tool: format!("{} create", self.program),
                status: status.to_string(),
                said: said.trim().to_string(),
            });
        }
        let pid = fs_err::read_to_string(&pid_file)?;
        pid.trim()
            .parse()
            .map_err(|_| Error::Host(format!("{} wrote no pid", self.program)))
    }

    pub fn start(&self, store: &Store, record: &VmRecord) -> Result<(), Error> {
        run(self.command(store, &["start", &record.cid])).map(drop)
    }

    pub fn is_running(&self, store: &Store, record: &VmRecord) -> bool {
        let state = run(self.command(store, &["state", &record.cid])).unwrap_or_default();
        serde_json::from_str::<Value>(&state).is_ok_and(|state| state["status"] == "running")
    }

    /// Kills everything in it. Gone already is fine.
    pub fn destroy(&self, store: &Store, record: &VmRecord) -> Result<(), Error> {
        let state = store.dir().join("runtime").join(&record.cid);
        if state.exists() {
            run(self.command(store, &["delete", "--force", &record.cid]))?;
        }
        // The number may soon be another process's.
        let _ = fs_err::remove_file(store.vm(&record.cid)?.join("pid"));
        remove_empty_cgroups(&record.cid);
        Ok(())
    }

    fn spec(&self, store: &Store, record: &VmRecord, root: &Root) -> Result<Value, Error> {
        let capabilities = capabilities();
        let mut namespaces = vec!["pid", "ipc", "uts", "mount", "network"];
        if !self.without_cgroups && Path::new("/proc/self/ns/cgroup").exists() {
            namespaces.push("cgroup");
        }
        let namespaces: Vec<Value> = namespaces
            .iter()
            .map(|kind| json!({"type": kind}))
            .collect();
        let vm = store.vm(&record.cid)?;
        Ok(json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": [INIT, "init"],
                "env": init::environment(record),
                "cwd": "/",
                "capabilities": {
                    "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                    "inheritable": [], "ambient": []
                },
                "noNewPrivileges": false
            },
            "root": {"path": root.path(), "readonly": false},
            "hostname": record.agent_id,
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},
                {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/run", "type": "tmpfs", "source": "run", "options": ["nosuid", "nodev", "mode=755"]},
                {"destination": "/var/vcap/data", "type": "bind", "source": vm.join("data"), "options": ["bind", "rw"]},
                {"destination": "/warden-cpi-dev", "type": "bind", "source": store.persist(&record.cid)?,
                 "options": ["rbind", "rslave", "rw"]},
                {"destination": INIT, "type": "bind", "source": init_binary(store)?, "options": ["bind", "ro"]}
            ],
            "linux": {
                "namespaces": namespaces,
                // Disks mounted on the host later have to get through.
                "rootfsPropagation": "rslave",
                "cgroupsPath": format!("/{CGROUP}/{}", record.cid),
                "resources": {"devices": [{"allow": true, "access": "rwm"}]},
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sysrq-trigger", "/proc/timer_list"],
                "readonlyPaths": []
            }
        }))
    }
}

/// The VM's first process, if it runs.
pub fn init_pid(store: &Store, record: &VmRecord) -> Option<i32> {
    let text = fs_err::read_to_string(store.vm(&record.cid).ok()?.join("pid")).ok()?;
    text.trim().parse().ok()
}

/// A copy of this binary that stays the same while containers run it: an upgrade writes another.
fn init_binary(store: &Store) -> Result<PathBuf, Error> {
    let own = fs_err::canonicalize("/proc/self/exe")?;
    let found = fs_err::metadata(&own)?;
    let folder = store.dir().join("bin");
    let copy = folder.join(format!("init-{}-{}", found.len(), found.mtime()));
    if !copy.exists() {
        fs_err::create_dir_all(&folder)?;
        let part = folder.join(format!("part-{}", std::process::id()));
        fs_err::copy(&own, &part)?;
        fs_err::rename(&part, &copy)?;
    }
    Ok(copy)
}

/// What root has here, without what would let a VM change the host's kernel, clock or boot.
fn capabilities() -> Vec<String> {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    const WITHHELD: [&str; 8] = [
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_BOOT",
        "SYS_TIME",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
    ];
    let allowed = bounding_set();
    NAMES
        .iter()
        .enumerate()
        .filter(|(bit, name)| allowed & (1 << bit) != 0 && !WITHHELD.contains(name))
        .map(|(_, name)| format!("CAP_{name}"))
        .collect()
}

fn bounding_set() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    field("CapBnd:").unwrap_or(0) & field("CapPrm:").unwrap_or(0)
}

/// Every hierarchy of control groups: one in version 2, several in version 1 or mixed.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(CGROUPS);
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    let entries = fs_err::read_dir(&root).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}

/// Whether a group can be made at all: in many containers they are there to be read only.
pub fn cgroups_writable() -> bool {
    let mut places = hierarchies().into_iter();
    let place = places.find(|place| place.join("cgroup.procs").exists());
    place.is_some_and(|place| rustix::fs::access(&place, rustix::fs::Access::WRITE_OK).is_ok())
}

/// The runtime removes the container's groups; the parent goes with the last.
fn remove_empty_cgroups(cid: &str) {
    for hierarchy in hierarchies() {
        let parent = hierarchy.join(CGROUP);
        let _ = std::fs::remove_dir(parent.join(cid));
        if std::fs::remove_dir(&parent)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
        {
            say(format!(
                "could not remove control group '{}'",
                parent.display()
            ));
        }
    }
}
