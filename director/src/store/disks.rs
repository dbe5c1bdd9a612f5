//! Persistent disks. Like VMs, a disk has a row with a fresh key before `create_disk`
//! is called. Orphaning moves the row to `orphans`; the data stays until somebody deletes it or its time is over.

use serde_json::Value as Json;
use sqlx::{PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

/// One row of `persistent_disks`.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    pub id: i64,
    pub instance_id: i64,
    pub idempotency_key: Uuid,
    /// Null until the CPI has answered.
    pub cid: Option<String>,
    /// MiB.
    pub size: i64,
    /// `''` is the managed disk.
    pub name: String,
    pub cloud_properties: Json,
    pub cpi: String,
    pub active: bool,
    pub task_id: Option<i64>,
}

fn read(row: &PgRow) -> Result<Disk, sqlx::Error> {
    Ok(Disk {
        id: row.try_get("id")?,
        instance_id: row.try_get("instance_id")?,
        idempotency_key: row.try_get("idempotency_key")?,
        cid: row.try_get("cid")?,
        size: row.try_get("size")?,
        name: row.try_get("name")?,
        cloud_properties: row.try_get("cloud_properties")?,
        cpi: row.try_get("cpi")?,
        active: row.try_get("active")?,
        task_id: row.try_get("task_id")?,
    })
}

const COLUMNS: &str =
    "id, instance_id, idempotency_key, cid, size, name, cloud_properties, cpi, active, task_id";

/// A disk about to be asked for.
#[derive(Debug, Clone)]
pub struct NewDisk<'a> {
    pub instance_id: i64,
    /// The idempotency key, made by the planner.
    pub key: Uuid,
    /// MiB.
    pub size: i64,
    pub name: &'a str,
    pub cloud_properties: &'a Json,
    pub cpi: &'a str,
    pub task_id: i64,
}

/// Writes the row of a disk about to be asked for; inactive until it carries the instance's data. A repeat
/// with the same key finds the row.
pub async fn request(db: &sqlx::PgPool, new: &NewDisk<'_>) -> Result<Disk, sqlx::Error> {
    sqlx::query(
        "insert into persistent_disks (instance_id, idempotency_key, size, name, cloud_properties, cpi, task_id)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (idempotency_key) do nothing",
    )
    .bind(new.instance_id)
    .bind(new.key)
    .bind(new.size)
    .bind(new.name)
    .bind(new.cloud_properties)
    .bind(new.cpi)
    .bind(new.task_id)
    .execute(db)
    .await?;
    find_by_key(db, new.key)
        .await?
        .ok_or(sqlx::Error::RowNotFound)
}

pub async fn find_by_key(db: impl PgExecutor<'_>, key: Uuid) -> Result<Option<Disk>, sqlx::Error> {
    let text = format!("select {COLUMNS} from persistent_disks where idempotency_key = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(key)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read).transpose()
}

pub async fn find_by_cid(db: impl PgExecutor<'_>, cid: &str) -> Result<Option<Disk>, sqlx::Error> {
    let text = format!("select {COLUMNS} from persistent_disks where cid = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(cid)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read).transpose()
}

pub async fn created(db: impl PgExecutor<'_>, id: i64, cid: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update persistent_disks set cid = $2 where id = $1")
        .bind(id)
        .bind(cid)
        .execute(db)
        .await?;
    Ok(())
}

/// The disk now carries the data: active; the one of the same name before it becomes inactive.
pub async fn activate(db: &sqlx::PgPool, id: i64) -> Result<(), sqlx::Error> {
    let mut tx = super::begin(db).await?;
    sqlx::query(
        "update persistent_disks d set active = (d.id = $1) from persistent_disks me
         where me.id = $1 and d.instance_id = me.instance_id and d.name = me.name",
    )
    .bind(id)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Records a disk grown in place.
pub async fn resized(db: impl PgExecutor<'_>, id: i64, size: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update persistent_disks set size = $2 where id = $1")
        .bind(id)
        .bind(size)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn find(db: impl PgExecutor<'_>, id: i64) -> Result<Option<Disk>, sqlx::Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from persistent_disks where id = $1"
    )))
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Disks of one instance, oldest first; the inactive ones are left-overs of interrupted changes.
pub async fn list_of_instance(
    db: impl PgExecutor<'_>,
    instance_id: i64,
) -> Result<Vec<Disk>, sqlx::Error> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from persistent_disks where instance_id = $1 order by id"
    )))
    .bind(instance_id)
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

pub async fn list_of_deployment(
    db: impl PgExecutor<'_>,
    deployment_id: i64,
) -> Result<Vec<Disk>, sqlx::Error> {
    let columns = COLUMNS
        .split(", ")
        .map(|c| format!("d.{c}"))
        .collect::<Vec<_>>()
        .join(", ");
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {columns} from persistent_disks d join instances i on i.id = d.instance_id
         where i.deployment_id = $1 order by d.id"
    )))
    .bind(deployment_id)
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

/// A disk that never came to be.
pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from persistent_disks where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// Moves a created disk to the orphans, atomically. A row without cid (never created) is just dropped.
/// Returns the cid that is now an orphan.
pub async fn orphan(db: &sqlx::PgPool, id: i64) -> Result<Option<String>, sqlx::Error> {
    let mut tx = super::begin(db).await?;
    let cid = orphan_in(&mut tx, id).await?;
    tx.commit().await?;
    Ok(cid)
}

async fn orphan_in(tx: &mut sqlx::PgConnection, id: i64) -> Result<Option<String>, sqlx::Error> {
    let orphan: Option<(i64, String)> = sqlx::query_as(
        "insert into orphan_disks (cid, size, az, cpi, deployment_name, instance_name, cloud_properties, created_at)
         select d.cid, d.size, i.az, d.cpi, p.name, i.group_name || '/' || i.uuid, d.cloud_properties, d.created_at
         from persistent_disks d join instances i on i.id = d.instance_id join deployments p on p.id = i.deployment_id
         where d.id = $1 and d.cid is not null
         on conflict (cid) do update set orphaned_at = orphan_disks.orphaned_at returning id, cid",
    )
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some((orphan_id, _)) = &orphan {
        sqlx::query(
            "insert into orphan_snapshots (orphan_disk_id, cid, clean, snapshot_created_at)
             select $2, cid, clean, created_at from snapshots where persistent_disk_id = $1 order by id
             on conflict (cid) do nothing",
        )
        .bind(id)
        .bind(orphan_id)
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query("delete from persistent_disks where id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    Ok(orphan.map(|(_, cid)| cid))
}

/// The instance's managed disk becomes this one, atomically: an orphan comes back with its snapshots, a disk that
/// nobody knew is recorded as `unknown` says. The one before becomes an orphan. Whether it was an orphan.
pub async fn take_over(
    db: &sqlx::PgPool,
    cid: &str,
    unknown: &NewDisk<'_>,
) -> Result<bool, sqlx::Error> {
    let mut tx = super::begin(db).await?;
    let before: Option<i64> = sqlx::query_scalar(
        "select id from persistent_disks where instance_id = $1 and active and name = '' for update",
    )
    .bind(unknown.instance_id)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(before) = before {
        orphan_in(&mut tx, before).await?;
    }
    let orphan: Option<i64> =
        sqlx::query_scalar("select id from orphan_disks where cid = $1 for update")
            .bind(cid)
            .fetch_optional(&mut *tx)
            .await?;
    let new: i64 = sqlx::query_scalar(
        "insert into persistent_disks (instance_id, idempotency_key, cid, size, name, cloud_properties, cpi, active, task_id, created_at)
         select $1, $2, $3, coalesce(o.size, $4), $5, coalesce(o.cloud_properties, $6), coalesce(o.cpi, $7), true, $8,
                coalesce(o.created_at, now())
         from (select 1) one left join orphan_disks o on o.cid = $3 returning id",
    )
    .bind(unknown.instance_id)
    .bind(unknown.key)
    .bind(cid)
    .bind(unknown.size)
    .bind(unknown.name)
    .bind(unknown.cloud_properties)
    .bind(unknown.cpi)
    .bind(unknown.task_id)
    .fetch_one(&mut *tx)
    .await?;
    if let Some(orphan) = orphan {
        sqlx::query(
            "insert into snapshots (persistent_disk_id, cid, clean, created_at)
             select $1, cid, clean, snapshot_created_at from orphan_snapshots where orphan_disk_id = $2 order by id",
        )
        .bind(new)
        .bind(orphan)
        .execute(&mut *tx)
        .await?;
        sqlx::query("delete from orphan_disks where id = $1")
            .bind(orphan)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(orphan.is_some())
}
