//! Task rows: the queue, leases, state changes (operations.md §1, ARCHITECTURE §3).
//!
//! `lease_epoch` grows with each claim. Every statement of a worker names the epoch it claimed under, so
//! that a worker whose lease another one has taken over changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Error, Store};

/// Channel that wakes workers: a task was queued or let go.
pub const QUEUED: &str = "bosun_task_queued";
/// Channel that tells running tasks of a cancel request; the payload is the task's id.
pub const CANCEL: &str = "bosun_task_cancel";

/// One row of `tasks`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Task {
    pub id: i64,
    /// `queued`, `processing`, `cancelling`, `cancelled`, `done`, `error` or `timeout`.
    pub state: String,
    #[sqlx(rename = "type")]
    pub kind: String,
    pub queue: String,
    pub username: String,
    pub description: String,
    pub deployment_name: Option<String>,
    pub args: Value,
    pub result: Option<String>,
    pub context_id: String,
    pub teams: Vec<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub timestamp: DateTime<Utc>,
    pub checkpoint_at: DateTime<Utc>,
    pub cancel_requested: bool,
    pub lease_epoch: i64,
}

/// What is needed to queue a task. `queue` follows from the type.
#[derive(Clone, Debug, Default)]
pub struct NewTask {
    /// Name in the dispatch table, director-api.md §3.6.
    pub kind: String,
    pub description: String,
    pub user: String,
    pub deployment: Option<String>,
    /// Arguments of the handler. No secrets: they are kept with the task.
    pub args: Value,
    pub teams: Vec<String>,
    pub context_id: String,
    /// Instance id of the only director that can run it (it holds an uploaded file).
    pub pinned_to: Option<String>,
}

/// Which tasks a listing wants (director-api.md §3.3).
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Empty: all.
    pub states: Vec<String>,
    /// Empty: all.
    pub types: Vec<String>,
    pub deployment: Option<String>,
    pub context_id: Option<String>,
    /// `None`: visible to all. `Some`: only tasks of one of these teams.
    pub teams: Option<Vec<String>>,
    pub limit: Option<i64>,
}

/// A worker's right to write: the task, and the epoch of its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    pub task: i64,
    pub epoch: i64,
}

/// Channel-independent queue of a task type (operations.md §1.1).
fn queue_of(kind: &str) -> &'static str {
    match kind {
        "vms" | "ssh" => "urgent",
        kind if kind.ends_with("_dynamic_disk") => "dynamic_disks",
        _ => "normal",
    }
}

impl Store {
    /// Queues a task and wakes the workers of all directors.
    pub async fn insert_task(&self, new: &NewTask) -> Result<Task, Error> {
        sqlx::query_as(
            "with t as (
               insert into tasks (type, queue, username, description, deployment_name, args, teams, context_id, pinned_to)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning *)
             select t.* from t, pg_notify('bosun_task_queued', t.queue)",
        )
        .bind(&new.kind)
        .bind(queue_of(&new.kind))
        .bind(&new.user)
        .bind(&new.description)
        .bind(&new.deployment)
        .bind(&new.args)
        .bind(&new.teams)
        .bind(&new.context_id)
        .bind(&new.pinned_to)
        .fetch_one(self.pool())
        .await
    }

    /// One task. A running one that nobody has touched for 180 s and whose lease ran out long ago shows as it
    /// is: another worker will take it over.
    pub async fn find_task(&self, id: i64) -> Result<Option<Task>, Error> {
        sqlx::query_as("select * from tasks where id = $1")
            .bind(id)
            .fetch_optional(self.pool())
            .await
    }

    /// Tasks by last change, newest first.
    pub async fn list_tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>, Error> {
        sqlx::query_as(
            "select * from tasks
             where (cardinality($1::text[]) = 0 or state = any($1))
               and (cardinality($2::text[]) = 0 or type = any($2))
               and ($3::text is null or deployment_name = $3)
               and ($4::text is null or context_id = $4)
               and ($5::text[] is null or teams && $5)
             order by timestamp desc, id desc limit $6",
        )
        .bind(&filter.states)
        .bind(&filter.types)
        .bind(&filter.deployment)
        .bind(&filter.context_id)
        .bind(&filter.teams)
        .bind(filter.limit)
        .fetch_all(self.pool())
        .await
    }

    /// Takes the next task for a worker: a queued one, or one whose worker is gone. Urgent ones first, then in
    /// order of queueing. A pinned task that was cancelled can be ended anywhere: its own director may be gone.
    pub async fn claim_task(
        &self,
        owner: &str,
        instance: &str,
        queues: &[&str],
        lease: Duration,
    ) -> Result<Option<Task>, Error> {
        sqlx::query_as(
            "update tasks set
               state = case when state = 'queued' then 'processing' else state end,
               lease_owner = $1, lease_until = now() + make_interval(secs => $4),
               lease_epoch = lease_epoch + 1, checkpoint_at = now(),
               timestamp = case when started_at is null then now() else timestamp end,
               started_at = coalesce(started_at, now())
             where id = (
               select id from tasks
               where (state = 'queued'
                      or (state in ('processing', 'cancelling') and (lease_until is null or lease_until < now())))
                 and queue = any($3) and (pinned_to is null or pinned_to = $2 or state = 'cancelling')
               order by queue <> 'urgent', id
               for update skip locked limit 1)
             returning *",
        )
        .bind(owner)
        .bind(instance)
        .bind(queues)
        .bind(lease.as_secs_f64())
        .fetch_optional(self.pool())
        .await
    }

    /// Renews the leases of the given tasks. Returns, for each that is still ours, its id and whether a cancel
    /// was asked for; those missing in the answer are lost.
    pub async fn renew_leases(
        &self,
        fences: &[Fence],
        lease: Duration,
    ) -> Result<Vec<(i64, bool)>, Error> {
        let ids: Vec<i64> = fences.iter().map(|fence| fence.task).collect();
        let epochs: Vec<i64> = fences.iter().map(|fence| fence.epoch).collect();
        sqlx::query_as(
            "update tasks set lease_until = now() + make_interval(secs => $3), checkpoint_at = now()
             from unnest($1::bigint[], $2::bigint[]) as mine(id, epoch)
             where tasks.id = mine.id and tasks.lease_epoch = mine.epoch and state in ('processing', 'cancelling')
             returning tasks.id, cancel_requested",
        )
        .bind(ids)
        .bind(epochs)
        .bind(lease.as_secs_f64())
        .fetch_all(self.pool())
        .await
    }

    /// Ends a task. `false`: the lease is no longer ours, nothing was written.
    pub async fn finish_task(
        &self,
        fence: Fence,
        state: &str,
        result: &str,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "update tasks set state = $3, result = $4, finished_at = now(), timestamp = now(),
               lease_owner = null, lease_until = null
             where id = $1 and lease_epoch = $2 and state in ('processing', 'cancelling')",
        )
        .bind(fence.task)
        .bind(fence.epoch)
        .bind(state)
        .bind(result)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Lets a task go without ending it: the next worker goes on at once.
    pub async fn release_task(&self, fence: Fence) -> Result<bool, Error> {
        let done = sqlx::query(
            "with t as (
               update tasks set lease_owner = null, lease_until = null
               where id = $1 and lease_epoch = $2 and state in ('processing', 'cancelling') returning queue)
             select pg_notify('bosun_task_queued', queue) from t",
        )
        .bind(fence.task)
        .bind(fence.epoch)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether the lease is still ours and whether a cancel was asked for.
    pub async fn check_lease(&self, fence: Fence) -> Result<Option<bool>, Error> {
        sqlx::query_scalar(
            "select cancel_requested from tasks
             where id = $1 and lease_epoch = $2 and state in ('processing', 'cancelling')",
        )
        .bind(fence.task)
        .bind(fence.epoch)
        .fetch_optional(self.pool())
        .await
    }

    /// Ends at once the leases of workers that can't live any more: those of a director instance whose
    /// data folder the caller has locked, and of its earlier processes only (`owner` is the caller's own).
    pub async fn expire_leases_of(&self, instance: &str, owner: &str) -> Result<u64, Error> {
        let done = sqlx::query(
            "update tasks set lease_until = now() - interval '1 second'
             where state in ('processing', 'cancelling') and split_part(lease_owner, '#', 1) = $1 and lease_owner <> $2",
        )
        .bind(instance)
        .bind(owner)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected())
    }

    /// Asks for a task's end at its next checkpoint. `None`: no such task. `Some(Err(state))`: it is not in a
    /// state that can be cancelled.
    pub async fn request_cancel(&self, id: i64) -> Result<Option<Result<(), String>>, Error> {
        let cancelled = self
            .request_cancels(&["queued".into(), "processing".into()], &[], None, Some(id))
            .await?;
        if cancelled == 1 {
            return Ok(Some(Ok(())));
        }
        Ok(self.find_task(id).await?.map(|task| Err(task.state)))
    }

    /// Asks for the end of all matching tasks; returns how many there were.
    pub async fn request_cancels(
        &self,
        states: &[String],
        types: &[String],
        deployment: Option<&str>,
        id: Option<i64>,
    ) -> Result<u64, Error> {
        let done = sqlx::query(
            "with t as (
               update tasks set state = 'cancelling', cancel_requested = true
               where state = any($1) and state in ('queued', 'processing')
                 and (cardinality($2::text[]) = 0 or type = any($2))
                 and ($3::text is null or deployment_name = $3) and ($4::bigint is null or id = $4)
               returning id, queue)
             select pg_notify('bosun_task_cancel', id::text), pg_notify('bosun_task_queued', queue) from t",
        )
        .bind(states)
        .bind(types)
        .bind(deployment)
        .bind(id)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected())
    }

    /// When the next lease of a running task runs out, if any runs: a worker need not look earlier.
    pub async fn next_lease_end(&self) -> Result<Option<DateTime<Utc>>, Error> {
        sqlx::query_scalar(
            "select min(lease_until) from tasks where state in ('processing', 'cancelling')",
        )
        .fetch_one(self.pool())
        .await
    }

    /// Numbers of queued and processing tasks by type (metrics).
    pub async fn count_tasks(&self) -> Result<Vec<(String, String, i64)>, Error> {
        sqlx::query_as(
            "select type, s.state, count(*) filter (where tasks.state = s.state)
             from tasks, (values ('queued'), ('processing')) as s(state) group by type, s.state order by 1, 2",
        )
        .fetch_all(self.pool())
        .await
    }

    /// Removes ended tasks beyond the newest `keep` of each type, and those older than `max_age`. Returns how
    /// many rows went, with their output, plans and journals.
    pub async fn prune_tasks(&self, keep: i64, max_age: Option<Duration>) -> Result<u64, Error> {
        let done = sqlx::query(
            "delete from tasks where id in (
               select id from (
                 select id, checkpoint_at, row_number() over (partition by type order by id desc) as n
                 from tasks where state not in ('queued', 'processing', 'cancelling')) as ended
               where n > $1 or ($2::float8 is not null and checkpoint_at < now() - make_interval(secs => $2)))",
        )
        .bind(keep)
        .bind(max_age.map(|age| age.as_secs_f64()))
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected())
    }
}

impl Store {
    /// Files that tasks of this data folder still need.
    pub async fn files_in_use(&self, instance: &str) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "select args ->> 'path' from tasks
             where pinned_to = $1 and state in ('queued', 'processing', 'cancelling') and args ? 'path'",
        )
        .bind(instance)
        .fetch_all(self.pool())
        .await
    }
}
