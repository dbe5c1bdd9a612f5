//! Snapshots of persistent disks. They follow their disk: orphaned with it, back with it, gone with it
//! (docs/spec/operations.md §7).

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// A snapshot with the instance whose disk it is of.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Snapshot {
    pub id: i64,
    pub cid: String,
    pub clean: bool,
    pub created_at: DateTime<Utc>,
    /// The CPI that made its disk.
    pub cpi: String,
    pub deployment_id: i64,
    pub group_name: String,
    pub index: i32,
    pub uuid: String,
}

const SELECT: &str = "select s.id, s.cid, s.clean, s.created_at, d.cpi, i.deployment_id, i.group_name, i.index, i.uuid
     from snapshots s join persistent_disks d on d.id = s.persistent_disk_id join instances i on i.id = d.instance_id";

/// Records what `snapshot_disk` made.
pub async fn insert(
    db: impl PgExecutor<'_>,
    disk_id: i64,
    cid: &str,
    clean: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into snapshots (persistent_disk_id, cid, clean) values ($1, $2, $3) on conflict (cid) do nothing",
    )
    .bind(disk_id)
    .bind(cid)
    .bind(clean)
    .execute(db)
    .await?;
    Ok(())
}

/// Those of a deployment's disks, by instance, disk and age.
pub async fn of_deployment(
    db: impl PgExecutor<'_>,
    deployment_id: i64,
) -> Result<Vec<Snapshot>, sqlx::Error> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "{SELECT} where i.deployment_id = $1 order by i.id, d.id, s.id"
    )))
    .bind(deployment_id)
    .fetch_all(db)
    .await
}

pub async fn find(db: impl PgExecutor<'_>, cid: &str) -> Result<Option<Snapshot>, sqlx::Error> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("{SELECT} where s.cid = $1")))
        .bind(cid)
        .fetch_optional(db)
        .await
}

/// One that is gone.
pub async fn delete(db: impl PgExecutor<'_>, cid: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from snapshots where cid = $1")
        .bind(cid)
        .execute(db)
        .await?;
    Ok(())
}

/// CIDs of an orphaned disk's snapshots, oldest first.
pub async fn of_orphan(
    db: impl PgExecutor<'_>,
    orphan_disk_id: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select cid from orphan_snapshots where orphan_disk_id = $1 order by id")
        .bind(orphan_disk_id)
        .fetch_all(db)
        .await
}

/// One of an orphaned disk that is gone.
pub async fn delete_orphan(db: impl PgExecutor<'_>, cid: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from orphan_snapshots where cid = $1")
        .bind(cid)
        .execute(db)
        .await?;
    Ok(())
}
