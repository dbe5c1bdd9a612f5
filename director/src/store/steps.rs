//! Stored plans and the step journal of a task (ARCHITECTURE §3, `journal`).

use serde_json::Value;

use super::tasks::Fence;
use super::{Error, Store};

/// One journaled event of a step.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StepRow {
    pub step_key: String,
    pub kind: String,
    pub event: Value,
}

impl Store {
    /// Stores a task's plan before its first step. `false`: the lease is no longer ours.
    pub async fn store_plan(
        &self,
        fence: Fence,
        planner_version: &str,
        plan: &Value,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "with mine as (
               select id from tasks
               where id = $1 and lease_epoch = $2 and state in ('processing', 'cancelling') for share)
             insert into task_plans (task_id, planner_version, plan) select id, $3, $4 from mine
             on conflict (task_id) do update set planner_version = excluded.planner_version, plan = excluded.plan",
        )
        .bind(fence.task)
        .bind(fence.epoch)
        .bind(planner_version)
        .bind(plan)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The stored plan and the version of the planner that made it.
    pub async fn load_plan(&self, task: i64) -> Result<Option<(String, Value)>, Error> {
        sqlx::query_as("select planner_version, plan from task_plans where task_id = $1")
            .bind(task)
            .fetch_optional(self.pool())
            .await
    }

    /// Writes one event of a step under the worker's lease. `false`: the lease is no longer ours.
    pub async fn append_step_event(
        &self,
        fence: Fence,
        key: &str,
        kind: &str,
        event: &Value,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "with mine as (
               select id from tasks
               where id = $1 and lease_epoch = $2 and state in ('processing', 'cancelling') for share)
             insert into task_step_events (task_id, step_key, kind, lease_epoch, event)
             select id, $3, $4, $2, $5 from mine",
        )
        .bind(fence.task)
        .bind(fence.epoch)
        .bind(key)
        .bind(kind)
        .bind(event)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// All events of a task in the order written; read once when a worker takes the task.
    pub async fn step_events(&self, task: i64) -> Result<Vec<StepRow>, Error> {
        sqlx::query_as(
            "select step_key, kind, event from task_step_events where task_id = $1 order by seq",
        )
        .bind(task)
        .fetch_all(self.pool())
        .await
    }
}
