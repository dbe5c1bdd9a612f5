//! Which moments of a schedule were queued: one row per job, so that of several directors only one queues it.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// True for the first who comes with this (or a later) moment of a job's schedule.
pub async fn claim(
    db: impl PgExecutor<'_>,
    job: &str,
    due: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let claimed = sqlx::query(
        "insert into scheduled_jobs (name, last_due) values ($1, $2)
         on conflict (name) do update set last_due = $2 where scheduled_jobs.last_due < $2",
    )
    .bind(job)
    .bind(due)
    .execute(db)
    .await?;
    Ok(claimed.rows_affected() == 1)
}
