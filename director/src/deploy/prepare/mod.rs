//! From a request to a stored plan: one snapshot of documents and rows, then the planner.
//!
//! ```text
//!  documents + uploads + rows  ->  place  ->  instance rows, addresses  ->  render  ->  plan  ->  stored plan
//! ```
//! A dry run stops after planning and has written nothing. Everything before the plan is stored may be done
//! again by the next worker: rows made by an earlier attempt are found and used.

pub mod bind;
pub mod documents;
mod observe;
mod reserve;
pub mod snapshot;
mod templates;

use domain::InstanceGroupName;
use planner::{
    DeployOptions, DeploymentPlan, Placement, PlanningInput, RandomIds, SkipDrain, StateChange,
};
use serde_json::{Map, Value as Json};

use self::bind::Bound;
use self::documents::Loaded;
use super::args::UpdateDeployment;
use super::work::Work;
use super::{disk, problems, vm};
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

/// Makes the plan, shown as a deploy shows it. With `dry_run` nothing is written.
pub async fn run(
    ctx: &Context,
    deployment: &Deployment,
    args: &UpdateDeployment,
) -> Result<Prepared, Error> {
    let stage = ctx.events.stage("Preparing deployment", &[], 1);
    let request = Request {
        ctx,
        deployment,
        args,
        errands: Vec::new(),
    };
    // compat: what documents say wrong is told before the first line of the stage, what does not fit what is there in it
    let loaded = documents::load(ctx, deployment, args).await?;
    let placed = match request.place(loaded).await {
        Err(error) if !is_of_rows(&error) => return Err(error),
        placed => stage.run("Preparing deployment", async { placed }).await?,
    };
    for text in &placed.placement.warnings {
        ctx.events.warning(text);
    }
    for text in &placed.placement.deprecations {
        ctx.events.deprecation(text);
    }
    stage.run("Rendering templates", request.plan(placed)).await
}

/// An address has no place or is another's (130xxx, 150002), an instance is ignored (140021), an agent fails (450xxx).
fn is_of_rows(error: &Error) -> bool {
    matches!(error.code, 130_000..140_000 | 140_021 | 150_002 | 450_000..460_000)
}

/// A plan from the stored manifest in which these errand groups have VMs. Shows nothing by itself.
pub async fn for_errands(
    ctx: &Context,
    deployment: &Deployment,
    groups: Vec<InstanceGroupName>,
) -> Result<Prepared, Error> {
    let args = &UpdateDeployment::default();
    let request = Request {
        ctx,
        deployment,
        args,
        errands: groups,
    };
    let loaded = documents::load(ctx, deployment, args).await?;
    request.plan(request.place(loaded).await?).await
}

struct Request<'a> {
    ctx: &'a Context,
    deployment: &'a Deployment,
    args: &'a UpdateDeployment,
    /// Errand groups to be woken.
    errands: Vec<InstanceGroupName>,
}

/// What phase one gives to phase two.
struct Placed {
    work: Work,
    loaded: Loaded,
    bound: Bound,
    input: PlanningInput,
    placement: Placement,
}

impl Request<'_> {
    async fn place(&self, mut loaded: Loaded) -> Result<Placed, Error> {
        let Request {
            ctx,
            deployment,
            args,
            ..
        } = *self;
        let bound = bind::run(ctx, loaded.documents.clone()).await?;
        documents::resolve_versions(&mut loaded.manifest, &bound.documents.manifest);
        let work = Work::new(ctx, deployment.clone(), Map::new());
        if !args.dry_run {
            let rows = instances::list(work.db(), deployment.id, true).await?;
            vm::delete_left_overs(&work, &rows).await?;
            disk::settle_left_overs(&work, &rows).await?;
            let (versions, stemcells) = (&bound.release_versions, &bound.stemcell_ids);
            deployments::bind(work.db(), deployment.id, versions, stemcells).await?;
        }
        let options = DeployOptions {
            errands: self.errands.clone(),
            ..options(args)?
        };
        let mut input = snapshot::load(&work, &bound, options).await?;
        loop {
            let placement = planner::place(&input, &mut RandomIds).map_err(problems::error)?;
            if args.dry_run || reserve::rows(&work, &placement).await? {
                return Ok(Placed {
                    work,
                    loaded,
                    bound,
                    input,
                    placement,
                });
            }
            // Another deploy was faster with an address: look at the rows again. Ends, because places end.
            snapshot::refresh(&work, &mut input).await?;
        }
    }

    async fn plan(&self, placed: Placed) -> Result<Prepared, Error> {
        let Placed {
            work,
            loaded,
            bound,
            input,
            placement,
        } = placed;
        let links = serde_json::to_value(snapshot::stored_links(&placement)).unwrap_or(Json::Null);
        match self.render_and_plan(&work, &input, placement).await {
            Ok(plan) => Ok(Prepared {
                plan,
                record: Record {
                    manifest: loaded.manifest,
                    manifest_text: loaded.manifest_text,
                    links,
                    release_versions: bound.release_versions,
                    stemcells: bound.stemcell_ids,
                    configs: loaded.config_ids,
                },
            }),
            Err(error) => {
                if !error.is_interrupted() && !self.args.dry_run {
                    addresses::release_unused_of_task(work.db(), self.ctx.task.id).await?;
                }
                Err(error)
            }
        }
    }

    async fn render_and_plan(
        &self,
        work: &Work,
        input: &PlanningInput,
        placement: Placement,
    ) -> Result<DeploymentPlan, Error> {
        let kept = !self.args.dry_run;
        let jobs: Vec<_> = placement.render_jobs().collect();
        let rendered = render::render(&self.ctx.services, &placement, jobs, kept).await?;
        let (mut plan, report) =
            planner::plan(input, placement, &rendered.hashes()).map_err(problems::error)?;
        self.ctx.debug(format!("What is done, and why:\n{report}"));
        if !kept {
            // For `bosun task <id> --result`; the original's dry run says nothing.
            self.ctx.result_output(report.to_string());
        }
        if kept {
            templates::store(work, &mut plan, &rendered).await?;
        }
        Ok(plan)
    }
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
        errands: Vec::new(),
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
