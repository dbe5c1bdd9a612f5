//! One agent with its bus, blobs and director's client.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent_protocol::{
    AgentClient, AgentState, ApplySpec, JobState, NatsAgentClient, Patience, Reply, Target,
};
use domain::{AgentId, Digest, VmCid};
use flate2::Compression;
use flate2::write::GzEncoder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bus::Bus;

/// How long a condition may take to come true, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks.
pub const MOMENT: Duration = Duration::from_millis(20);

pub const AGENT: &str = "a0b1c2d3-0000-4000-8000-000000000001";

pub struct World {
    pub dir: TempDir,
    pub bus: Bus,
    pub client: NatsAgentClient,
    pub nats: async_nats::Client,
    pub to: Target,
    agent: Option<Child>,
    /// Whether the agent runs in a VM of its own, and that with `/proc`.
    container: Option<bool>,
}

impl World {
    /// A running agent that answers.
    pub async fn start() -> Self {
        Self::start_with(json!({})).await
    }

    /// With more settings.
    pub async fn start_with(more: Value) -> Self {
        Self::start_as(more, None).await
    }

    /// In a VM of its own, with or without `/proc`.
    pub async fn start_in_container(proc: bool) -> Self {
        Self::start_as(json!({}), Some(proc)).await
    }

    async fn start_as(more: Value, container: Option<bool>) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = TempDir::with_prefix("bosun-agent-").expect("temporary directory");
        let nats_dir = dir.path().join("nats");
        fs_err::create_dir_all(&nats_dir).expect("directory");
        let bus = Bus::start(&nats_dir).await;
        let name = format!("{AGENT}.bootstrap.agent.bosh-internal");
        bus.allow(AGENT, &[&name]);
        let mut settings = json!({
            "agent_id": AGENT,
            "vm": {"name": "vm-1"},
            "mbus": bus.url(),
            "networks": {"private": {
                "type": "manual", "ip": "10.244.0.7", "netmask": "255.255.0.0",
                "default": ["dns", "gateway"], "preconfigured": true,
            }},
            "disks": {"persistent": {}},
            "blobstore": {"provider": "local", "options": {"blobstore_path": dir.path().join("blobstore")}},
            "env": {"bosh": {"mbus": {"cert": bus.client_cert(&name)}}},
        });
        for (key, value) in more.as_object().expect("object") {
            settings[key] = value.clone();
        }
        // What the VM sees of this directory.
        let shared = match container {
            Some(_) => dir.path().join("shared"),
            None => dir.path().to_path_buf(),
        };
        fs_err::create_dir_all(shared.join("blobstore")).expect("blobstore");
        fs_err::write(shared.join("settings.json"), settings.to_string()).expect("settings");
        let source = json!({"Type": "File", "SettingsPath": dir.path().join("settings.json")});
        let config = json!({"Infrastructure": {"Settings": {"Sources": [source]}}});
        fs_err::write(shared.join("agent.json"), config.to_string()).expect("agent.json");
        let nats = bus.connect().await;
        let mut world = Self {
            client: NatsAgentClient::new(nats.clone()),
            nats,
            dir,
            bus,
            to: Target {
                agent: AgentId::new(AGENT),
                instance: "web/1 (0)".into(),
            },
            agent: None,
            container,
        };
        world.start_agent().await;
        world
    }

    /// Starts the agent and waits until it answers.
    pub async fn start_agent(&mut self) {
        self.spawn_agent();
        self.client
            .wait_until_ready(&self.to, &VmCid::new("vm-1"), DEADLINE)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    /// Starts the agent; returns its pid.
    pub fn spawn_agent(&mut self) -> u32 {
        let log = fs_err::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.dir.path().join("agent.log"))
            .expect("log");
        let mut command = match self.container {
            Some(proc) => super::container::command(self.dir.path(), proc),
            None => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_bosun-agent"));
                command.args(["-P", "dummy", "-b"]).arg(self.base());
                command.arg("-C").arg(self.dir.path().join("agent.json"));
                command
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stderr(log.into_parts().0)
            .spawn()
            .expect("agent starts");
        self.agent.insert(child).id()
    }

    /// kill -9, as the out-of-memory killer does.
    pub fn kill_agent(&mut self) {
        let mut agent = self.agent.take().expect("the agent runs");
        agent.kill().expect("kill");
        agent.wait().expect("wait");
    }

    pub fn base(&self) -> PathBuf {
        match self.container {
            Some(_) => "/var/vcap".into(),
            None => self.dir.path().join("vcap"),
        }
    }

    /// The first process of the VM: the child of `unshare`.
    pub fn vm_pid(&self) -> u32 {
        let unshare = self.agent.as_ref().expect("the agent runs").id();
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        let children = fs_err::read_to_string(children).expect("children");
        children.trim().parse().expect("one child")
    }

    pub fn log(&self) -> String {
        fs_err::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default()
    }

    /// Puts a blob where the agent finds it; returns id and digest.
    pub fn blob(&self, id: &str, content: &[u8]) -> Value {
        let folder = match self.container {
            Some(_) => self.dir.path().join("shared/blobstore"),
            None => self.dir.path().join("blobstore"),
        };
        fs_err::write(folder.join(id), content).expect("blob");
        json!({"blobstore_id": id, "sha1": Digest::sha256(content).to_string()})
    }

    /// A spec with these jobs, whose files are `<job>/<path>`.
    pub fn spec(&self, hash: &str, jobs: &[&str], files: &[(&str, String)]) -> ApplySpec {
        let archive = self.blob(&format!("templates-{hash}"), &archive(files));
        let templates: Vec<_> = jobs
            .iter()
            .map(|job| json!({"name": job, "version": "v1", "sha1": "aa", "blobstore_id": "x", "logs": []}))
            .collect();
        serde_json::from_value(json!({
            "deployment": "shop",
            "job": {"name": "web", "templates": templates, "template": jobs[0], "version": "v1"},
            "index": 0, "name": "web", "id": "8c1e", "az": "z1",
            "networks": {"private": {"type": "manual", "ip": "10.244.0.7", "netmask": "255.255.0.0"}},
            "packages": {}, "persistent_disk": 0,
            "rendered_templates_archive": archive,
            "configuration_hash": hash,
        }))
        .expect("spec")
    }

    /// The state, when it is as wanted.
    pub async fn state_when(&self, what: &str, wanted: impl Fn(&AgentState) -> bool) -> AgentState {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let state = self
                .client
                .get_state(&self.to, false)
                .await
                .expect("get_state");
            if wanted(&state) {
                return state;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "never {what}: {} {:?}\n{}",
                state.job_state(),
                state.processes(),
                self.log()
            );
            tokio::time::sleep(MOMENT).await;
        }
    }

    pub async fn running(&self) -> AgentState {
        self.state_when("running", |state| state.job_state() == JobState::Running)
            .await
    }

    /// Installs and starts a spec.
    pub async fn deploy(&self, spec: &ApplySpec) {
        self.client.prepare(&self.to, spec).await.expect("prepare");
        self.client.apply(&self.to, spec).await.expect("apply");
        self.client.start(&self.to).await.expect("start");
        self.running().await;
    }

    /// Starts a long action and returns its task.
    pub async fn begin(&self, method: &str, arguments: Vec<Value>) -> String {
        let patience = Patience::for_method(method);
        match self
            .client
            .exchange(&self.to, method, arguments, patience)
            .await
        {
            Ok(Reply::Running(task)) => task.agent_task_id,
            other => panic!("not a task: {other:?}"),
        }
    }

    /// The pid in a job's pid file, when it names a live process other than `not`.
    pub async fn pid(&self, job: &str, not: Option<i32>) -> i32 {
        let file = self.base().join(format!("sys/run/{job}/{job}.pid"));
        wait_for(&format!("a pid in {}", file.display()), || {
            let pid: i32 = fs_err::read_to_string(&file).ok()?.trim().parse().ok()?;
            (Some(pid) != not && is_live(pid)).then_some(pid)
        })
        .await
    }

    /// A job whose process is `sleep`, with start and stop in a ctl script.
    pub fn sleeper(&self, job: &str) -> Vec<(String, String)> {
        let base = self.base();
        let base = base.display();
        let ctl = format!(
            "#!/bin/bash\nset -e\nRUN={base}/sys/run/{job}\ncase $1 in\n\
             start) sleep 100000 </dev/null >/dev/null 2>&1 & echo $! > $RUN/{job}.pid;;\n\
             stop) kill $(cat $RUN/{job}.pid); rm -f $RUN/{job}.pid;;\nesac\n"
        );
        let monit = format!(
            "check process {job}\n  with pidfile {base}/sys/run/{job}/{job}.pid\n  \
             start program \"{base}/jobs/{job}/bin/ctl start\" with timeout 20 seconds\n  \
             stop program \"{base}/jobs/{job}/bin/ctl stop\"\n  group vcap\n"
        );
        vec![
            (format!("{job}/monit"), monit),
            (format!("{job}/bin/ctl"), ctl),
        ]
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        // What jobs started outlives the agent; it must not outlive the test.
        if self.container.is_some() {
            return; // they ended with the VM's first process
        }
        let run = self.base().join("data/sys/run");
        for entry in walkdir::WalkDir::new(run).into_iter().flatten() {
            let text = fs_err::read_to_string(entry.path()).unwrap_or_default();
            if let Ok(pid) = text.trim().parse::<i32>()
                && pid > 1
                && entry.path().extension().is_some_and(|ext| ext == "pid")
            {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// A gzipped tar archive of these files, programs executable.
pub fn archive<N: AsRef<str>>(files: &[(N, String)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        let name = format!("./{}", name.as_ref());
        builder
            .append_data(&mut header, name, content.as_bytes())
            .expect("archive");
    }
    let encoder = builder.into_inner().expect("archive");
    encoder.finish().expect("archive")
}

/// Waits for something to be there.
pub async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never saw {what}");
        tokio::time::sleep(MOMENT).await;
    }
}

/// Runs and is not a zombie that nobody waited for.
pub fn is_live(pid: i32) -> bool {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub fn mode(path: &Path) -> u32 {
    let meta = fs_err::metadata(path).expect("metadata");
    meta.permissions().mode() & 0o7777
}
