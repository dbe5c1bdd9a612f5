//! Archives of rendered templates, one per instance and content: an unchanged instance keeps its blob.

use sqlx::PgExecutor;

/// Blob id and digest of the archive with this content.
pub async fn find(
    db: impl PgExecutor<'_>,
    instance_id: i64,
    content_sha1: &str,
) -> Result<Option<(String, String)>, sqlx::Error> {
    sqlx::query_as(
        "select blob_id, sha1 from rendered_archives where instance_id = $1 and content_sha1 = $2",
    )
    .bind(instance_id)
    .bind(content_sha1)
    .fetch_optional(db)
    .await
}

/// Records an archive that is in the blobstore.
pub async fn insert(
    db: impl PgExecutor<'_>,
    instance_id: i64,
    content_sha1: &str,
    blob_id: &str,
    sha1: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into rendered_archives (instance_id, content_sha1, blob_id, sha1) values ($1, $2, $3, $4)
         on conflict (instance_id, content_sha1) do update set blob_id = excluded.blob_id, sha1 = excluded.sha1",
    )
    .bind(instance_id)
    .bind(content_sha1)
    .bind(blob_id)
    .bind(sha1)
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets all archives of an instance but the one of this content (empty: all); their blobs are returned, to
/// be deleted.
pub async fn forget_others(
    db: impl PgExecutor<'_>,
    instance_id: i64,
    content_sha1: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("delete from rendered_archives where instance_id = $1 and content_sha1 <> $2 returning blob_id")
        .bind(instance_id)
        .bind(content_sha1)
        .fetch_all(db)
        .await
}
