//! The audit trail: who did what to which object (operations.md §3). Served by `GET /events`.

use serde_json::Value;

use crate::error::Error;
use crate::store::Store;
use crate::store::audit::NewAudit;
use crate::store::tasks::Task;

/// Records audit events with user, task and deployment filled in. Cheap to clone.
#[derive(Clone)]
pub struct AuditTrail {
    store: Store,
    user: String,
    task: Option<String>,
    deployment: Option<String>,
}

/// What an action is done to.
#[derive(Clone, Debug, Default)]
pub struct Auditable {
    /// `deployment`, `instance`, `vm`, `disk`, … (operations.md §3)
    pub object_type: &'static str,
    pub object_name: Option<String>,
    /// `<group>/<uuid>`
    pub instance: Option<String>,
}

impl AuditTrail {
    pub fn new(
        store: Store,
        user: &str,
        task: Option<i64>,
        deployment: Option<String>,
    ) -> AuditTrail {
        AuditTrail {
            store,
            user: user.to_owned(),
            task: task.map(|id| id.to_string()),
            deployment,
        }
    }

    pub fn of_task(store: Store, task: &Task) -> AuditTrail {
        AuditTrail::new(
            store,
            &task.username,
            Some(task.id),
            task.deployment_name.clone(),
        )
    }

    /// The same for what is done to a deployment that the task is not about.
    #[must_use]
    pub fn of_deployment(mut self, name: &str) -> AuditTrail {
        self.deployment = Some(name.to_owned());
        self
    }

    /// Records one event; user, task and deployment are filled in where empty. Returns its id.
    pub async fn record(&self, mut event: NewAudit) -> Result<i64, Error> {
        if event.user.is_empty() {
            event.user.clone_from(&self.user);
        }
        event.task = event.task.or_else(|| self.task.clone());
        event.deployment = event.deployment.or_else(|| self.deployment.clone());
        Ok(self.store.insert_audit(&event).await?)
    }

    /// Like [`AuditTrail::record`], for places where a missing event must not stop the work: it goes to the log.
    pub async fn record_quietly(&self, event: NewAudit) {
        if let Err(error) = self.record(event).await {
            tracing::warn!(error = error.chain(), "an audit event was not recorded");
        }
    }

    /// Records start and end of an action around `work`: the end names the start as its parent and carries the
    /// error if there was one.
    pub async fn around<T>(
        &self,
        action: &str,
        object: Auditable,
        context: Value,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let event = NewAudit {
            action: action.to_owned(),
            object_type: object.object_type.to_owned(),
            object_name: object.object_name,
            instance: object.instance,
            ..NewAudit::default()
        };
        let parent = self
            .record(NewAudit {
                context: Some(context),
                ..event.clone()
            })
            .await?;
        let result = work.await;
        if !matches!(&result, Err(error) if error.is_interrupted()) {
            let error = result.as_ref().err().map(|error| error.message.clone());
            self.record_quietly(NewAudit {
                parent_id: Some(parent),
                error,
                ..event
            })
            .await;
        }
        result
    }
}
