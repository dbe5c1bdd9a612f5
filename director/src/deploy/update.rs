//! Task type `update_deployment`: a deploy, or a converging start, stop, restart, recreate.

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::prepare::{self, Prepared, Record};
use super::work::Work;
use super::{args, execute, find_deployment, lock};
use crate::error::Error;
use crate::events::Auditable;
use crate::store::deployments::{self, Deployment, Success};
use crate::tasks::{Context, Handler};

pub struct UpdateDeployment;

#[async_trait]
impl Handler for UpdateDeployment {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: args::UpdateDeployment = ctx.args()?;
        let guard = lock(ctx).await?;
        let deployment = find_deployment(ctx).await?;
        let result = format!("/deployments/{}", deployment.name);
        if args.dry_run {
            prepare::run(ctx, &deployment, &args).await?;
        } else {
            let action = if deployment.manifest.is_none() {
                "create"
            } else {
                "update"
            };
            let object = Auditable {
                object_type: "deployment",
                object_name: Some(deployment.name.clone()),
                instance: None,
            };
            ctx.audit()
                .around(action, object, json!({}), deploy(ctx, deployment, &args))
                .await?;
        }
        guard.release().await?;
        Ok(result)
    }
}

async fn deploy(
    ctx: &Context,
    deployment: Deployment,
    args: &args::UpdateDeployment,
) -> Result<(), Error> {
    let prepared = match ctx.load_plan::<Prepared>().await? {
        Some((_, prepared)) => prepared,
        None => {
            let prepared = prepare::run(ctx, &deployment, args).await?;
            let version = prepared.plan.planner_version.to_string();
            ctx.store_plan(&version, &prepared).await?;
            prepared
        }
    };
    let Prepared { plan, record } = prepared;
    let work = Work::new(ctx, deployment, plan.tags.clone());
    execute::run(&work, plan.clone()).await?;
    self::record(&work, &record).await?;
    execute::post_deploy(&work, &plan).await
}

/// The deploy has succeeded: its manifest is the deployment's from now on.
async fn record(work: &Work, record: &Record) -> Result<(), Error> {
    let tags = Json::Object((*work.tags).clone());
    let done = Success {
        manifest: &record.manifest,
        manifest_text: &record.manifest_text,
        tags: &tags,
        links: &record.links,
        release_versions: &record.release_versions,
        stemcells: &record.stemcells,
        configs: &record.configs,
        task_id: work.task_id(),
    };
    Ok(deployments::succeeded(work.db(), work.deployment.id, &done).await?)
}
