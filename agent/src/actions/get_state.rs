//! `get_state(["full"])` (`docs/spec/agent-protocol.md` §3.1).

use serde_json::{Value, json};

use crate::dispatch::Call;
use crate::error::{Context, Result};
use crate::spec::StoredSpec;

/// The spec, what runs, and with `full` how the VM does.
pub async fn get_state(call: Call) -> Result<Value> {
    let agent = &call.agent;
    let full = call.arguments.first() == Some(&json!("full"));
    let spec = StoredSpec::load(&agent.layout)?;
    let (job_state, services) = agent
        .job_state(true)
        .await
        .context("Getting processes status")?;
    let mut state = serde_json::to_value(spec).context("Marshalling spec")?;
    let (id, vm) = {
        let settings = agent.settings();
        let current = settings.current();
        (current.agent_id.clone(), current.vm.name.clone())
    };
    state["agent_id"] = json!(id);
    state["job_state"] = json!(job_state);
    if full {
        state["vitals"] = json!(agent.vitals.read());
    }
    let processes: Vec<_> = services
        .iter()
        .filter(|service| service.visible)
        .map(|service| service.to_process())
        .collect();
    if !processes.is_empty() {
        state["processes"] = json!(processes);
    }
    state["vm"] = json!({"name": vm});
    Ok(state)
}
