//! A director's task engine on a real database and a real message bus, over a model cloud.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_protocol::{AgentClient, Patience, Reply, Target};
use async_trait::async_trait;
use bosun_director::cloud::Cpis;
use bosun_director::config::Settings;
use bosun_director::deploy::args;
use bosun_director::services::Services;
use bosun_director::tasks::{self, Engine, NewTask, Options, Task};
use bytes::Bytes;
use domain::BlobId;
use futures_util::FutureExt;
use serde_json::{Value as Json, json};
use sqlx::{Connection, PgConnection};
use test_support::{FakeCloud, TestDatabase, TestNats};
use tokio_util::sync::CancellationToken;

/// Everything a deploy needs, uploaded and configured.
pub struct Bench {
    pub cloud: FakeCloud,
    pub services: Arc<Services>,
    /// The deployment that all tasks are about.
    deployment: String,
    /// Whether agents are waited for less long than by the original.
    hurries: Arc<AtomicBool>,
    /// Agent id to instance, for tests that follow agents over several deploys.
    pub names: std::sync::Mutex<std::collections::BTreeMap<String, String>>,
    database: TestDatabase,
    engine: Option<Engine>,
    workers: u32,
    _nats: TestNats,
    _folder: tempfile::TempDir,
}

pub const CLOUD_CONFIG: &str = "
azs:
- {name: z1}
- {name: z2}
vm_types:
- {name: small, cloud_properties: {cores: 1}}
- {name: big, cloud_properties: {cores: 4}}
disk_types:
- {name: data, disk_size: 1024}
- {name: large, disk_size: 2048}
networks:
- name: default
  type: manual
  subnets:
  - {range: 10.9.1.0/24, gateway: 10.9.1.1, az: z1, static: [10.9.1.100-10.9.1.110]}
  - {range: 10.9.2.0/24, gateway: 10.9.2.1, az: z2, static: [10.9.2.100-10.9.2.110]}
compilation: {workers: 2, az: z1, network: default, vm_type: small, reuse_compilation_vms: true}
";

/// How a task ended.
#[derive(Debug)]
pub struct Ended {
    pub task: Task,
    pub events: Vec<Json>,
}

impl Bench {
    /// A director with a cloud config, a release `demo` and two stemcells.
    pub async fn start() -> anyhow::Result<Bench> {
        let bench = Bench::empty("bench", "demo").await?;
        bench.upload().await?;
        Ok(bench)
    }

    /// A director of this name without uploads.
    pub async fn empty(name: &str, deployment: &str) -> anyhow::Result<Bench> {
        Bench::with_settings(name, deployment, "").await
    }

    /// The same with more lines of settings.
    pub async fn with_settings(name: &str, deployment: &str, more: &str) -> anyhow::Result<Bench> {
        let (database, nats) = (TestDatabase::create().await?, TestNats::start().await?);
        let folder = tempfile::tempdir()?;
        let settings = settings(folder.path(), name, database.url(), nats.url(), more)?;
        let mut services =
            Services::connect(settings, "bench".into(), CancellationToken::new()).await?;
        let blobs = services.blobs.clone();
        let put = Arc::new(move |_url: Option<String>, bytes: Vec<u8>| {
            let blobs = blobs.clone();
            async move {
                let id = blobstore::new_id();
                blobs.put_bytes(&id, bytes.into()).await?;
                Ok(id.into_string())
            }
            .boxed()
        });
        let cloud = FakeCloud::new(nats.url(), put).await?;
        services.cpis = Cpis::shared(Arc::new(cloud.clone()));
        let hurries = Arc::new(AtomicBool::new(false));
        services.agents = Arc::new(Hurrying {
            agents: services.agents,
            hurries: hurries.clone(),
        });
        let mut bench = Bench {
            cloud,
            services: Arc::new(services),
            deployment: deployment.into(),
            hurries,
            names: Default::default(),
            database,
            engine: None,
            workers: 0,
            _nats: nats,
            _folder: folder,
        };
        bench.start_worker().await?;
        Ok(bench)
    }

    /// From now on agents are waited for two seconds where the original waits 45.
    pub fn hurry(&self) {
        self.hurries.store(true, Ordering::Relaxed);
    }

    pub async fn sql(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(self.database.url()).await?)
    }

    /// A worker of its own name: what it leaves is found by the next one.
    pub async fn start_worker(&mut self) -> anyhow::Result<()> {
        self.workers += 1;
        let owner = format!("bench#{}", self.workers);
        let options = Options::new(2, "bench".into(), owner.into());
        self.engine = Some(Engine::start(self.services.clone(), options).await?);
        Ok(())
    }

    /// Stops dead, as kill -9 would.
    pub fn crash(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.abandon();
        }
    }

    /// Gives the database its connections back: one server serves all tests of the process.
    pub async fn finish(mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown(Duration::from_secs(5)).await;
        }
        self.services.store.close().await;
    }

    async fn upload(&self) -> anyhow::Result<()> {
        let mut sql = self.sql().await?;
        for version in ["1", "2"] {
            let cid = format!("stemcell-{version}");
            sqlx::query(
                "insert into stemcells (name, version, operating_system, cid, api_version) values ('bosh-fake', $1, 'fake-os', $2, 2)",
            )
            .bind(version)
            .bind(&cid)
            .execute(&mut sql)
            .await?;
            self.cloud.add_stemcell(&cid);
        }
        let release: i64 =
            sqlx::query_scalar("insert into releases (name) values ('demo') returning id")
                .fetch_one(&mut sql)
                .await?;
        let version: i64 = sqlx::query_scalar(
            "insert into release_versions (release_id, version, update_completed) values ($1, '1', true) returning id",
        )
        .bind(release)
        .fetch_one(&mut sql)
        .await?;
        for (name, dependencies) in [("lib", json!([])), ("app", json!(["lib"]))] {
            let blob = self.put(format!("source of {name}").into_bytes()).await?;
            let id: i64 = sqlx::query_scalar(
                "insert into packages (release_id, name, version, fingerprint, sha1, blob_id, dependencies)
                 values ($1, $2, $3, $3, 'abc', $4, $5) returning id",
            )
            .bind(release)
            .bind(name)
            .bind(format!("fp-{name}"))
            .bind(&blob)
            .bind(&dependencies)
            .fetch_one(&mut sql)
            .await?;
            sqlx::query("insert into release_version_packages values ($1, $2)")
                .bind(version)
                .bind(id)
                .execute(&mut sql)
                .await?;
        }
        for (name, packages) in [
            ("web", json!(["app"])),
            ("store", json!([])),
            ("check", json!([])),
        ] {
            let spec = json!({
                "name": name,
                "templates": {"config.erb": "config/config", "run.erb": "bin/run"},
                "packages": packages,
                "properties": {"greeting": {"default": "hello"}},
            });
            let blob = self.put(job_archive(&spec)?).await?;
            let sha1 = {
                let bytes = self
                    .services
                    .blobs
                    .get_bytes(&BlobId::new(blob.clone()), None)
                    .await?;
                domain::Digest::sha1(&bytes).hex().to_owned()
            };
            let id: i64 = sqlx::query_scalar(
                "insert into jobs (release_id, name, version, fingerprint, sha1, blob_id, spec)
                 values ($1, $2, $3, $3, $4, $5, $6) returning id",
            )
            .bind(release)
            .bind(name)
            .bind(format!("fp-{name}-job"))
            .bind(sha1)
            .bind(&blob)
            .bind(&spec)
            .fetch_one(&mut sql)
            .await?;
            sqlx::query("insert into release_version_jobs values ($1, $2)")
                .bind(version)
                .bind(id)
                .execute(&mut sql)
                .await?;
        }
        sqlx::query("insert into configs (type, name, content) values ('cloud', 'default', $1)")
            .bind(CLOUD_CONFIG)
            .execute(&mut sql)
            .await?;
        Ok(())
    }

    async fn put(&self, bytes: Vec<u8>) -> anyhow::Result<String> {
        let id = blobstore::new_id();
        self.services
            .blobs
            .put_bytes(&id, Bytes::from(bytes))
            .await?;
        Ok(id.into_string())
    }

    /// Queues a deploy of `demo`.
    pub async fn queue(&self, args: args::UpdateDeployment) -> anyhow::Result<i64> {
        sqlx::query(
            "insert into deployments (name, canonical_name) values ($1, $1) on conflict do nothing",
        )
        .bind(&self.deployment)
        .execute(&mut self.sql().await?)
        .await?;
        self.queue_task("update_deployment", serde_json::to_value(args)?)
            .await
    }

    pub async fn queue_task(&self, kind: &str, args: Json) -> anyhow::Result<i64> {
        let new = NewTask {
            kind: kind.into(),
            description: "create deployment".into(),
            user: "admin".into(),
            deployment: Some(self.deployment.clone()),
            args,
            ..NewTask::default()
        };
        Ok(tasks::enqueue(&self.services.store, new).await?.id)
    }

    pub async fn deploy(&self, manifest: &str) -> anyhow::Result<Ended> {
        self.deploy_with(args::UpdateDeployment {
            manifest: Some(manifest.into()),
            ..Default::default()
        })
        .await
    }

    pub async fn deploy_with(&self, args: args::UpdateDeployment) -> anyhow::Result<Ended> {
        let id = self.queue(args).await?;
        self.ended(id).await
    }

    /// Deploys what has to be deployed for a test to go on.
    pub async fn deployed(&self, manifest: &str) -> Ended {
        self.deploy(manifest).await.unwrap().done().unwrap()
    }

    /// Runs a task that has to end well.
    pub async fn succeed(&self, kind: &str, args: Json) -> Ended {
        self.run(kind, args).await.unwrap().done().unwrap()
    }

    /// Waits for a task that has to end well.
    pub async fn succeeded(&self, id: i64) -> Ended {
        self.ended(id).await.unwrap().done().unwrap()
    }

    pub async fn run(&self, kind: &str, args: Json) -> anyhow::Result<Ended> {
        let id = self.queue_task(kind, args).await?;
        self.ended(id).await
    }

    /// Waits for a task's end.
    pub async fn ended(&self, id: i64) -> anyhow::Result<Ended> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let task = self
                .services
                .store
                .find_task(id)
                .await?
                .expect("the task was queued");
            if ["done", "error", "cancelled"].contains(&task.state.as_str()) {
                let events = String::from_utf8(self.output(id, "event").await?)?;
                let events = events
                    .lines()
                    .map(serde_json::from_str)
                    .collect::<Result<_, _>>()?;
                return Ok(Ended { task, events });
            }
            if Instant::now() > deadline {
                let sql = &mut self.sql().await?;
                let busy: Vec<(i32, Option<String>, Option<String>, String)> = sqlx::query_as(
                    "select pid, state, wait_event, left(query, 200) from pg_stat_activity where datname = current_database()",
                )
                .fetch_all(sql)
                .await?;
                eprintln!("{busy:#?}");
                let steps: Vec<(String, Json)> = sqlx::query_as(
                    "select step_key, event from task_step_events order by seq desc limit 8",
                )
                .fetch_all(&mut self.sql().await?)
                .await?;
                eprintln!("{steps:#?}");
                let debug = self.output(id, "debug").await?;
                anyhow::bail!(
                    "task {id} is still {}: {}",
                    task.state,
                    String::from_utf8_lossy(&debug)
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn output(&self, id: i64, kind: &str) -> anyhow::Result<Vec<u8>> {
        let store = &self.services.store;
        let size = store.output_size(id, kind).await?.unwrap_or(0);
        Ok(store.read_output(id, kind, 0, size).await?)
    }

    /// What is there, in the cloud and in rows, by what must be equal.
    pub async fn audit(&self) -> anyhow::Result<Inventory> {
        let mut sql = self.sql().await?;
        let mut in_cloud = self.cloud.vm_cids();
        in_cloud.sort();
        let rows: Vec<Option<String>> = sqlx::query_scalar("select cid from vms order by cid")
            .fetch_all(&mut sql)
            .await?;
        let in_rows: Vec<String> = rows
            .into_iter()
            .map(|cid| cid.unwrap_or_else(|| "<requested>".into()))
            .collect();
        let mut disks_in_cloud = self.cloud.disk_cids();
        disks_in_cloud.sort();
        let disks_in_rows: Vec<String> =
            sqlx::query_scalar("select cid from (select cid from persistent_disks union all select cid from orphan_disks) d order by cid")
                .fetch_all(&mut sql)
                .await?;
        let instances: Vec<(String, String, bool, bool)> = sqlx::query_as(
            "select i.group_name, i.state, i.update_completed, exists (select 1 from vms v where v.instance_id = i.id and v.active)
             from instances i where i.lifecycle = 'service' order by i.group_name, i.index",
        )
        .fetch_all(&mut sql)
        .await?;
        let addresses: i64 = sqlx::query_scalar("select count(*) from ip_addresses")
            .fetch_one(&mut sql)
            .await?;
        anyhow::ensure!(
            in_cloud == in_rows,
            "VMs in the cloud {in_cloud:?}, in rows {in_rows:?}"
        );
        anyhow::ensure!(
            disks_in_cloud == disks_in_rows,
            "disks in the cloud {disks_in_cloud:?}, in rows {disks_in_rows:?}"
        );
        Ok(Inventory {
            instances,
            vms: in_cloud.len(),
            disks: disks_in_cloud.len(),
            addresses,
        })
    }
}

/// What is there, without names that differ from run to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Inventory {
    /// Group, state, update completed, has a VM.
    pub instances: Vec<(String, String, bool, bool)>,
    pub vms: usize,
    pub disks: usize,
    pub addresses: i64,
}

impl Ended {
    /// `stage: task` of all lines with this state, in order.
    pub fn lines(&self, state: &str) -> Vec<String> {
        let lines = self.events.iter().filter(|line| line["state"] == state);
        lines
            .map(|line| {
                format!(
                    "{}: {}",
                    line["stage"].as_str().unwrap(),
                    line["task"].as_str().unwrap()
                )
            })
            .collect()
    }

    /// Stages in order of first appearance.
    pub fn stages(&self) -> Vec<String> {
        let mut stages: Vec<String> = Vec::new();
        for line in self.events.iter().filter_map(|line| line["stage"].as_str()) {
            if !stages.iter().any(|stage| stage == line) {
                stages.push(line.to_owned());
            }
        }
        stages
    }

    pub fn done(self) -> anyhow::Result<Ended> {
        anyhow::ensure!(
            self.task.state == "done",
            "task ended {}: {:?}",
            self.task.state,
            self.task.result
        );
        Ok(self)
    }

    /// Code and text of the error, the hint on lines of its own.
    pub fn error(&self) -> String {
        let line = self.events.iter().find_map(|line| line.get("error"));
        line.map(|error| {
            let told = error["message"].as_str().unwrap_or_default();
            let hint = error["hint"].as_str().map(|hint| format!("\n{hint}"));
            format!("{} {told}{}", error["code"], hint.unwrap_or_default())
        })
        .unwrap_or_default()
    }
}

/// Asks agents, in a hurry if it has to be.
struct Hurrying {
    agents: Arc<dyn AgentClient>,
    hurries: Arc<AtomicBool>,
}

#[async_trait]
impl AgentClient for Hurrying {
    async fn exchange(
        &self,
        to: &Target,
        method: &str,
        arguments: Vec<Json>,
        mut patience: Patience,
    ) -> Result<Reply, agent_protocol::Error> {
        if self.hurries.load(Ordering::Relaxed) {
            patience.reply = patience.reply.min(Duration::from_secs(2));
        }
        self.agents.exchange(to, method, arguments, patience).await
    }

    async fn send(
        &self,
        to: &Target,
        method: &str,
        arguments: Vec<Json>,
    ) -> Result<(), agent_protocol::Error> {
        self.agents.send(to, method, arguments).await
    }
}

fn job_archive(spec: &Json) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::fast(),
    ));
    let files: [(&str, String); 4] = [
        ("job.MF", spec.to_string()),
        (
            "monit",
            format!(
                "check process {} with pidfile /p\n",
                spec["name"].as_str().unwrap()
            ),
        ),
        (
            "templates/config.erb",
            "greeting: <%= p('greeting') %>\n".into(),
        ),
        ("templates/run.erb", "#!/bin/sh\n".into()),
    ];
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, content.as_bytes())?;
    }
    Ok(tar.into_inner()?.finish()?)
}

fn settings(
    folder: &Path,
    name: &str,
    database: &str,
    nats: &str,
    more: &str,
) -> anyhow::Result<Settings> {
    let (_, pair) = pki::Ca::generate(pki::Subject::cloud_foundry("agents"))?;
    fs_err::write(folder.join("ca.pem"), &pair.certificate)?;
    fs_err::write(folder.join("ca.key"), &pair.private_key)?;
    let text = format!(
        "
name: {name}
data_dir: data
listen: {{address: 127.0.0.1, port: 1}}
database: {{url: '{database}', max_connections: 10}}
nats:
  urls: ['{nats}']
  ca: ca.pem
  client: {{certificate: ca.pem, private_key: ca.key}}
  agent_ca: {{certificate: ca.pem, private_key: ca.key}}
cpi: {{path: /nonexistent}}
blobstore: {{provider: local, secret: s3cret}}
agent_wait_timeout: 5
ruby: {{workers: 1}}
{more}"
    );
    Ok(Settings::parse(&text, "bench.yml", folder)?)
}
