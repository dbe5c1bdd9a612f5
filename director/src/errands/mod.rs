//! Running errands (manifests-and-planning §5.10, director-api §13.1): a job's `bin/run` on instances that are
//! there, or an errand group that gets its VM for the run.
//!
//! The task engine calls [`RunErrand`]. An errand is run at most once per task: the next worker waits for one
//! that was started; one of which nobody knows whether it was started is reported, not repeated. The VM of
//! an errand group goes whatever happened, unless it shall stay.

mod choose;
mod perform;

use async_trait::async_trait;
use planner::DeploymentPlan;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::compile;
use crate::deploy::work::Work;
use crate::deploy::{args, find_deployment, lock, prepare};
use crate::error::Error;
use crate::events::Auditable;
use crate::store::deployments::Deployment;
use crate::store::errand_runs;
use crate::tasks::{Context, Handler};
use choose::{Choice, Chosen};

/// Task type `run_errand`.
pub struct RunErrand;

/// What a task that is taken over goes on with.
#[derive(Serialize, Deserialize)]
struct Stored {
    chosen: Chosen,
    /// Of the errand groups only; `None` when none takes part.
    plan: Option<DeploymentPlan>,
}

/// What a task begins with.
enum Begun {
    /// What an earlier worker stored.
    Before(Box<Stored>),
    Now(Choice),
}

#[async_trait]
impl Handler for RunErrand {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: args::RunErrand = ctx.args()?;
        let guard = lock(ctx).await?;
        let deployment = find_deployment(ctx).await?;
        let object = Auditable {
            object_type: "errand",
            object_name: Some(args.errand.clone()),
            instance: None,
        };
        let result = ctx
            .audit()
            .around("run", object, json!({}), errand(ctx, deployment, &args))
            .await?;
        guard.release().await?;
        Ok(result)
    }
}

async fn errand(
    ctx: &Context,
    deployment: Deployment,
    args: &args::RunErrand,
) -> Result<String, Error> {
    let work = Work::tagged(ctx, deployment);
    let begun = match ctx.load_plan::<Stored>().await? {
        Some((_, stored)) => Ok(Begun::Before(Box::new(stored))),
        None => choose::run(&work, args).await.map(Begun::Now),
    };
    // compat: stopped instances are refused before the first line, everything else in the stage
    if let Ok(Begun::Now(choice)) = &begun {
        choice.chosen.refuse_stopped()?;
    }
    let stage = ctx.events.stage("Preparing deployment", &[], 1);
    let (chosen, plan) = stage
        .run("Preparing deployment", async {
            ready(&work, args, begun?).await
        })
        .await?;
    let state = state_hash(&work, &chosen, plan.as_ref()).await?;
    if args.when_changed
        && errand_runs::find(work.db(), work.deployment.id, &args.errand)
            .await?
            .as_ref()
            == Some(&state)
    {
        return Ok("skipped - no changes detected".into());
    }
    let tally = perform::all(&work, args, &chosen, plan.as_ref()).await?;
    if tally.errored == 0 && tally.canceled == 0 {
        errand_runs::put(work.db(), work.deployment.id, &args.errand, &state).await?;
    }
    Ok(format!(
        "{} succeeded, {} errored, {} canceled",
        tally.succeeded, tally.errored, tally.canceled
    ))
}

/// Plans and compiles.
async fn ready(
    work: &Work,
    args: &args::RunErrand,
    begun: Begun,
) -> Result<(Chosen, Option<DeploymentPlan>), Error> {
    let ctx = &work.ctx;
    let Stored { chosen, mut plan } = match begun {
        Begun::Before(stored) => *stored,
        Begun::Now(choice) => {
            for warning in &choice.warnings {
                ctx.events.warning(warning);
            }
            let groups = choice.chosen.errand_groups();
            if groups.is_empty() && choice.meant_errand_group {
                compile::show_finding(work).await?;
            }
            let chosen = choice.checked(work, args)?;
            let plan = match groups.is_empty() {
                true => None,
                false => {
                    let prepared = prepare::for_errands(ctx, &work.deployment, groups).await?;
                    Some(chosen.narrow(prepared.plan))
                }
            };
            let stored = Stored { chosen, plan };
            ctx.store_plan(&planner::PLANNER_VERSION.to_string(), &stored)
                .await?;
            stored
        }
    };
    if let Some(plan) = &mut plan {
        compile::run(work, plan).await?;
    }
    Ok((chosen, plan))
}

/// SHA-1 over what the chosen instances are: changes when any of them is another or runs something else.
async fn state_hash(
    work: &Work,
    chosen: &Chosen,
    plan: Option<&DeploymentPlan>,
) -> Result<String, Error> {
    let mut parts = Vec::new();
    for instance in &chosen.instances {
        let planned = plan.and_then(|plan| {
            plan.instances
                .iter()
                .find(|i| i.spec.id.as_str() == instance.uuid)
        });
        let stored = crate::store::instances::find_by_uuid(work.db(), &instance.uuid).await?;
        let spec = match planned {
            Some(planned) => serde_json::to_value(&planned.spec).ok(),
            None => stored.and_then(|row| row.spec),
        };
        let part = |key: &str| {
            spec.as_ref()
                .and_then(|spec| spec.get(key))
                .cloned()
                .unwrap_or_default()
        };
        parts.push(format!(
            "{}{}{}",
            instance.uuid,
            part("configuration_hash"),
            part("packages")
        ));
    }
    parts.sort();
    Ok(domain::Digest::sha1(parts.concat()).hex().to_owned())
}
