//! Blob rows by kind: written before the object is stored, so that none is ever unknown.

use sqlx::PgExecutor;

/// Records that an object of this id is about to be stored. Again for the same id: no change.
pub async fn insert(db: impl PgExecutor<'_>, id: &str, kind: &str) -> Result<(), sqlx::Error> {
    sqlx::query("insert into blobs (id, kind) values ($1, $2) on conflict (id) do nothing")
        .bind(id)
        .bind(kind)
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets an object after it was deleted.
pub async fn delete(db: impl PgExecutor<'_>, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from blobs where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// Ids of one kind, oldest first.
pub async fn list_of_kind(db: impl PgExecutor<'_>, kind: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select id from blobs where kind = $1 order by created_at, id")
        .bind(kind)
        .fetch_all(db)
        .await
}

/// Whether the director knows an object of this id.
pub async fn exists(db: impl PgExecutor<'_>, id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select 1 from blobs where id = $1)")
        .bind(id)
        .fetch_one(db)
        .await
}

/// Whether an object is the source of a package, or what one was compiled to.
pub async fn is_package(db: impl PgExecutor<'_>, blob_id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select 1 from packages where blob_id = $1)
             or exists (select 1 from compiled_packages where blob_id = $1)",
    )
    .bind(blob_id)
    .fetch_one(db)
    .await
}
