//! `create-env`, `delete-env`, `stop-env`, `start-env`: one VM, a director or any other, from a manifest through a CPI that is
//! installed on this machine, with a state file in place of a director's database (spec cli §17).
//!
//! ```text
//! manifest ── manifest, deployment, validation
//!    │           └── archives, releases: fetched and unpacked
//!    ▼
//! install: CPI ──▶ cloud ──▶ state file          agent ══ HTTPS ══ the VM's agent
//!                    └────────── instance, disks ──┘
//! ```
//!
//! Every resource is in the state file as soon as the infrastructure has told its id, and what a killed run had begun is
//! found again, so that running a command again converges.

mod agent;
mod archives;
mod cloud;
mod deployment;
mod disks;
mod install;
mod instance;
mod manifest;
mod read;
mod releases;
mod render;
mod stage;
mod state;
mod validation;

use crate::config::home;
use crate::error::{Error, Result, Within};
use crate::interpolate::Loaded;
use crate::ui::Ui;
use ::manifest::template;
use ::manifest::yaml::{self, Value};
use agent::Agent;
use archives::{Downloads, Stemcell};
use cloud::Cloud;
use deployment::Deployment;
use domain::{Digest, DigestAlgorithm};
use install::Target;
use instance::{Jobs, Plan, UNKNOWN};
use manifest::{Installation, ReleaseRef};
use releases::Releases;
use stage::{Outcome, Stage};
use state::{State, StemcellRecord};
use std::path::{Path, PathBuf};

/// What all four commands are given. The flags' files are read already.
pub struct Options {
    pub ui: Ui,
    /// Absolute.
    pub manifest: PathBuf,
    pub text: String,
    pub variables: Loaded,
    pub state: Option<String>,
    pub package_dir: Option<String>,
    pub skip_drain: bool,
}

/// What `create-env` does even if nothing changed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recreate {
    pub vm: bool,
    pub disks: bool,
}

/// A manifest, evaluated and read.
struct Manifest {
    document: Value,
    sha: String,
    releases: Vec<ReleaseRef>,
    installation: Installation,
}

impl Manifest {
    fn read(path: &Path, text: &str, variables: Loaded) -> Result<Self> {
        let options = template::Options {
            expect_all_found: true,
            ..template::Options::default()
        };
        let document = variables
            .evaluate(text, &options)
            .within(|| "Evaluating manifest")
            .within(|| format!("Parsing release set manifest '{}'", path.display()))?;
        // compat: over the text that the original's writer gives.
        let text = yaml::to_cli_string(&document);
        let sha = Digest::of_reader(DigestAlgorithm::Sha512, text.as_bytes())
            .map_err(|error| Error::from_chain(&error))?
            .hex()
            .to_owned();
        let releases = manifest::releases(path, &document)?;
        let installation = manifest::installation(path, &document, &releases)?;
        Ok(Manifest {
            document,
            sha,
            releases,
            installation,
        })
    }
}

/// One run of a command.
struct Run {
    ui: Ui,
    path: PathBuf,
    package_dir: Option<String>,
    skip_drain: bool,
}

impl Run {
    fn target(&self, state: &mut State) -> Result<Target> {
        let folder = home()?.join(".bosh/installations");
        let target = Target::new(
            folder.join(state.installation_id()?),
            self.package_dir.as_deref(),
        )?;
        target.prepare_tmp()?;
        Ok(target)
    }

    async fn fetch(
        &self,
        wanted: &[&ReleaseRef],
        target: &Target,
        stage: &mut Stage,
    ) -> Result<Releases> {
        let downloads = downloads()?;
        let mut releases = Releases::default();
        for release in wanted {
            let tarball = downloads.get(&release.archive, stage).await?;
            let add = async { releases.add(release, &tarball, &target.tmp()) };
            stage
                .step(format!("Validating release '{}'", release.name), add)
                .await?;
        }
        Ok(releases)
    }

    fn agent(&self, installation: &Installation, state: &State) -> Result<Agent> {
        let ca = installation.ca.as_deref();
        Agent::new(&installation.mbus, ca, &state.data.director_id)
    }
}

fn downloads() -> Result<Downloads> {
    Downloads::new(home()?.join(".bosh/downloads"))
}

/// Begins a command; where its state is.
fn begin(options: Options) -> (Run, PathBuf, String, Loaded) {
    let Options {
        ui,
        manifest,
        text,
        variables,
        state,
        package_dir,
        skip_drain,
    } = options;
    ui.begin_line(format!("Deployment manifest: '{}'\n", manifest.display()));
    let state = State::path_of(&manifest, state.as_deref());
    ui.begin_line(format!("Deployment state: '{}'\n", state.display()));
    let run = Run {
        ui,
        path: manifest,
        package_dir,
        skip_drain,
    };
    (run, state, text, variables)
}

/// Reads and checks the deployment, a step of its own.
async fn read_deployment(
    path: &Path,
    manifest: &Manifest,
    releases: Option<&Releases>,
    stage: &mut Stage,
) -> Result<Deployment> {
    let read = async {
        let deployment = Deployment::read(path, &manifest.document)?;
        deployment.validate(&manifest.releases)?;
        if let Some(releases) = releases {
            deployment.validate_jobs(releases)?;
        }
        Ok(deployment)
    };
    stage.step("Validating deployment manifest", read).await
}

/// Makes the VM or brings it to what the manifest says.
pub async fn create(options: Options, recreate: Recreate) -> Result<()> {
    let (run, state_path, text, variables) = begin(options);
    let ui = &run.ui;
    if !state_path.exists()
        && let Some(legacy) = State::migrate(&state_path, &run.path)?
    {
        let legacy = legacy.display();
        ui.begin_line(format!("Migrated legacy deployments file: '{legacy}'\n"));
    }
    let mut state = State::load(&state_path)?;
    let target = run.target(&mut state)?;
    let mut stage = Stage::new(ui);
    let (manifest, releases, deployment, stemcell) = stage
        .group("validating", async |stage| {
            let manifest = Manifest::read(&run.path, &text, variables)?;
            let all: Vec<&ReleaseRef> = manifest.releases.iter().collect();
            let releases = run.fetch(&all, &target, stage).await?;
            let check = async { install::validate(&manifest.installation, &releases) };
            stage.step("Validating cpi release", check).await?;
            let deployment = read_deployment(&run.path, &manifest, Some(&releases), stage).await?;
            let archive = &deployment.resource_pool()?.stemcell;
            let tarball = downloads()?.get(archive, stage).await?;
            let unpack = async { Stemcell::unpack(&tarball, &target.tmp()) };
            let stemcell = stage.step("Validating stemcell", unpack).await?;
            Ok((manifest, releases, deployment, stemcell))
        })
        .await?;
    let versions = releases.versions();
    let of_stemcell = (stemcell.name.as_str(), stemcell.version.as_str());
    if !recreate.vm && !recreate.disks && state.is_deployed(&manifest.sha, of_stemcell, &versions) {
        ui.begin_line("No deployment, stemcell or release changes. Skipping deploy.\n");
        return Ok(());
    }
    let installed =
        install::install(&manifest.installation, &releases, &target, &mut stage).await?;
    let deployed = async {
        let version = stemcell.api_version.max(1);
        let cloud = Cloud::new(&installed, &target, &state.data.director_id, version)
            .within(|| "Creating CPI client from CPI installation")?;
        cloud.check_version().await?;
        cloud.take_over(&mut state).await?;
        let record = upload(&cloud, &stemcell, &mut state, &mut stage).await?;
        let agent = run.agent(&manifest.installation, &state)?;
        let plan = Plan {
            cloud: &cloud,
            agent: &agent,
            deployment: &deployment,
            releases: &releases,
            stemcell: &record,
            recreate_disks: recreate.disks,
            tmp: &target.tmp(),
        };
        stage
            .group("deploying", async |stage| {
                state
                    .begin_deploy()
                    .within(|| "Clearing deployment record")?;
                deploy(&plan, run.skip_drain, &mut state, stage)
                    .await
                    .within(|| "Deploying")?;
                state
                    .end_deploy(&manifest.sha, &versions)
                    .within(|| "Updating deployment record")
            })
            .await?;
        delete_unused_stemcells(&cloud, &mut state, &mut stage).await
    }
    .await;
    clean_up(deployed, &installed, &target, &mut stage).await
}

async fn deploy(
    plan: &Plan<'_>,
    skip_drain: bool,
    state: &mut State,
    stage: &mut Stage,
) -> Result<()> {
    let deleted = instance::delete_current(plan.cloud, plan.agent, skip_drain, state, stage);
    deleted
        .await
        .within(|| format!("Deleting existing instance '{UNKNOWN}'"))?;
    plan.create(state, stage).await
}

async fn upload(
    cloud: &Cloud,
    stemcell: &Stemcell,
    state: &mut State,
    stage: &mut Stage,
) -> Result<StemcellRecord> {
    let (name, version) = (&stemcell.name, &stemcell.version);
    let upload = async {
        if let Some(known) = state.stemcell(name, version) {
            let reason = "Stemcell already uploaded".to_owned();
            return Ok(Outcome::Skipped(known.clone(), reason));
        }
        let made = cloud.create_stemcell(stemcell, state).await?;
        Ok(Outcome::Done(made))
    };
    let step = format!("Uploading stemcell '{name}/{version}'");
    stage.step_or_skip(step, upload).await
}

/// Deletes a stemcell; `what` it is called.
async fn delete_stemcell(
    cloud: &Cloud,
    record: &StemcellRecord,
    what: &str,
    state: &mut State,
    stage: &mut Stage,
) -> Result<()> {
    let delete = async {
        let deleted = cloud.delete_stemcell(record, state).await?;
        Ok(deleted.outcome("Stemcell not found"))
    };
    let step = format!("Deleting {what} '{}'", record.cid);
    stage.step_or_skip(step, delete).await
}

async fn delete_unused_stemcells(
    cloud: &Cloud,
    state: &mut State,
    stage: &mut Stage,
) -> Result<()> {
    for record in state.unused_stemcells() {
        delete_stemcell(cloud, &record, "unused stemcell", state, stage).await?;
    }
    Ok(())
}

/// Whatever became of the work, the CPI's rendered jobs go.
async fn clean_up(
    outcome: Result<()>,
    installed: &install::Installed,
    target: &Target,
    stage: &mut Stage,
) -> Result<()> {
    let cleaned = stage
        .step("Cleaning up rendered CPI jobs", async {
            installed.clean_up(target)
        })
        .await;
    outcome.and(cleaned)
}

/// Deletes the VM with its disks and stemcells, and what is on this machine.
pub async fn delete(options: Options) -> Result<()> {
    let (run, state_path, text, variables) = begin(options);
    let Some(mut state) = existing(&run, &state_path)? else {
        return Ok(());
    };
    let target = run.target(&mut state)?;
    let mut stage = Stage::new(&run.ui);
    let (manifest, releases) = stage
        .group("validating", async |stage| {
            let manifest = Manifest::read(&run.path, &text, variables)?;
            let cpis = manifest.installation.jobs.iter();
            let mut wanted: Vec<&ReleaseRef> = Vec::new();
            for job in cpis {
                let mut known = manifest.releases.iter();
                let Some(release) = known.find(|release| release.name == job.release) else {
                    return Err(Error::message(format!(
                        "installation release '{}' must refer to a release in releases",
                        job.release
                    )));
                };
                if !wanted.contains(&release) {
                    wanted.push(release);
                }
            }
            let releases = run.fetch(&wanted, &target, stage).await?;
            let check = async { install::validate(&manifest.installation, &releases) };
            stage.step("Validating cpi release", check).await?;
            Ok((manifest, releases))
        })
        .await?;
    let installed =
        install::install(&manifest.installation, &releases, &target, &mut stage).await?;
    let deleted = async {
        let version = state
            .current_stemcell()
            .map_or(1, |stemcell| stemcell.api_version);
        let cloud = Cloud::new(&installed, &target, &state.data.director_id, version)
            .within(|| "Creating CPI client from CPI installation")?;
        cloud.take_over(&mut state).await?;
        let agent = run.agent(&manifest.installation, &state)?;
        stage
            .group("deleting deployment", async |stage| {
                let stemcell = state.current_stemcell().cloned();
                instance::delete_current(&cloud, &agent, run.skip_drain, &mut state, stage).await?;
                disks::delete_current(&cloud, &mut state, stage).await?;
                if let Some(stemcell) = stemcell {
                    delete_stemcell(&cloud, &stemcell, "stemcell", &mut state, stage).await?;
                }
                Ok(())
            })
            .await
            .within(|| "Deleting deployment")?;
        disks::delete_unused(&cloud, &mut state, &mut stage).await?;
        delete_unused_stemcells(&cloud, &mut state, &mut stage).await?;
        let uninstall = async {
            target.uninstall()?;
            state.remove()
        };
        stage
            .step(
                "Uninstalling local artifacts for CPI and deployment",
                uninstall,
            )
            .await
    }
    .await;
    clean_up(deleted, &installed, &target, &mut stage).await
}

/// The state that is there; none is told.
fn existing(run: &Run, path: &Path) -> Result<Option<State>> {
    if !path.exists() {
        run.ui.begin_line("No deployment state file found.\n");
        return Ok(None);
    }
    State::load(path).map(Some)
}

/// Stops the jobs; the VM stays.
pub async fn stop(options: Options) -> Result<()> {
    let skip_drain = options.skip_drain;
    let doing = "stopping deployment";
    with_jobs(
        options,
        "Stopping environment",
        doing,
        async |jobs, _, stage| jobs.stop(skip_drain, false, stage).await,
    )
    .await
}

/// Starts the jobs.
pub async fn start(options: Options) -> Result<()> {
    let doing = "starting deployment";
    with_jobs(
        options,
        "Starting environment",
        doing,
        async |jobs, watch, stage| jobs.start(watch, stage).await,
    )
    .await
}

async fn with_jobs(
    options: Options,
    failing: &str,
    doing: &str,
    work: impl AsyncFnOnce(&Jobs<'_>, deployment::WatchTime, &mut Stage) -> Result<()>,
) -> Result<()> {
    let (run, state_path, text, variables) = begin(options);
    let Some(state) = existing(&run, &state_path)? else {
        return Ok(());
    };
    let mut stage = Stage::new(&run.ui);
    let (manifest, deployment) = stage
        .group("validating", async |stage| {
            let manifest = Manifest::read(&run.path, &text, variables)?;
            let deployment = read_deployment(&run.path, &manifest, None, stage).await?;
            Ok((manifest, deployment))
        })
        .await?;
    let Some(vm) = state.vm() else {
        return Err(
            Error::message("The state file has no VM: make one with create-env").within(failing),
        );
    };
    let agent = run.agent(&manifest.installation, &state)?;
    let jobs = Jobs {
        agent: &agent,
        vm,
        instance: UNKNOWN,
    };
    stage
        .group(doing, async |stage| {
            work(&jobs, deployment.watch, stage).await
        })
        .await
}
