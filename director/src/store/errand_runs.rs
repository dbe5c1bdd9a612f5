//! The last fully successful run of each errand, for `--when-changed`.

use sqlx::PgExecutor;

/// Digest of what the errand ran on.
pub async fn find(
    db: impl PgExecutor<'_>,
    deployment_id: i64,
    errand: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select successful_state_hash from errand_runs where deployment_id = $1 and errand_name = $2",
    )
    .bind(deployment_id)
    .bind(errand)
    .fetch_optional(db)
    .await
}

/// Records a run in which every instance succeeded.
pub async fn put(
    db: impl PgExecutor<'_>,
    deployment_id: i64,
    errand: &str,
    state_hash: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into errand_runs (deployment_id, errand_name, successful_state_hash) values ($1, $2, $3)
         on conflict (deployment_id, errand_name)
         do update set successful_state_hash = excluded.successful_state_hash, at = now()",
    )
    .bind(deployment_id)
    .bind(errand)
    .bind(state_hash)
    .execute(db)
    .await?;
    Ok(())
}
