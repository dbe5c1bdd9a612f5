//! `run_errand([job])` (`docs/spec/agent-protocol.md` §3.6).

use std::collections::BTreeMap;

use agent_protocol::ErrandResult;
use serde_json::{Value, json};

use super::scripts;
use crate::dispatch::Call;
use crate::error::{Context, Error, Result};
use crate::spec::StoredSpec;

/// Runs a job's `bin/run` to its end.
pub async fn run_errand(call: Call) -> Result<Value> {
    let name: Option<String> = call.optional(0)?;
    let spec = StoredSpec::load(&call.agent.layout)?;
    let job = match name {
        Some(name) => {
            if !spec.templates().contains(&name) {
                return Err(Error::new(format!("Could not find errand {name}")));
            }
            name
        }
        None if spec.job.template.is_empty() => {
            return Err(Error::new(
                "At least one job template is required to run an errand",
            ));
        }
        None => spec.job.template,
    };
    let path = call.agent.layout.job_bin(&job, "run");
    let command = scripts::command(&path, &BTreeMap::new(), 0);
    let output = scripts::run_captured(&path, command, &call.cancel)
        .await
        .context("Running errand script")?;
    Ok(json!(ErrandResult {
        stdout: output.stdout,
        stderr: output.stderr,
        exit_code: output.code,
    }))
}
