//! What all steps of one task on one deployment share.

use std::sync::Arc;

use agent_protocol::{AgentClient, Target};
use serde_json::{Map, Value as Json, json};
use sqlx::PgPool;

use crate::agents;
use crate::cloud::TaskCpis;
use crate::error::Error;
use crate::store::audit::NewAudit;
use crate::store::deployments::Deployment;
use crate::store::instances::Instance;
use crate::store::vms::{self, Vm};
use crate::tasks::Context;

/// A task's hands: its context, the CPIs with its log, the deployment it works on. Cheap to clone.
#[derive(Clone)]
pub struct Work {
    pub ctx: Context,
    pub deployment: Arc<Deployment>,
    /// Tags of the deployment for VMs and disks.
    pub tags: Arc<Map<String, Json>>,
    pub cpis: TaskCpis,
    /// Errors of stopping, unmounting and deleting are shown and passed over (`delete-deployment --force`).
    pub force: bool,
}

impl Work {
    /// With the tags of the last deploy.
    pub fn tagged(ctx: &Context, deployment: Deployment) -> Work {
        let tags = deployment.tags.as_object().cloned().unwrap_or_default();
        Work::new(ctx, deployment, tags)
    }

    pub fn new(ctx: &Context, deployment: Deployment, tags: Map<String, Json>) -> Work {
        Work {
            cpis: ctx.services.cpis.for_task(ctx),
            ctx: ctx.clone(),
            deployment: Arc::new(deployment),
            tags: Arc::new(tags),
            force: false,
        }
    }

    pub fn db(&self) -> &PgPool {
        self.ctx.services.store.pool()
    }

    pub fn agents(&self) -> &dyn AgentClient {
        self.ctx.services.agents.as_ref()
    }

    pub fn task_id(&self) -> i64 {
        self.ctx.task.id
    }

    /// The VM an instance runs on with the way to its agent.
    pub async fn find_agent(&self, instance: &Instance) -> Result<Option<(Vm, Target)>, Error> {
        let vm = vms::find_active(self.db(), instance.id).await?;
        Ok(vm.map(|vm| {
            let target = agents::target(instance, &vm.agent_id);
            (vm, target)
        }))
    }

    /// Like [`Work::find_agent`], for steps that make no sense without a VM.
    pub async fn agent(&self, instance: &Instance) -> Result<(Vm, Target), Error> {
        self.find_agent(instance).await?.ok_or_else(|| {
            Error::new(
                crate::error::code::INSTANCE_VM_MISSING,
                format!("'{}' doesn't reference a VM", instance.name()),
            )
            .hint("Deploy again: the missing VM is made anew.")
        })
    }

    /// Tags and facts that the CPI puts on a VM (cpi.md §2.2).
    pub fn vm_metadata(&self, instance: &Instance) -> Map<String, Json> {
        let mut metadata = (*self.tags).clone();
        metadata.insert("director".into(), json!(self.ctx.services.settings.name));
        metadata.insert("deployment".into(), json!(self.deployment.name));
        metadata.insert("id".into(), json!(instance.uuid));
        metadata.insert("job".into(), json!(instance.group_name));
        metadata.insert("instance_group".into(), json!(instance.group_name));
        metadata.insert("index".into(), json!(instance.index.to_string()));
        metadata.insert("name".into(), json!(instance.slug()));
        metadata.insert("created_at".into(), json!(now()));
        metadata
    }

    /// The same for a disk.
    pub fn disk_metadata(&self, instance: &Instance) -> Map<String, Json> {
        let mut metadata = (*self.tags).clone();
        metadata.insert("director".into(), json!(self.ctx.services.settings.name));
        metadata.insert("deployment".into(), json!(self.deployment.name));
        metadata.insert("instance_id".into(), json!(instance.uuid));
        metadata.insert("instance_index".into(), json!(instance.index.to_string()));
        metadata.insert("instance_group".into(), json!(instance.group_name));
        metadata.insert("attached_at".into(), json!(now()));
        metadata
    }

    /// The same for a snapshot of one. Keys in the original's order.
    pub fn snapshot_metadata(&self, instance: &Instance, agent: Option<&str>) -> Map<String, Json> {
        let services = &self.ctx.services;
        let mut metadata = Map::new();
        metadata.insert("deployment".into(), json!(self.deployment.name));
        metadata.insert("job".into(), json!(instance.group_name));
        metadata.insert("index".into(), json!(instance.index));
        metadata.insert("director_name".into(), json!(services.settings.name));
        metadata.insert("director_uuid".into(), json!(services.director_uuid));
        metadata.insert("agent_id".into(), json!(agent));
        metadata.insert("instance_id".into(), json!(instance.uuid));
        metadata.extend((*self.tags).clone());
        metadata
    }

    /// Records that something was done to a VM or disk, if events are recorded. Never stops the work.
    pub async fn record(
        &self,
        action: &str,
        kind: &str,
        name: Option<&str>,
        instance: &Instance,
        error: Option<&Error>,
    ) {
        let event = NewAudit {
            action: action.into(),
            object_type: kind.into(),
            object_name: name.map(str::to_owned),
            instance: Some(instance.slug()),
            deployment: Some(self.deployment.name.clone()),
            error: error.map(|error| error.message.clone()),
            ..NewAudit::default()
        };
        self.ctx.audit().record_quietly(event).await;
    }

    /// With `force`, an error is shown in the debug output and passed over; interruptions never are.
    pub fn forgive(&self, what: &str, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(error) if self.force && !error.is_interrupted() && !error.is_cancelled() => {
                self.ctx.debug(format!(
                    "{what} failed, going on because of force: {}",
                    error.chain()
                ));
                Ok(())
            }
            other => other,
        }
    }
}

fn now() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
