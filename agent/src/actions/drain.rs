//! `drain(type, [spec])` (`docs/spec/agent-protocol.md` §3.4).

use std::collections::BTreeMap;
use std::time::Duration;

use agent_protocol::{ApplySpec, DrainType};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::run_script;
use super::scripts::{self, Script};
use crate::dispatch::Call;
use crate::error::{Context, Error, Result};
use crate::spec::StoredSpec;
use crate::supervisor::{Selection, Verb};

/// What all drain scripts of one drain are told.
struct Parameters {
    arguments: Vec<String>,
    state: String,
    next_state: Option<String>,
}

/// Stops looking after the jobs, runs their drain scripts, and waits as long as they ask.
pub async fn drain(call: Call) -> Result<Value> {
    let kind: String = call.argument(0, 1)?;
    let new: Option<ApplySpec> = call.optional(1)?;
    let agent = &call.agent;
    let current = StoredSpec::load(&agent.layout)?;
    let parameters = match kind.as_str() {
        "update" => {
            let new = new.ok_or_else(|| Error::new("Drain update requires new spec"))?;
            update(&current, &new)
        }
        "shutdown" => {
            agent.announce_shutdown().await;
            shutdown(&current, new.as_ref())
        }
        kind if kind == DrainType::Status.as_str() => {
            return Err(Error::new("Unexpected call with drain type 'status'"));
        }
        other => return Err(Error::new(format!("Unknown drain type '{other}'"))),
    };
    agent
        .supervisor
        .act(Verb::Unmonitor, Selection::visible())
        .await
        .context("Unmonitoring services")?;
    agent.write_health().await?;
    let scripts = run_script::find(agent, &current.jobs(), "drain");
    let cancel = &call.cancel;
    let draining = scripts::run_all("drain", &scripts, |script| {
        let parameters = &parameters;
        async move { run_one(&script, parameters, cancel).await }
    });
    tokio::pin!(draining);
    tokio::select! {
        drained = &mut draining => drained?,
        () = cancel.cancelled() => {
            // The scripts end in the background; the director goes on at once.
            let scripts_end = tokio::time::timeout(Duration::from_millis(500), draining);
            let _ = scripts_end.await;
        }
    }
    Ok(json!(0))
}

fn update(current: &StoredSpec, new: &ApplySpec) -> Parameters {
    let job_change = if current.jobs().is_empty() {
        "job_new"
    } else {
        "job_changed"
    };
    let new_hash = new.configuration_hash.as_deref().unwrap_or_default();
    let hash_change = match current.configuration_hash.as_str() {
        "" => "hash_new",
        old if old == new_hash => "hash_unchanged",
        _ => "hash_changed",
    };
    let mut arguments = vec![job_change.to_owned(), hash_change.to_owned()];
    let packages = new.packages.iter().flatten();
    arguments.extend(
        packages
            .filter(|(name, package)| {
                current
                    .packages
                    .get(*name)
                    .is_none_or(|old| old.sha1 != package.sha1)
            })
            .map(|(name, _)| name.clone()),
    );
    Parameters {
        arguments,
        state: state(current.persistent_disk),
        next_state: Some(state(new.persistent_disk.unwrap_or_default())),
    }
}

fn shutdown(current: &StoredSpec, new: Option<&ApplySpec>) -> Parameters {
    Parameters {
        arguments: vec!["job_shutdown".into(), "hash_unchanged".into()],
        state: state(current.persistent_disk),
        next_state: new.map(|new| state(new.persistent_disk.unwrap_or_default())),
    }
}

fn state(persistent_disk: i64) -> String {
    json!({"persistent_disk": persistent_disk}).to_string()
}

/// Runs a drain script; as long as it answers with a negative number, again after so many seconds.
async fn run_one(
    script: &Script,
    parameters: &Parameters,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut arguments = parameters.arguments.clone();
    let mut next_state = parameters.next_state.clone();
    loop {
        let mut env = BTreeMap::from([("BOSH_JOB_STATE".to_owned(), parameters.state.clone())]);
        if let Some(next_state) = next_state.take() {
            env.insert("BOSH_JOB_NEXT_STATE".to_owned(), next_state);
        }
        let mut command = scripts::command(&script.path, &env, 0);
        command.args(&arguments);
        // compat: the exit status doesn't count, only the number.
        let output = scripts::run_captured(&script.path, command, cancel).await?;
        if cancel.is_cancelled() {
            return Ok(());
        }
        let seconds: i64 = output.stdout.trim().parse().map_err(|_| {
            Error::new(format!(
                "Script did not return a signed integer: '{}'",
                output.stdout.trim()
            ))
        })?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())) => {}
            () = cancel.cancelled() => return Ok(()),
        }
        if seconds >= 0 {
            return Ok(());
        }
        arguments = vec!["job_check_status".into(), "hash_unchanged".into()];
    }
}
