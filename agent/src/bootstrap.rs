//! From settings to a working agent (`docs/spec/agent-protocol.md` §5.4): directories, settings, disk, supervisor,
//! message bus. What is slow about the machine (users, passwords) is done while the bus already connects.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::actions::disks;
use crate::agent::Agent;
use crate::applier::job;
use crate::error::{Context, Error, Result};
use crate::layout::Layout;
use crate::options::Options;
use crate::platform::{Container, Dummy, Platform};
use crate::settings::{self, source::AgentConfig, source::Source};
use crate::spec::StoredSpec;
use crate::supervisor::{self, socket};
use crate::tasks::Tasks;
use crate::{bus, dispatch, files, heartbeat};

/// Runs until the process is told to end.
pub async fn run(options: Options) -> Result<()> {
    let layout = Layout::new(&options.base);
    make_directories(&layout)?;
    let platform: Arc<dyn Platform> = match options.platform.as_str() {
        "dummy" => Arc::new(Dummy::new(layout.clone())),
        _ => Arc::new(Container::new(layout.clone(), options.machine)),
    };
    own_directories(&layout, platform.as_ref())?;
    let sources = sources(options.config.as_deref())?;
    let settings = settings::Service::load(layout.clone(), sources).context("Fetching settings")?;
    let (tasks, jobs) = Tasks::load(layout.tasks())?;
    make_job_directories(&layout, platform.as_ref())?;

    let (alerts, alerts_receiver) = mpsc::unbounded_channel();
    // Before any job is started.
    disks::remount_last(&layout, platform.as_ref(), &settings).await?;
    let supervisor = supervisor::Handle::start(supervisor_files(&layout), alerts);
    let agent = Arc::new(Agent::new(
        layout.clone(),
        platform,
        settings,
        supervisor.clone(),
        tasks,
    ));

    tokio::spawn(heartbeat::pass_alerts(agent.clone(), alerts_receiver));
    tokio::spawn(heartbeat::run(agent.clone()));
    tokio::spawn(serve_monit(layout.clone(), supervisor));
    tokio::spawn(set_up_then_work(agent.clone(), jobs));
    bus::serve(agent).await
}

fn sources(config: Option<&Path>) -> Result<Vec<Source>> {
    let config = config.ok_or_else(|| {
        Error::new("-C is missing: the agent needs an agent.json that names its settings sources")
    })?;
    AgentConfig::read(config)?.sources()
}

/// Tasks wait until the machine is set up; questions don't.
async fn set_up_then_work(agent: Arc<Agent>, jobs: mpsc::UnboundedReceiver<crate::tasks::Job>) {
    let turn = agent.in_turn.lock().await;
    let settings = agent.settings().current().clone();
    if let Err(error) = agent.platform.set_up(&settings).await {
        // The director finds a machine that answers and can fetch this log, rather than one that is silent.
        tracing::error!(%error, "setting up the machine failed in part");
    }
    drop(turn);
    dispatch::work(agent, jobs).await;
}

async fn serve_monit(layout: Layout, supervisor: supervisor::Handle) {
    if let Err(error) = socket::serve(&layout.monit_socket(), supervisor).await {
        tracing::error!(%error, "the monit command will not work");
    }
}

fn supervisor_files(layout: &Layout) -> supervisor::Files {
    supervisor::Files {
        monit: vec![layout.monit(), layout.monit_jobs()],
        state: layout.supervisor_state(),
        stopped: layout.monit_stopped(),
        run: layout.data_run(),
    }
}

fn make_directories(layout: &Layout) -> Result<()> {
    for (path, mode) in [
        (layout.base().to_path_buf(), 0o755),
        (layout.bosh(), 0o700),
        (layout.etc(), 0o755),
        (layout.agent_logs(), 0o755),
        (layout.monit(), 0o700),
        (layout.monit_jobs(), 0o755),
        (layout.instance(), 0o755),
        (layout.data(), 0o755),
        (layout.data_sys(), 0o755),
        (layout.dynamic_disks(), 0o700),
        (layout.sensitive_blobs(), 0o700),
        (layout.blobs(), 0o700),
        (layout.tmp(), 0o755),
    ] {
        files::make_dir(&path, mode).context("Setting up data dir")?;
    }
    let sys = layout.sys();
    if !sys.is_symlink() {
        // A stemcell may bring an empty directory.
        let _ = std::fs::remove_dir(&sys);
        files::point(&sys, &layout.data_sys()).context("Symlinking sys")?;
    }
    Ok(())
}

fn own_directories(layout: &Layout, platform: &dyn Platform) -> Result<()> {
    for (path, mode) in [
        (layout.data_log(), 0o750),
        (layout.data_run(), 0o750),
        (layout.data_jobs(), 0o750),
        (layout.jobs(), 0o750),
        (layout.data_packages(), 0o755),
        (layout.packages(), 0o755),
    ] {
        if files::make_dir(&path, mode).context("Setting up data dir")? {
            platform.give_to_vcap(&path)?;
        }
    }
    Ok(())
}

/// What may have gone with the ephemeral disk.
fn make_job_directories(layout: &Layout, platform: &dyn Platform) -> Result<()> {
    for name in StoredSpec::load(layout)?.jobs() {
        job::make_directories(layout, platform, &name)?;
    }
    Ok(())
}
