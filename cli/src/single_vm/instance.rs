//! The one instance: stopped, deleted, made, updated, started, in the original's steps (spec cli §17.3).

use super::agent::{Agent, REACHABLE, READY};
use super::cloud::Cloud;
use super::deployment::{Deployment, WatchTime};
use super::disks;
use super::releases::{Job, Package, Releases};
use super::render::{self, Knowledge};
use super::stage::{Outcome, Stage};
use super::state::{State, StemcellRecord};
use crate::error::{Error, Result, Within};
use agent_protocol::{CompilePackage, Dependency};
use chrono::{Local, SecondsFormat};
use domain::Digest;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

/// The instance of a VM that an earlier run made: its name is in no state.
pub const UNKNOWN: &str = "unknown/0";

/// What stop and start of the jobs need.
pub struct Jobs<'a> {
    pub agent: &'a Agent,
    /// The VM, for the texts.
    pub vm: &'a str,
    /// The instance, for the texts.
    pub instance: &'a str,
}

impl Jobs<'_> {
    /// Whether the agent answers; if not, the caller goes on without it.
    async fn is_reachable(&self, stage: &mut Stage) -> bool {
        let step = format!("Waiting for the agent on VM '{}'", self.vm);
        let waited = stage.step(step, async {
            self.agent
                .wait_until_ready(REACHABLE)
                .await
                .within(|| "Agent unreachable")
        });
        match waited.await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "Gave up waiting for agent");
                false
            }
        }
    }

    async fn run_script(&self, script: &str, stage: &mut Stage) -> Result<()> {
        let step = format!("Running the {script} scripts '{}'", self.instance);
        let run = async {
            self.agent
                .run_script(script)
                .await
                .within(|| format!("Running the {script} script"))
        };
        stage.step(step, run).await
    }

    /// Stops the jobs; `unmount` the disks too, before the VM goes.
    pub async fn stop(&self, skip_drain: bool, unmount: bool, stage: &mut Stage) -> Result<()> {
        if !self.is_reachable(stage).await {
            return Ok(());
        }
        // compat: pre-stop runs even when draining is skipped.
        self.run_script("pre-stop", stage).await?;
        if !skip_drain {
            let step = format!("Draining jobs on instance '{}'", self.instance);
            let drain = async { self.agent.drain().await.within(|| "Draining VM") };
            stage.step(step, drain).await?;
        }
        let step = format!("Stopping jobs on instance '{}'", self.instance);
        let stop = async { self.agent.stop().await.within(|| "Stopping agent") };
        stage.step(step, stop).await?;
        self.run_script("post-stop", stage).await?;
        if !unmount {
            return Ok(());
        }
        let disks = self.agent.disks().await;
        let disks = disks
            .within(|| "Listing vm disks")
            .within(|| format!("Getting VM '{}' disks", self.vm))?;
        for disk in disks {
            let step = format!("Unmounting disk '{disk}'");
            let unmount = async {
                self.agent
                    .unmount_disk(&disk)
                    .await
                    .within(|| format!("Unmounting disk '{disk}' from VM '{}'", self.vm))
            };
            stage.step(step, unmount).await?;
        }
        Ok(())
    }

    /// Starts the jobs and waits until they run.
    pub async fn start(&self, watch: WatchTime, stage: &mut Stage) -> Result<()> {
        if !self.is_reachable(stage).await {
            return Ok(());
        }
        self.run_script("pre-start", stage).await?;
        let step = format!("Starting the agent '{}'", self.instance);
        let start = async { self.agent.start().await.within(|| "Starting the agent") };
        stage.step(step, start).await?;
        self.watch(watch, stage).await?;
        self.run_script("post-start", stage).await
    }

    async fn watch(&self, watch: WatchTime, stage: &mut Stage) -> Result<()> {
        let step = format!("Waiting for instance '{}' to be running", self.instance);
        let wait = async {
            tokio::time::sleep(watch.start).await;
            let attempts = (watch.end - watch.start).as_secs();
            self.agent.wait_until_running(attempts).await
        };
        stage.step(step, wait).await
    }
}

/// Stops and deletes the VM that is there, if one is.
pub async fn delete_current(
    cloud: &Cloud,
    agent: &Agent,
    skip_drain: bool,
    state: &mut State,
    stage: &mut Stage,
) -> Result<()> {
    let Some(vm) = state.vm().map(str::to_owned) else {
        return Ok(());
    };
    if cloud
        .has_vm(&vm)
        .await
        .within(|| format!("Checking existence of vm for instance '{UNKNOWN}'"))?
    {
        let jobs = Jobs {
            agent,
            vm: &vm,
            instance: UNKNOWN,
        };
        jobs.stop(skip_drain, true, stage).await?;
    }
    // A VM that is gone is deleted too: the CPI may hold more of it.
    let delete = async {
        let deleted = cloud.delete_vm(&vm, state).await?;
        Ok(deleted.outcome("VM not found"))
    };
    stage
        .step_or_skip(format!("Deleting VM '{vm}'"), delete)
        .await
}

/// Everything that a new instance is made from.
pub struct Plan<'a> {
    pub cloud: &'a Cloud,
    pub agent: &'a Agent,
    pub deployment: &'a Deployment,
    pub releases: &'a Releases,
    pub stemcell: &'a StemcellRecord,
    pub recreate_disks: bool,
    /// For archives on their way to the VM.
    pub tmp: &'a Path,
}

impl Plan<'_> {
    /// Makes the VM with its disk, and its jobs run.
    pub async fn create(&self, state: &mut State, stage: &mut Stage) -> Result<()> {
        let group = self.deployment.group()?;
        if group.instances != 1 {
            return Err(Error::message(format!(
                "Job '{}' must have only one instance, found {}",
                group.name, group.instances
            )));
        }
        let instance = format!("{}/0", group.name);
        let made = self.create_vm(&instance, state, stage).await;
        let vm = made.within(|| format!("Creating instance '{instance}'"))?;
        let jobs = Jobs {
            agent: self.agent,
            vm: &vm,
            instance: &instance,
        };
        self.update(&jobs, stage).await
    }

    async fn create_vm(
        &self,
        instance: &str,
        state: &mut State,
        stage: &mut Stage,
    ) -> Result<String> {
        let step = format!(
            "Creating VM for instance '{instance}' from stemcell '{}'",
            self.stemcell.cid
        );
        let metadata = self.metadata(instance)?;
        let create = async {
            self.make_vm(&metadata, state)
                .await
                .within(|| "Creating VM")?;
            state.use_stemcell(self.stemcell)
        };
        stage.step(step, create).await?;
        let vm = state.vm().unwrap_or_default().to_owned();
        let step = format!("Waiting for the agent on VM '{vm}' to be ready");
        let wait = self.agent.wait_until_ready(READY);
        stage
            .step(step, wait)
            .await
            .within(|| "Waiting until instance is ready")?;
        let attacher = disks::Attacher {
            cloud: self.cloud,
            agent: self.agent,
            vm: &vm,
            metadata: &metadata,
        };
        disks::update(
            &attacher,
            self.deployment,
            self.recreate_disks,
            state,
            stage,
        )
        .await
        .within(|| "Updating instance disks")?;
        Ok(vm)
    }

    async fn make_vm(&self, metadata: &Map<String, Value>, state: &mut State) -> Result<()> {
        let pool = self.deployment.resource_pool()?;
        let mut env = pool.env.clone();
        if !self.deployment.tags.is_empty() {
            let bosh = env.entry("bosh").or_insert_with(|| json!({}));
            bosh["tags"] = json!(self.deployment.tags);
        }
        let networks = self.deployment.interfaces()?;
        self.cloud
            .create_vm(self.stemcell, &pool.cloud_properties, networks, env, state)
            .await?;
        let vm = state.vm().unwrap_or_default().to_owned();
        self.cloud.set_vm_metadata(&vm, metadata).await
    }

    fn metadata(&self, instance: &str) -> Result<Map<String, Value>> {
        let group = &self.deployment.group()?.name;
        let mut metadata = Map::new();
        for (key, value) in [
            ("deployment", self.deployment.name.as_str()),
            ("job", group),
            ("instance_group", group),
            ("index", "0"),
            ("director", "bosh-init"),
            ("name", instance),
            ("created_at", &now()),
        ] {
            metadata.insert(key.to_owned(), value.into());
        }
        metadata.extend(self.deployment.tags.clone());
        Ok(metadata)
    }

    async fn update(&self, jobs: &Jobs<'_>, stage: &mut Stage) -> Result<()> {
        let group = self.deployment.group()?;
        let interfaces = self.deployment.interfaces()?;
        let initial = spec(self.deployment, &interfaces, &[], &json!({}), None)?;
        let applied = self.agent.apply(&initial).await;
        applied
            .within(|| "Sending apply spec to agent")
            .within(|| "Applying the initial agent state")?;
        let networks = self.agent.state().await;
        let networks = networks
            .within(|| "Getting vm state")
            .within(|| format!("Getting state for instance '{}'", jobs.instance))?
            .networks();
        let building = || format!("Building state for instance '{}'", jobs.instance);
        let address = address(&interfaces, &networks).within(building)?;
        let to_render = self.releases.jobs(&group.jobs).within(building)?;

        let knowledge = Knowledge {
            deployment: &self.deployment.name,
            address: &address,
            global: &self.deployment.properties,
            group: &group.properties,
            own: &|job| {
                let mut jobs = group.jobs.iter();
                jobs.find(|own| own.name == job)?.properties.clone()
            },
        };
        let render = async {
            let rendered = render::render(&to_render, &knowledge).await?;
            let bytes =
                templates::archive(&rendered).within(|| "Compressing rendered job templates")?;
            let mut file = tempfile::NamedTempFile::new_in(self.tmp)?;
            file.write_all(&bytes)?;
            let blob = self.agent.put_blob(file.path()).await?;
            Ok((blob, Digest::sha1(&bytes).to_string()))
        };
        let archive = stage
            .step("Rendering job templates", render)
            .await
            .within(|| format!("Rendering job templates for instance '{}'", jobs.instance))
            .within(building)?;
        let packages = self.compile(&to_render, stage).await;
        let packages = packages
            .within(|| {
                format!(
                    "Compiling job package dependencies for instance '{}'",
                    jobs.instance
                )
            })
            .within(building)?;
        let templates: Vec<Value> = to_render
            .iter()
            .map(|job| blob(&job.name, &job.fingerprint, "", ""))
            .collect();
        let spec = spec(
            self.deployment,
            &interfaces,
            &templates,
            &packages,
            Some(archive),
        )?;
        let step = format!("Updating instance '{}'", jobs.instance);
        stage.step(step, self.switch(&spec)).await?;
        jobs.watch(self.deployment.watch, stage).await?;
        jobs.run_script("post-start", stage).await
    }

    async fn switch(&self, spec: &Value) -> Result<()> {
        let agent = self.agent;
        agent.stop().await.within(|| "Stopping the agent")?;
        agent
            .apply(spec)
            .await
            .within(|| "Applying the agent state")?;
        let ran = agent.run_script("pre-start").await;
        ran.within(|| "Running the pre-start script")?;
        agent.start().await.within(|| "Starting the agent")
    }

    /// Compiles what the jobs need on the VM; the spec's `packages`.
    async fn compile(&self, jobs: &[Job], stage: &mut Stage) -> Result<Value> {
        let packages = self.releases.packages(jobs)?;
        let mut done: BTreeMap<String, Dependency> = BTreeMap::new();
        for package in &packages {
            let step = format!(
                "Compiling package '{}/{}'",
                package.name, package.fingerprint
            );
            let compiled = stage
                .step_or_skip(step, self.compile_one(package, &done))
                .await?;
            done.insert(package.name.clone(), compiled);
        }
        let packages = done.into_iter().map(|(name, package)| {
            let entry = blob(
                &name,
                &package.version,
                &package.sha1,
                &package.blobstore_id,
            );
            (name, entry)
        });
        Ok(Value::Object(packages.collect()))
    }

    async fn compile_one(
        &self,
        package: &Package,
        done: &BTreeMap<String, Dependency>,
    ) -> Result<Outcome<Dependency>> {
        let blobstore_id = self.agent.put_blob(&package.archive).await;
        let blobstore_id = blobstore_id.within(|| {
            format!(
                "Adding release package archive '{}' to blobstore",
                package.archive.display()
            )
        })?;
        let outcome = |sha1: String, blobstore_id: String| Dependency {
            name: package.name.clone(),
            version: package.fingerprint.clone(),
            sha1,
            blobstore_id,
        };
        if package.is_compiled {
            let reason = "Package already compiled".to_owned();
            let made = outcome(package.digest.clone(), blobstore_id);
            return Ok(Outcome::Skipped(made, reason));
        }
        let needs = package
            .dependencies
            .iter()
            .filter_map(|name| Some((name.clone(), done.get(name)?.clone())));
        let request = CompilePackage {
            blobstore_id,
            digest: package.digest.clone(),
            name: package.name.clone(),
            version: package.fingerprint.clone(),
            deps: needs.collect(),
        };
        let compiled = self.agent.compile_package(&request).await?;
        let blobstore_id = compiled.blobstore_id.ok_or_else(|| {
            Error::message(format!(
                "Unable to parse 'compile_package' response from the agent: no blobstore_id for '{}'",
                package.name
            ))
        })?;
        Ok(Outcome::Done(outcome(compiled.sha1, blobstore_id)))
    }
}

/// The time as metadata has it.
pub fn now() -> String {
    Local::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn blob(name: &str, version: &str, sha1: &str, blobstore_id: &str) -> Value {
    json!({"name": name, "version": version, "sha1": sha1, "blobstore_id": blobstore_id})
}

/// The apply spec; without an archive it has no jobs.
fn spec(
    deployment: &Deployment,
    networks: &Map<String, Value>,
    jobs: &[Value],
    packages: &Value,
    archive: Option<(String, String)>,
) -> Result<Value> {
    let group = &deployment.group()?.name;
    let (blobstore_id, sha1) = archive.unwrap_or_default();
    Ok(json!({
        "deployment": deployment.name,
        "name": group,
        "index": 0,
        "id": "0",
        "az": "unknown",
        "packages": packages,
        "networks": networks,
        "job": {"name": group, "templates": jobs},
        "rendered_templates_archive": {"blobstore_id": blobstore_id, "sha1": sha1},
        "configuration_hash": "unused-configuration-hash",
    }))
}

/// The address on the network that is the default for the gateway.
fn address(interfaces: &Map<String, Value>, known: &Map<String, Value>) -> Result<String> {
    let is_default = |interface: &Value| {
        let defaults = interface["default"].as_array();
        defaults.is_some_and(|defaults| defaults.iter().any(|default| default == "gateway"))
    };
    let Some((name, interface)) = interfaces.iter().find(|(_, i)| is_default(i)) else {
        return Err(Error::message("Must specify default network"));
    };
    let fixed = interface["ip"].as_str();
    let given = known.get(name).and_then(|network| network["ip"].as_str());
    Ok(fixed.or(given).unwrap_or_default().to_owned())
}
