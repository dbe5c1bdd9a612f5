//! Small actions.

use std::path::Path;

use agent_protocol::AgentInfo;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dispatch::Call;
use crate::error::Result;
use crate::files;

/// 1: `run_errand` accepts a job name.
const API_VERSION: u64 = 1;

/// `ping`
pub async fn ping(_call: Call) -> Result<Value> {
    Ok(json!("pong"))
}

/// `info`
pub async fn info(_call: Call) -> Result<Value> {
    Ok(json!(AgentInfo {
        api_version: API_VERSION
    }))
}

/// `get_task(id)`
pub async fn get_task(call: Call) -> Result<Value> {
    let id: String = call.argument(0, 1)?;
    call.agent.tasks.answer(&id)
}

/// `cancel_task(id)`
pub async fn cancel_task(call: Call) -> Result<Value> {
    let id: String = call.argument(0, 1)?;
    call.agent.tasks.cancel(&id)?;
    Ok(json!("canceled"))
}

/// `remove_file(path)`: what `bundle_logs` left.
pub async fn remove_file(call: Call) -> Result<Value> {
    let path: String = call.argument(0, 1)?;
    files::remove(Path::new(&path))?;
    Ok(json!(path))
}

/// `delete_arp_entries({"ips"})`
pub async fn delete_arp_entries(call: Call) -> Result<Value> {
    #[derive(Deserialize)]
    struct Entries {
        #[serde(default)]
        ips: Vec<String>,
    }
    let entries: Entries = call.argument(0, 1)?;
    call.agent.platform.forget_neighbours(&entries.ips).await;
    Ok(json!({}))
}

/// `shutdown`
pub async fn shutdown(call: Call) -> Result<Value> {
    call.agent.platform.shutdown().await?;
    Ok(json!(""))
}
