//! `stop()` (`docs/spec/agent-protocol.md` §3.3).

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::dispatch::Call;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::supervisor::{Monitor, Selection, ServiceReport, Verb};

/// For all of a stop.
const LIMIT: Duration = Duration::from_secs(300);

/// Stops the jobs; from protocol 3 on, waits for them.
pub async fn stop(call: Call) -> Result<Value> {
    let agent = &call.agent;
    let stopped = if call.protocol <= 2 {
        request_stop(agent).await
    } else {
        stop_and_wait(agent).await
    };
    stopped.context("Stopping Monitored Services")?;
    agent.write_health().await?;
    Ok(json!("stopped"))
}

async fn request_stop(agent: &Agent) -> Result<()> {
    agent
        .supervisor
        .act(Verb::Stop, Selection::visible())
        .await
        .context("Stop all services")?;
    files::replace(&agent.layout.monit_stopped(), b"", 0o600).context("Creating stopped File")
}

async fn stop_and_wait(agent: &Agent) -> Result<()> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    let pending = |service: &ServiceReport| service.pending.is_some();
    wait(agent, deadline, pending, "no longer be pending").await?;
    request_stop(agent).await?;
    let stopping = |service: &ServiceReport| pending(service) || service.monitor != Monitor::Off;
    wait(agent, deadline, stopping, "stop").await
}

/// Waits until `busy` is true of no service; told of changes by the supervisor, so nothing is polled.
async fn wait(
    agent: &Agent,
    deadline: tokio::time::Instant,
    busy: impl Fn(&ServiceReport) -> bool,
    what: &str,
) -> Result<()> {
    let mut changes = agent.supervisor.changes();
    loop {
        changes.mark_unchanged();
        let services = agent.supervisor.report(false).await?;
        // The report itself counts as a change.
        changes.mark_unchanged();
        let visible = || services.iter().filter(|service| service.visible);
        let errored: Vec<_> = visible()
            .filter(|s| s.monitor == Monitor::Off && s.pending.is_none() && s.error.is_some())
            .map(|service| service.name.as_str())
            .collect();
        if what == "stop" && !errored.is_empty() {
            return Err(Error::new(format!(
                "Stopping services '[{}]' errored",
                errored.join(" ")
            )));
        }
        let waiting: Vec<_> = visible()
            .filter(|service| busy(service))
            .map(|service| service.name.as_str())
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let timed_out = tokio::time::timeout_at(deadline, changes.changed()).await;
        if timed_out.is_err() {
            return Err(Error::new(format!(
                "Timed out waiting for services '{}' to {what} after 5 minutes",
                waiting.join(", ")
            )));
        }
    }
}
