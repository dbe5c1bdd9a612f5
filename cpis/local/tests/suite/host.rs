//! One test's part of the host: a network namespace, a store, the CPI to call, and what is left of it afterwards.

use cpi::{Cpi, CreateDisk, CreateVm, DeleteVm, ExternalCpi, ExternalCpiConfig};
use domain::{DiskCid, StemcellCid, VmCid};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::rootfs;

pub const BINARY: &str = env!("CARGO_BIN_EXE_bosun-cpi-local");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    Namespaces,
    /// With the capabilities really dropped.
    Plain,
}

pub struct Host {
    pub isolation: Isolation,
    folder: tempfile::TempDir,
    pub store: PathBuf,
    runtime: Option<&'static str>,
    before: BTreeSet<String>,
    /// VMs that were asked for: their control groups have to go.
    agents: RefCell<Vec<String>>,
}

impl Host {
    /// `None` where this machine does not allow what the test needs.
    pub fn new(isolation: Isolation) -> Option<Host> {
        if isolation == Isolation::Namespaces && !allows_namespaces() {
            eprintln!("skipped: this machine allows no namespaces");
            return None;
        }
        if isolation == Isolation::Namespaces {
            // Threads and processes started by this thread are in it too.
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run("ip", &["link", "set", "lo", "up"]);
        }
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let mut host = Host {
            isolation,
            store,
            folder,
            runtime: None,
            before: BTreeSet::new(),
            agents: RefCell::default(),
        };
        host.before = host.inventory();
        if isolation == Isolation::Plain {
            let wrapper = host.executable();
            fs_err::write(
                &wrapper,
                format!("#!/bin/sh\nexec setpriv {DROP} {BINARY} \"$@\"\n"),
            )
            .unwrap();
            rootfs::make_executable(&wrapper);
        }
        Some(host)
    }

    pub fn with_runtime(mut self, name: &'static str) -> Host {
        self.runtime = Some(name);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn executable(&self) -> PathBuf {
        match self.isolation {
            Isolation::Namespaces => BINARY.into(),
            Isolation::Plain => self.path("cpi-without-capabilities"),
        }
    }

    pub fn image(&self) -> PathBuf {
        let image = self.path("image");
        if !image.exists() {
            rootfs::write_image(&image);
        }
        image
    }

    pub fn properties(&self) -> Map<String, Value> {
        let mut container =
            json!({"store_dir": self.store, "bridge": "bt0", "bridge_cidr": "10.244.0.1/16"});
        if let Some(runtime) = self.runtime {
            container["runtime"] = runtime.into();
        }
        json!({"container": container}).as_object().unwrap().clone()
    }

    pub fn cpi(&self) -> ExternalCpi {
        let mut config = ExternalCpiConfig::new(self.executable(), self.path("spool"), "uuid");
        config.properties = self.properties();
        config.timeout = Duration::from_secs(120);
        ExternalCpi::new(config)
    }

    /// `start`, `stop`, `cleanup` …, as `bosun up` and `bosun down` run them.
    pub fn command(&self, name: &str) {
        let config = self.path("config.json");
        fs_err::write(&config, Value::Object(self.properties()).to_string()).unwrap();
        let status = Command::new(self.executable())
            .arg(name)
            .arg(config)
            .status()
            .unwrap();
        assert!(status.success(), "{name} failed");
    }

    /// The n-th address of a VM.
    pub fn address(&self, n: u8) -> String {
        match self.isolation {
            Isolation::Namespaces => format!("10.244.0.{}", 10 + n),
            Isolation::Plain => format!("127.77.0.{}", 10 + n),
        }
    }

    pub fn networks(&self, n: u8) -> Map<String, Value> {
        let network = json!({
            "type": "manual", "ip": self.address(n), "prefix": "32", "netmask": "255.255.255.0",
            "gateway": "10.244.0.1", "default": ["dns", "gateway"], "dns": ["10.244.0.1"], "cloud_properties": {},
        });
        let mut networks = Map::new();
        networks.insert("private".into(), network);
        networks
    }

    pub fn vm_request(&self, agent: &str, stemcell: &StemcellCid, n: u8) -> CreateVm {
        self.agents.borrow_mut().push(agent.to_string());
        CreateVm {
            agent_id: agent.into(),
            stemcell_cid: stemcell.clone(),
            cloud_properties: json!({}),
            networks: self.networks(n),
            disk_cids: vec![],
            env: json!({"bosh": {"mbus": {"urls": ["nats://10.244.0.1:4222"]}, "tags": {"a": "b"}}}),
            stemcell_api_version: Some(3),
        }
    }

    pub async fn import(&self) -> StemcellCid {
        let request = cpi::CreateStemcell {
            image_path: self.image(),
            cloud_properties: json!({}),
            env: None,
        };
        self.cpi().create_stemcell(request).await.unwrap()
    }

    pub async fn delete_vm(&self, cid: &VmCid) {
        let request = DeleteVm {
            vm_cid: cid.clone(),
            stemcell_api_version: Some(3),
        };
        self.cpi().delete_vm(request).await.unwrap();
    }

    pub async fn create_disk(&self, key: &str) -> DiskCid {
        let request = CreateDisk {
            size_mib: 32,
            cloud_properties: json!({}),
            vm_cid: None,
            idempotency_key: Some(key.into()),
        };
        self.cpi().create_disk(request).await.unwrap()
    }

    pub fn vm_folder(&self, cid: &VmCid) -> PathBuf {
        self.store.join("vms").join(cid.as_str())
    }

    /// The VM's files as it sees them now.
    pub fn inside(&self, cid: &VmCid, path: &str) -> PathBuf {
        let init = self.init(cid).expect("the VM runs");
        PathBuf::from(format!("/proc/{init}/root")).join(path)
    }

    pub fn init(&self, cid: &VmCid) -> Option<i32> {
        self.processes(cid).into_iter().min()
    }

    /// Processes marked as the VM's.
    pub fn processes(&self, cid: &VmCid) -> BTreeSet<i32> {
        let marker = format!("BOSUN_VM={cid}");
        pids()
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment
                    .split(|b| *b == 0)
                    .any(|v| v == marker.as_bytes())
            })
            .collect()
    }

    /// The VM's process with this command line.
    pub fn find(&self, cid: &VmCid, command: &str) -> Option<i32> {
        self.processes(cid).into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").trim() == command
        })
    }

    /// Everything on the host that comes from this store or namespace, as text.
    fn inventory(&self) -> BTreeSet<String> {
        let store = self.store.to_string_lossy().into_owned();
        let mut found = BTreeSet::new();
        for line in fs_err::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
        {
            if line.contains(&store) {
                found.insert(format!("mount {line}"));
            }
        }
        for line in output("losetup", &["-a"])
            .lines()
            .filter(|line| line.contains(&store))
        {
            found.insert(format!("loop {line}"));
        }
        if self.isolation == Isolation::Namespaces {
            for line in output("ip", &["-o", "link"]).lines() {
                found.insert(format!(
                    "interface {}",
                    line.split(':').nth(1).unwrap_or(line)
                ));
            }
            for line in output("iptables", &["-t", "nat", "-S"]).lines() {
                found.insert(format!("rule {line}"));
            }
        }
        for pid in pids() {
            let root = std::fs::read_link(format!("/proc/{pid}/root")).unwrap_or_default();
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if root.starts_with(&self.store) || String::from_utf8_lossy(&command).contains(&store) {
                found.insert(format!(
                    "process {}",
                    String::from_utf8_lossy(&command).replace('\0', " ")
                ));
            }
        }
        for folder in ["vms", "disks", "snapshots", "persist", "runtime"] {
            for entry in std::fs::read_dir(self.store.join(folder))
                .into_iter()
                .flatten()
                .flatten()
            {
                found.insert(format!("file {}", entry.path().display()));
            }
        }
        found
    }

    /// The host must be as it was before, and `cleanup` must take the store itself away.
    pub fn assert_nothing_left(&self) {
        let left: Vec<String> = self.inventory().difference(&self.before).cloned().collect();
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
        let groups = output(
            "find",
            &["/sys/fs/cgroup", "-maxdepth", "3", "-path", "*/bosh/vm-*"],
        );
        for agent in self.agents.borrow().iter() {
            assert!(
                !groups.contains(agent.as_str()),
                "control groups left: {groups}"
            );
        }
        self.command("cleanup");
        assert!(!self.store.exists(), "the store is still there");
    }
}

impl Drop for Host {
    /// A test that failed must not leave its VMs.
    fn drop(&mut self) {
        if self.store.exists() {
            let config = self.path("config.json");
            let _ = std::fs::write(&config, Value::Object(self.properties()).to_string());
            let _ = Command::new(self.executable())
                .arg("cleanup")
                .arg(config)
                .status();
        }
    }
}

const DROP: &str = "--bounding-set -sys_admin,-net_admin --inh-caps -sys_admin,-net_admin";

pub fn allows_namespaces() -> bool {
    output(BINARY, &["probe"]).contains(r#""isolation":"namespaces""#)
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

pub fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

pub fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until it is so, and says what it saw last when it never is.
pub fn wait_until<T: Debug>(
    what: &str,
    mut look: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "{what} did not happen; last: {seen:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn exists(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists())
}
