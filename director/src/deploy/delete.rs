//! Task type `delete_deployment` (manifests-and-planning §5.8): instances with their VMs, then the deployment.
//! Stemcells, releases and orphaned disks remain.

use async_trait::async_trait;
use planner::DeletionPlan;
use serde_json::json;

use super::bounded::at_most;
use super::prepare::snapshot;
use super::work::Work;
use super::{args, disk, execute, find_deployment, lock, problems, vm};
use crate::error::Error;
use crate::events::Auditable;
use crate::store::deployments::{self, Deployment};
use crate::store::instances;
use crate::tasks::{Context, Handler};

pub struct DeleteDeployment;

#[async_trait]
impl Handler for DeleteDeployment {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: args::DeleteDeployment = ctx.args()?;
        let guard = lock(ctx).await?;
        let name = ctx.task.deployment_name.clone().unwrap_or_default();
        let deployment = match find_deployment(ctx).await {
            // An earlier worker of this task came as far as deleting the row.
            Err(error) if ctx.load_plan::<DeletionPlan>().await?.is_none() => return Err(error),
            found => found.ok(),
        };
        if let Some(deployment) = deployment {
            let object = Auditable {
                object_type: "deployment",
                object_name: Some(name.clone()),
                instance: None,
            };
            ctx.audit()
                .around(
                    "delete",
                    object,
                    json!({}),
                    delete(ctx, deployment, args.force),
                )
                .await?;
        }
        guard.release().await?;
        Ok(format!("/deployments/{name}"))
    }
}

async fn delete(ctx: &Context, deployment: Deployment, force: bool) -> Result<(), Error> {
    let mut work = Work::tagged(ctx, deployment);
    work.force = force;
    let plan = match ctx.load_plan::<DeletionPlan>().await? {
        Some((_, plan)) => plan,
        None => {
            let rows = instances::list(work.db(), work.deployment.id, true).await?;
            let left_overs = vm::delete_left_overs(&work, &rows).await;
            work.forgive("deleting left-over VMs", left_overs)?;
            let left_overs = disk::settle_left_overs(&work, &rows).await;
            work.forgive("settling left-over disks", left_overs)?;
            crate::compile::delete_left_overs(&work).await?;
            let current = snapshot::rows(&work).await?;
            let name = work.deployment.name.as_str().into();
            let plan = planner::plan_deletion(&name, &current, snapshot::MAX_THREADS)
                .map_err(problems::error)?;
            ctx.store_plan(&plan.planner_version.to_string(), &plan)
                .await?;
            plan
        }
    };
    let total = u64::try_from(plan.instances.len()).unwrap_or_default();
    let stage = ctx.events.stage("Deleting instances", &[], total);
    at_most(
        plan.max_threads as usize,
        plan.instances.iter(),
        |instance| execute::delete_instance(&work, &stage, instance),
    )
    .await?;
    let (db, id) = (work.db(), work.deployment.id);
    let stage = ctx.events.stage("Removing deployment artifacts", &[], 3);
    stage
        .run("Detaching stemcells", async {
            Ok(deployments::unbind_stemcells(db, id).await?)
        })
        .await?;
    stage
        .run("Detaching releases", async {
            Ok(deployments::unbind_releases(db, id).await?)
        })
        .await?;
    let stage = ctx.events.stage("Deleting properties", &[], 0);
    stage
        .run("Deleting dynamic disks", async { Ok(()) })
        .await?;
    let destroyed = stage
        .run("Destroying deployment", async {
            Ok(deployments::delete(db, id).await?)
        })
        .await?;
    if destroyed
        || deployments::find(db, &work.deployment.name)
            .await?
            .is_none()
    {
        return Ok(());
    }
    Err(Error::unclassified(format!(
        "Deployment '{}' still has instances and is not deleted.",
        work.deployment.name
    ))
    .hint("Delete it again; with --force what can't be deleted becomes an orphan."))
}
