//! Deploying: from a manifest to running instances, and back.
//!
//! The task engine calls the handlers here. [`prepare`] makes the plan from documents and rows, the plan is
//! stored, [`execute`] carries it out step by step. A task that another worker takes over finds the stored
//! plan and the journal and goes on with it.

pub mod args;
pub mod blobs;
pub mod bounded;
mod delete;
pub mod disk;
mod env;
pub mod execute;
mod isolated;
mod jobs;
mod last_words;
pub mod prepare;
pub mod problems;
pub mod step;
mod update;
pub mod vm;
mod watch;
pub mod work;

pub use delete::DeleteDeployment;
pub use isolated::UpdateInstance;
pub use update::UpdateDeployment;

use std::time::Duration;

use crate::error::{Error, code};
use crate::locks::LockGuard;
use crate::store::deployments::{self, Deployment};
use crate::store::instances::{self, Instance};
use crate::tasks::Context;

/// How long a task waits for another one on the same deployment (the original's patience).
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The deployment that the task is about.
///
/// # Errors
/// 70000 when it is gone.
pub async fn find_deployment(ctx: &Context) -> Result<Deployment, Error> {
    let name = ctx.task.deployment_name.as_deref().unwrap_or_default();
    deployments::find(ctx.services.store.pool(), name)
        .await?
        .ok_or_else(|| {
            Error::new(
                code::DEPLOYMENT_NOT_FOUND,
                format!("Deployment '{name}' doesn't exist"),
            )
        })
}

/// An instance with its deployment, for tasks that are told of a thing, not of a deployment.
pub async fn find_owner(
    ctx: &Context,
    instance_id: i64,
) -> Result<Option<(Instance, Deployment)>, Error> {
    let db = ctx.services.store.pool();
    let Some(instance) = instances::find(db, instance_id).await? else {
        return Ok(None);
    };
    let deployment = deployments::find_by_id(db, instance.deployment_id).await?;
    Ok(deployment.map(|deployment| (instance, deployment)))
}

/// The one lock under which a deployment is changed.
pub async fn lock(ctx: &Context) -> Result<LockGuard, Error> {
    lock_of(ctx, ctx.task.deployment_name.as_deref().unwrap_or_default()).await
}

/// The same for a deployment that the task is not about.
pub async fn lock_of(ctx: &Context, name: &str) -> Result<LockGuard, Error> {
    ctx.lock(&format!("lock:deployment:{name}"), LOCK_PATIENCE)
        .await
}
