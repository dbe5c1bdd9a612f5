//! The task types around snapshots.

use async_trait::async_trait;
use serde::Deserialize;

use super::take;
use crate::cloud;
use crate::deploy::work::Work;
use crate::deploy::{find_deployment, find_owner};
use crate::error::Error;
use crate::store::deployments;
use crate::store::snapshots::{self as rows, Snapshot};
use crate::store::{instances, vms};
use crate::tasks::{Context, Handler, NewTask, enqueue};

#[derive(Deserialize)]
struct CreateArgs {
    instance: i64,
}

/// Handler of `create_snapshot`: one instance's disks.
pub struct CreateSnapshot;

#[async_trait]
impl Handler for CreateSnapshot {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let CreateArgs { instance } = ctx.args()?;
        let (instance, deployment) = find_owner(ctx, instance)
            .await?
            .ok_or_else(|| Error::unclassified("The instance is not there any more."))?;
        let taken = take(&Work::tagged(ctx, deployment), &instance, false).await?;
        Ok(format!("snapshot(s) {} created", taken.join(", ")))
    }
}

/// Handler of `snapshot_deployment`: the disks of all instances that have a VM. A failure is counted and shown, and
/// does not keep the others from being taken.
pub struct SnapshotDeployment;

#[async_trait]
impl Handler for SnapshotDeployment {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let deployment = find_deployment(ctx).await?;
        let work = Work::tagged(ctx, deployment);
        let mut failures = 0;
        for instance in instances::list(work.db(), work.deployment.id, false).await? {
            ctx.checkpoint().await?;
            if vms::find_active(work.db(), instance.id).await?.is_none() {
                continue;
            }
            match take(&work, &instance, false).await {
                Err(error) if error.is_interrupted() => return Err(error),
                Err(error) => {
                    failures += 1;
                    ctx.debug(format!(
                        "failed to take snapshot of: {}: {}",
                        instance.name(),
                        error.chain()
                    ));
                }
                Ok(_) => {}
            }
        }
        let mut text = format!("snapshots of deployment '{}' created", work.deployment.name);
        if failures > 0 {
            text.push_str(&format!(", with {failures} failure(s)"));
        }
        Ok(text)
    }
}

#[derive(Deserialize)]
struct DeleteArgs {
    cids: Vec<String>,
}

/// Handler of `delete_snapshot`.
pub struct DeleteSnapshot;

#[async_trait]
impl Handler for DeleteSnapshot {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let DeleteArgs { cids } = ctx.args()?;
        for cid in &cids {
            if let Some(snapshot) = rows::find(ctx.services.store.pool(), cid).await? {
                delete(ctx, &snapshot).await?;
            }
        }
        Ok(format!("snapshot(s) {} deleted", cids.join(", ")))
    }
}

/// Handler of `delete_deployment_snapshots`.
pub struct DeleteDeploymentSnapshots;

#[async_trait]
impl Handler for DeleteDeploymentSnapshots {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let deployment = find_deployment(ctx).await?;
        for snapshot in rows::of_deployment(ctx.services.store.pool(), deployment.id).await? {
            ctx.checkpoint().await?;
            delete(ctx, &snapshot).await?;
        }
        Ok(format!(
            "snapshots of deployment '{}' deleted",
            deployment.name
        ))
    }
}

async fn delete(ctx: &Context, snapshot: &Snapshot) -> Result<(), Error> {
    let cpi = ctx.services.cpis.for_task(ctx).get(&snapshot.cpi)?;
    match cpi.delete_snapshot(&snapshot.cid.as_str().into()).await {
        Err(error) if !error.is_disk_not_found() => Err(cloud::failed(error)),
        _ => Ok(rows::delete(ctx.services.store.pool(), &snapshot.cid).await?),
    }
}

/// Handler of `snapshot_deployments`: what the schedule asks for, a task for each deployment.
pub struct SnapshotDeployments;

#[async_trait]
impl Handler for SnapshotDeployments {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let store = &ctx.services.store;
        let mut queued = Vec::new();
        for deployment in deployments::list(store.pool()).await? {
            let task = enqueue(
                store,
                NewTask {
                    kind: "snapshot_deployment".into(),
                    description: "snapshot deployment".into(),
                    user: "scheduler".into(),
                    deployment: Some(deployment.name),
                    teams: deployment.teams,
                    ..NewTask::default()
                },
            )
            .await?;
            queued.push(task.id.to_string());
        }
        Ok(format!("Enqueued snapshot tasks [{}]", queued.join(", ")))
    }
}
