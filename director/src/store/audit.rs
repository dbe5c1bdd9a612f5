//! Audit events (operations.md §3, director-api.md §19.2).

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Error, Store};

/// One row of `events`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct AuditRow {
    pub id: i64,
    pub parent_id: Option<i64>,
    pub at: DateTime<Utc>,
    pub username: String,
    pub action: String,
    pub object_type: String,
    pub object_name: Option<String>,
    pub error: Option<String>,
    pub task: Option<String>,
    pub deployment: Option<String>,
    pub instance: Option<String>,
    pub context: Value,
}

/// An event to record. `at` defaults to now, `context` to `{}`.
#[derive(Clone, Debug, Default)]
pub struct NewAudit {
    pub parent_id: Option<i64>,
    pub at: Option<DateTime<Utc>>,
    pub user: String,
    pub action: String,
    pub object_type: String,
    pub object_name: Option<String>,
    pub error: Option<String>,
    pub task: Option<String>,
    pub deployment: Option<String>,
    pub instance: Option<String>,
    pub context: Option<Value>,
}

/// Exact filters of `GET /events`.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub task: Option<String>,
    pub deployment: Option<String>,
    pub instance: Option<String>,
    pub user: Option<String>,
    pub action: Option<String>,
    pub object_type: Option<String>,
    pub object_name: Option<String>,
    pub before_id: Option<i64>,
    pub before: Option<DateTime<Utc>>,
    pub after: Option<DateTime<Utc>>,
}

impl Store {
    /// Returns the event's id; 0 when the settings say that none are recorded.
    pub async fn insert_audit(&self, new: &NewAudit) -> Result<i64, Error> {
        if !self.record_events {
            return Ok(0);
        }
        sqlx::query_scalar(
            "insert into events (parent_id, at, username, action, object_type, object_name, error, task, deployment, instance, context)
             values ($1, coalesce($2, now()), $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11, '{}')) returning id",
        )
        .bind(new.parent_id)
        .bind(new.at)
        .bind(&new.user)
        .bind(&new.action)
        .bind(&new.object_type)
        .bind(&new.object_name)
        .bind(&new.error)
        .bind(&new.task)
        .bind(&new.deployment)
        .bind(&new.instance)
        .bind(&new.context)
        .fetch_one(self.pool())
        .await
    }

    /// Newest first, at most 200.
    pub async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, Error> {
        sqlx::query_as(
            "select * from events
             where ($1::text is null or task = $1) and ($2::text is null or deployment = $2)
               and ($3::text is null or instance = $3) and ($4::text is null or username = $4)
               and ($5::text is null or action = $5) and ($6::text is null or object_type = $6)
               and ($7::text is null or object_name = $7) and ($8::bigint is null or id < $8)
               and ($9::timestamptz is null or at < $9)
               and ($10::timestamptz is null or at >= $10::timestamptz + interval '1 second')
             order by id desc limit 200",
        )
        .bind(&filter.task)
        .bind(&filter.deployment)
        .bind(&filter.instance)
        .bind(&filter.user)
        .bind(&filter.action)
        .bind(&filter.object_type)
        .bind(&filter.object_name)
        .bind(filter.before_id)
        .bind(filter.before)
        .bind(filter.after)
        .fetch_all(self.pool())
        .await
    }

    pub async fn find_audit(&self, id: i64) -> Result<Option<AuditRow>, Error> {
        sqlx::query_as("select * from events where id = $1")
            .bind(id)
            .fetch_optional(self.pool())
            .await
    }

    /// Keeps the newest `keep` events and never splits a pair: it cuts at the smallest parent that a kept
    /// event names.
    pub async fn prune_audit(&self, keep: i64) -> Result<u64, Error> {
        let done = sqlx::query(
            "with kept as (select id, parent_id from events order by id desc limit $1)
             delete from events where id < (select least(min(id), min(parent_id)) from kept)",
        )
        .bind(keep)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected())
    }
}
