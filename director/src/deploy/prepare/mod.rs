//! From a request to a stored plan: one snapshot of documents and rows, then the planner.
//!
//! ```text
//!  documents + uploads + rows  ->  place  ->  instance rows, addresses  ->  render  ->  plan  ->  stored plan
//! ```
//! A dry run stops after planning and has written nothing. Everything before the plan is stored may be done
//! again by the next worker: rows made by an earlier attempt are found and used.

mod bind;
pub mod documents;
mod observe;
mod reserve;
pub mod snapshot;
mod templates;

use planner::{DeployOptions, DeploymentPlan, RandomIds, SkipDrain, StateChange};
use serde_json::{Map, Value as Json};

use super::args::UpdateDeployment;
use super::work::Work;
use super::{problems, vm};
use crate::error::Error;
use crate::render;
use crate::store::deployments::{self, Deployment};
use crate::store::{addresses, instances};
use crate::tasks::Context;

/// What a deploy needs after its plan was made.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Prepared {
    pub plan: DeploymentPlan,
    /// What is recorded when all went well.
    pub record: Record,
}

/// The part of [`Prepared`] that ends in the deployment's row.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Record {
    pub manifest: Json,
    pub manifest_text: String,
    pub links: Json,
    pub release_versions: Vec<i64>,
    pub stemcells: Vec<i64>,
    pub configs: Vec<i64>,
}

/// Makes the plan. With `dry_run` nothing is written.
pub async fn run(
    ctx: &Context,
    deployment: &Deployment,
    args: &UpdateDeployment,
) -> Result<Prepared, Error> {
    let stage = ctx.events.stage("Preparing deployment", &[], 1);
    let (work, loaded, bound, input, placement) = stage
        .run("Preparing deployment", async {
            let mut loaded = documents::load(ctx, deployment, args).await?;
            let bound = bind::run(ctx, loaded.documents.clone()).await?;
            documents::resolve_versions(&mut loaded.manifest, &bound.documents.manifest);
            let work = Work::new(ctx, deployment.clone(), Map::new());
            let rows = instances::list(work.db(), deployment.id, true).await?;
            if !args.dry_run {
                vm::delete_left_overs(&work, &rows).await?;
            }
            if !args.dry_run {
                let (versions, stemcells) = (&bound.release_versions, &bound.stemcell_ids);
                deployments::bind(work.db(), deployment.id, versions, stemcells).await?;
            }
            let mut input = snapshot::load(&work, &bound, options(args)?).await?;
            loop {
                let placement = planner::place(&input, &mut RandomIds).map_err(problems::error)?;
                if args.dry_run || reserve::rows(&work, &placement).await? {
                    return Ok((work, loaded, bound, input, placement));
                }
                // Another deploy was faster with an address: look at the rows again. Ends, because places end.
                snapshot::refresh(&work, &mut input).await?;
            }
        })
        .await?;
    for text in &placement.warnings {
        ctx.events.warning(text);
    }
    for text in &placement.deprecations {
        ctx.events.deprecation(text);
    }
    let links = serde_json::to_value(snapshot::stored_links(&placement)).unwrap_or(Json::Null);
    let planned = stage
        .run("Rendering templates", async {
            let jobs: Vec<_> = placement.render_jobs().collect();
            let rendered = render::render(&ctx.services, &placement, jobs, !args.dry_run).await?;
            let (mut plan, _) =
                planner::plan(&input, placement, &rendered.hashes()).map_err(problems::error)?;
            if !args.dry_run {
                templates::store(&work, &mut plan, &rendered).await?;
            }
            Ok(plan)
        })
        .await;
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) => {
            if !error.is_interrupted() && !args.dry_run {
                addresses::release_unused_of_task(work.db(), ctx.task.id).await?;
            }
            return Err(error);
        }
    };
    Ok(Prepared {
        plan,
        record: Record {
            manifest: loaded.manifest,
            manifest_text: loaded.manifest_text,
            links,
            release_versions: bound.release_versions,
            stemcells: bound.stemcell_ids,
            configs: loaded.config_ids,
        },
    })
}

fn options(args: &UpdateDeployment) -> Result<DeployOptions, Error> {
    Ok(DeployOptions {
        recreate: args.recreate,
        recreate_persistent_disks: args.recreate_persistent_disks,
        recreate_vms_created_before: args.recreate_vms_created_before,
        skip_drain: SkipDrain::parse(args.skip_drain.as_deref().unwrap_or_default()),
        fix: args.fix,
        dry_run: args.dry_run,
        state_change: args.state_change.as_ref().map(state_change).transpose()?,
    })
}

fn state_change(change: &super::args::StateChange) -> Result<StateChange, Error> {
    let state = serde_json::from_value(Json::String(change.state.clone())).map_err(|_| {
        Error::bad_request(format!(
            "'{}' is not a state an instance can be put in.",
            change.state
        ))
    })?;
    Ok(StateChange {
        group: change.group.clone().map(Into::into),
        instance: change.instance.clone(),
        state,
    })
}
