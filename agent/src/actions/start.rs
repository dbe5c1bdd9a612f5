//! `start()` (`docs/spec/agent-protocol.md` §3.3).

use fs_err as fs;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::dispatch::Call;
use crate::error::{Context, Result, plain};
use crate::files;
use crate::spec::StoredSpec;
use crate::supervisor::{Selection, Verb};

/// Hands the jobs' monit files to the supervisor and asks it to start them; doesn't wait for processes.
pub async fn start(call: Call) -> Result<Value> {
    let agent = &call.agent;
    let spec = StoredSpec::load(&agent.layout)?;
    configure_jobs(agent, &spec.jobs()).context("Configuring jobs")?;
    // Before the reload: the supervisor starts nothing new while the marker says "stopped on purpose".
    files::remove(&agent.layout.monit_stopped()).context("Removing stopped File")?;
    agent.supervisor.reload().await.context("Reloading monit")?;
    agent
        .supervisor
        .act(Verb::Start, Selection::visible())
        .await
        .context("Starting Monitored Services")?;
    agent.write_health().await?;
    Ok(json!("started"))
}

/// Later jobs get lower numbers.
fn configure_jobs(agent: &Agent, jobs: &[String]) -> Result<()> {
    let layout = &agent.layout;
    files::remove(&layout.monit_jobs())?;
    files::make_dir(&layout.monit_jobs(), 0o755)?;
    for (number, job) in jobs.iter().rev().enumerate() {
        let bundle = layout.job(job);
        let copy = |from: &std::path::Path, label: &str| {
            let text = fs::read(from).map_err(plain)?;
            let to = layout
                .monit_jobs()
                .join(format!("{number:04}_{job}{label}.monitrc"));
            files::replace(&to, &text, 0o600)
        };
        let own = bundle.join("monit");
        if own.is_file() {
            copy(&own, "")?;
        }
        let mut labelled: Vec<_> = fs::read_dir(&bundle)
            .map_err(plain)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ext| ext == "monit"))
            .collect();
        labelled.sort();
        for path in labelled {
            let label = path.file_stem().unwrap_or_default().to_string_lossy();
            copy(&path, &format!("_{label}"))?;
        }
    }
    Ok(())
}
