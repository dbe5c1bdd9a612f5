//! Instances: one row per place in an instance group, kept from the plan that made it until it is
//! scaled away. Written by `deploy` before anything is created for it; read by listings, the planner's
//! snapshot, SSH, logs and errands.

use serde_json::Value as Json;
use sqlx::{PgExecutor, Row, postgres::PgRow};

/// One row of `instances`.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub id: i64,
    pub deployment_id: i64,
    pub group_name: String,
    pub index: i32,
    pub uuid: String,
    pub az: Option<String>,
    /// Desired state: `started`, `stopped` or `detached`.
    pub state: String,
    /// `service` or `errand`.
    pub lifecycle: String,
    pub bootstrap: bool,
    pub ignore: bool,
    pub compilation: bool,
    /// What the last completed update left there ([`crate::deploy::spec::Recorded`]); null before the first.
    pub spec: Option<Json>,
    pub update_completed: bool,
}

impl Instance {
    /// `<group>/<uuid>`, the name people know it by.
    pub fn slug(&self) -> String {
        format!("{}/{}", self.group_name, self.uuid)
    }

    /// `<group>/<uuid> (<index>)`, as events and errors print it.
    pub fn name(&self) -> String {
        format!("{}/{} ({})", self.group_name, self.uuid, self.index)
    }
}

fn read(row: &PgRow) -> Result<Instance, sqlx::Error> {
    Ok(Instance {
        id: row.try_get("id")?,
        deployment_id: row.try_get("deployment_id")?,
        group_name: row.try_get("group_name")?,
        index: row.try_get("index")?,
        uuid: row.try_get("uuid")?,
        az: row.try_get("az")?,
        state: row.try_get("state")?,
        lifecycle: row.try_get("lifecycle")?,
        bootstrap: row.try_get("bootstrap")?,
        ignore: row.try_get("ignore")?,
        compilation: row.try_get("compilation")?,
        spec: row.try_get("spec")?,
        update_completed: row.try_get("update_completed")?,
    })
}

const COLUMNS: &str = "id, deployment_id, group_name, index, uuid, az, state, lifecycle, bootstrap, ignore, \
                       compilation, spec, update_completed";

/// A row to be, made by the planner or by compilation.
#[derive(Debug, Clone)]
pub struct NewInstance<'a> {
    pub deployment_id: i64,
    pub group_name: &'a str,
    pub index: i32,
    pub uuid: &'a str,
    pub az: Option<&'a str>,
    pub state: &'a str,
    pub lifecycle: &'a str,
    pub bootstrap: bool,
    pub compilation: bool,
}

/// Makes the row, or brings an existing one (same uuid) to the placement's facts. Leaves the recorded
/// spec alone; returns the row id.
pub async fn ensure(db: impl PgExecutor<'_>, new: &NewInstance<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "insert into instances (deployment_id, group_name, index, uuid, az, state, lifecycle, bootstrap, compilation)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (uuid) do update set group_name = excluded.group_name, index = excluded.index,
           az = excluded.az, lifecycle = excluded.lifecycle, bootstrap = excluded.bootstrap
         returning id",
    )
    .bind(new.deployment_id)
    .bind(new.group_name)
    .bind(new.index)
    .bind(new.uuid)
    .bind(new.az)
    .bind(new.state)
    .bind(new.lifecycle)
    .bind(new.bootstrap)
    .bind(new.compilation)
    .fetch_one(db)
    .await
}

/// The instances of a deployment in listing order, compilation workers included when asked for.
pub async fn list(
    db: impl PgExecutor<'_>,
    deployment_id: i64,
    with_compilation: bool,
) -> Result<Vec<Instance>, sqlx::Error> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from instances where deployment_id = $1 and ($2 or not compilation) order by group_name, index, id"
    )))
    .bind(deployment_id)
    .bind(with_compilation)
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

pub async fn find(db: impl PgExecutor<'_>, id: i64) -> Result<Option<Instance>, sqlx::Error> {
    let text = format!("select {COLUMNS} from instances where id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(id)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read).transpose()
}

pub async fn find_by_uuid(
    db: impl PgExecutor<'_>,
    uuid: &str,
) -> Result<Option<Instance>, sqlx::Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from instances where uuid = $1"
    )))
    .bind(uuid)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Sets the desired state (`started`, `stopped`, `detached`).
pub async fn set_state(db: impl PgExecutor<'_>, id: i64, state: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update instances set state = $2 where id = $1")
        .bind(id)
        .bind(state)
        .execute(db)
        .await?;
    Ok(())
}

/// An update begins: until [`complete_update`] the instance counts as dirty, whatever happens to us.
pub async fn begin_update(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update instances set update_completed = false where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// The update is done: records what is there now and the state it was brought to.
pub async fn complete_update(
    db: impl PgExecutor<'_>,
    id: i64,
    state: &str,
    spec: &Json,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update instances set update_completed = true, state = $2, spec = $3 where id = $1",
    )
    .bind(id)
    .bind(state)
    .bind(spec)
    .execute(db)
    .await?;
    Ok(())
}

/// Refreshes the recorded spec of an instance that is not touched otherwise.
pub async fn set_spec(db: impl PgExecutor<'_>, id: i64, spec: &Json) -> Result<(), sqlx::Error> {
    sqlx::query("update instances set spec = $2 where id = $1")
        .bind(id)
        .bind(spec)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn set_ignore(db: impl PgExecutor<'_>, id: i64, ignore: bool) -> Result<(), sqlx::Error> {
    sqlx::query("update instances set ignore = $2 where id = $1")
        .bind(id)
        .bind(ignore)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes the row with its addresses and rendered archives. Its VMs and disks must be gone or orphaned
/// before: rows that still name an outside resource are refused.
pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "delete from instances where id = $1
           and not exists (select 1 from vms where instance_id = $1)
           and not exists (select 1 from persistent_disks where instance_id = $1)",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}
