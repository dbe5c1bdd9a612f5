//! Published versions of the local DNS records (docs/spec/operations.md §8.4).

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// Version and blob id of those that a clean-up may delete: older than `cutoff`, oldest first, as long as more
/// than `keep` remain.
pub async fn expired(
    db: impl PgExecutor<'_>,
    cutoff: DateTime<Utc>,
    keep: i64,
) -> Result<Vec<(i64, String)>, sqlx::Error> {
    sqlx::query_as(
        "select version, blob_id from local_dns_blobs where created_at < $1 order by version
         limit greatest((select count(*) from local_dns_blobs) - $2, 0)",
    )
    .bind(cutoff)
    .bind(keep)
    .fetch_all(db)
    .await
}

/// One whose blob is gone.
pub async fn delete(db: impl PgExecutor<'_>, version: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from local_dns_blobs where version = $1")
        .bind(version)
        .execute(db)
        .await?;
    Ok(())
}
