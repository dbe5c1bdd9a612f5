//! Stopping and starting an instance's jobs through its agent (agent-protocol §9.3, §9.4).

use std::time::Duration;

use agent_protocol::{ApplySpec, DrainType, NextStates, Target};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::last_words;
use super::work::Work;
use crate::agents;
use crate::error::{Error, code};
use crate::store::instances::Instance;

/// `pre-stop` with what becomes of VM, instance and deployment.
pub async fn pre_stop(work: &Work, to: &Target, next: planner::NextStates) -> Result<(), Error> {
    let next = NextStates {
        delete_vm: next.vm_deleted,
        delete_instance: next.instance_deleted,
        delete_deployment: next.deployment_deleted,
    };
    work.agents()
        .run_script(to, "pre-stop", next.to_options())
        .await
        .map_err(agents::failed)
}

/// Drains, and waits as long as the agent says. A cancel of the task is passed on to the drain scripts.
pub async fn drain(
    work: &Work,
    to: &Target,
    kind: DrainType,
    spec: Option<&ApplySpec>,
) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let ask = |kind: DrainType, spec: Option<ApplySpec>| {
        let stop = stop.clone();
        async move {
            let asked = work.agents().drain(to, kind, spec.as_ref(), Some(&stop));
            tokio::pin!(asked);
            tokio::select! {
                result = &mut asked => result,
                () = work.ctx.cancelled() => { stop.cancel(); asked.await }
            }
        }
    };
    let result = |answer: Result<i64, agent_protocol::Error>| match answer {
        Err(agent_protocol::Error::Cancelled { .. }) => Err(Error::cancelled(work.task_id())),
        other => other.map_err(agents::failed),
    };
    let mut seconds = result(ask(kind, spec.cloned()).await)?;
    while seconds < 0 {
        pause(work, seconds.unsigned_abs()).await?;
        seconds = result(ask(DrainType::Status, None).await)?;
    }
    pause(work, seconds.unsigned_abs()).await
}

async fn pause(work: &Work, seconds: u64) -> Result<(), Error> {
    if seconds == 0 {
        return Ok(());
    }
    work.ctx
        .until_cancelled(tokio::time::sleep(Duration::from_secs(seconds)))
        .await
}

/// A lifecycle script without options: `post-stop`, `pre-start`, `post-start`, `post-deploy`.
pub async fn script(work: &Work, to: &Target, name: &str) -> Result<(), Error> {
    work.agents()
        .run_script(to, name, json!({}))
        .await
        .map_err(agents::failed)
}

/// A script whose failure the user reads with its last lines of output. Without a VM there is nothing to run.
pub async fn told_script(work: &Work, row: &Instance, name: &str) -> Result<(), Error> {
    let Some((vm, to)) = work.find_agent(row).await? else {
        return Ok(());
    };
    let Err(error) = script(work, &to, name).await else {
        return Ok(());
    };
    if error.code != code::RPC_REMOTE_EXCEPTION {
        return Err(error);
    }
    match last_words::of_script(work, row, &vm, name, &error.message).await {
        Some(lines) => Err(error.hint(format!("\n{}", lines.trim_end()))),
        None => Err(error),
    }
}
