//! VMs: a row is written before `create_vm` is called, with the agent id as idempotency key, and lives
//! until `delete_vm` has succeeded. A crash in between therefore always leaves a row that says what to
//! ask the CPI about.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use sqlx::{PgExecutor, Row, postgres::PgRow};

/// One row of `vms`. No `Debug`: the request may hold a password's hash.
#[derive(Clone, PartialEq)]
pub struct Vm {
    pub id: i64,
    pub instance_id: i64,
    pub agent_id: String,
    /// Null until the CPI has answered.
    pub cid: Option<String>,
    pub cpi: String,
    pub stemcell_name: Option<String>,
    pub stemcell_version: Option<String>,
    pub stemcell_api_version: Option<i32>,
    /// Digest of the unresolved `env` it was made with.
    pub env_sha: Option<String>,
    pub active: bool,
    /// `requested`, `created` or `deleting`.
    pub state: String,
    pub permanent_nats_credentials: bool,
    pub cloud_properties: Json,
    /// The networks as given to the CPI.
    pub network_spec: Json,
    /// Everything of the `create_vm` call but the secrets, so that a half-done call can be repeated.
    pub request: Json,
    /// Digests of what its agent was last configured with.
    pub fingerprints: Json,
    pub task_id: Option<i64>,
    pub created_at: DateTime<Utc>,
}

fn read(row: &PgRow) -> Result<Vm, sqlx::Error> {
    Ok(Vm {
        id: row.try_get("id")?,
        instance_id: row.try_get("instance_id")?,
        agent_id: row.try_get("agent_id")?,
        cid: row.try_get("cid")?,
        cpi: row.try_get("cpi")?,
        stemcell_name: row.try_get("stemcell_name")?,
        stemcell_version: row.try_get("stemcell_version")?,
        stemcell_api_version: row.try_get("stemcell_api_version")?,
        env_sha: row.try_get("env_sha")?,
        active: row.try_get("active")?,
        state: row.try_get("state")?,
        permanent_nats_credentials: row.try_get("permanent_nats_credentials")?,
        cloud_properties: row.try_get("cloud_properties")?,
        network_spec: row.try_get("network_spec")?,
        request: row.try_get("request")?,
        fingerprints: row.try_get("fingerprints")?,
        task_id: row.try_get("task_id")?,
        created_at: row.try_get("created_at")?,
    })
}

const COLUMNS: &str = "id, instance_id, agent_id, cid, cpi, stemcell_name, stemcell_version, stemcell_api_version, \
                       env_sha, active, state, permanent_nats_credentials, cloud_properties, network_spec, request, fingerprints, \
                       task_id, created_at";

/// A VM about to be asked for.
#[derive(Clone)]
pub struct NewVm<'a> {
    pub instance_id: i64,
    pub agent_id: &'a str,
    pub cpi: &'a str,
    pub stemcell_name: &'a str,
    pub stemcell_version: &'a str,
    pub stemcell_api_version: i32,
    pub env_sha: &'a str,
    pub cloud_properties: &'a Json,
    pub network_spec: &'a Json,
    pub request: &'a Json,
    pub task_id: i64,
}

/// Writes the row of a VM that is about to be asked for, in state `requested`.
pub async fn request(db: impl PgExecutor<'_>, new: &NewVm<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "insert into vms (instance_id, agent_id, cpi, stemcell_name, stemcell_version, stemcell_api_version,
                          env_sha, cloud_properties, network_spec, request, task_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning id",
    )
    .bind(new.instance_id)
    .bind(new.agent_id)
    .bind(new.cpi)
    .bind(new.stemcell_name)
    .bind(new.stemcell_version)
    .bind(new.stemcell_api_version)
    .bind(new.env_sha)
    .bind(new.cloud_properties)
    .bind(new.network_spec)
    .bind(new.request)
    .bind(new.task_id)
    .fetch_one(db)
    .await
}

/// The CPI has answered: the VM exists under this cid. Also the moment its addresses are tied to it.
pub async fn created(db: &sqlx::PgPool, id: i64, cid: &str) -> Result<(), sqlx::Error> {
    let mut tx = super::begin(db).await?;
    sqlx::query("update vms set cid = $2, state = 'created', created_at = now() where id = $1")
        .bind(id)
        .bind(cid)
        .execute(&mut *tx)
        .await?;
    sqlx::query("update ip_addresses a set vm_id = v.id from vms v where v.id = $1 and a.instance_id = v.instance_id and a.vm_id is null")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// Makes a VM the one its instance runs on; any other of the instance becomes inactive.
pub async fn activate(db: &sqlx::PgPool, id: i64) -> Result<(), sqlx::Error> {
    let mut tx = super::begin(db).await?;
    sqlx::query("update vms set active = false where active and id <> $1 and instance_id = (select instance_id from vms where id = $1)")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("update vms set active = true where id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// Marks a VM as being deleted, before `delete_vm` is called.
pub async fn deleting(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update vms set state = 'deleting' where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// Records what the agent was configured with.
pub async fn set_fingerprints(
    db: impl PgExecutor<'_>,
    id: i64,
    fingerprints: &Json,
) -> Result<(), sqlx::Error> {
    sqlx::query("update vms set fingerprints = $2 where id = $1")
        .bind(id)
        .bind(fingerprints)
        .execute(db)
        .await?;
    Ok(())
}

/// The agent has taken its permanent NATS certificate.
pub async fn permanent_credentials(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update vms set permanent_nats_credentials = true where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// The VM is certainly gone (or never came to be).
pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from vms where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn find(db: impl PgExecutor<'_>, id: i64) -> Result<Option<Vm>, sqlx::Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from vms where id = $1"
    )))
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

pub async fn find_by_cid(db: impl PgExecutor<'_>, cid: &str) -> Result<Option<Vm>, sqlx::Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from vms where cid = $1"
    )))
    .bind(cid)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The VM an instance runs on.
pub async fn find_active(
    db: impl PgExecutor<'_>,
    instance_id: i64,
) -> Result<Option<Vm>, sqlx::Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from vms where instance_id = $1 and active"
    )))
    .bind(instance_id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

/// All VM rows of one instance, oldest first.
pub async fn list_of_instance(
    db: impl PgExecutor<'_>,
    instance_id: i64,
) -> Result<Vec<Vm>, sqlx::Error> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from vms where instance_id = $1 order by id"
    )))
    .bind(instance_id)
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

/// All VM rows of a deployment, compilation workers included, oldest first.
pub async fn list_of_deployment(
    db: impl PgExecutor<'_>,
    deployment_id: i64,
) -> Result<Vec<Vm>, sqlx::Error> {
    let columns = COLUMNS
        .split(", ")
        .map(|c| format!("v.{c}"))
        .collect::<Vec<_>>()
        .join(", ");
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {columns} from vms v join instances i on i.id = v.instance_id where i.deployment_id = $1 order by v.id"
    )))
    .bind(deployment_id)
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

/// Agent ids of every VM row: whom NATS must know.
pub async fn agent_ids(db: impl PgExecutor<'_>) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select agent_id from vms order by id")
        .fetch_all(db)
        .await
}

/// Moves a VM that can't be deleted now to the orphans, with its addresses, atomically.
pub async fn orphan(db: &sqlx::PgPool, id: i64) -> Result<(), sqlx::Error> {
    let mut tx = super::begin(db).await?;
    let orphan: Option<i64> = sqlx::query_scalar(
        "insert into orphan_vms (agent_id, cid, az, cpi, deployment_name, instance_name, stemcell_api_version, ip_addresses)
         select v.agent_id, v.cid, i.az, v.cpi, d.name, i.group_name || '/' || i.uuid, v.stemcell_api_version,
                coalesce((select array_agg(a.address) from ip_addresses a where a.vm_id = v.id), '{}')
         from vms v join instances i on i.id = v.instance_id join deployments d on d.id = i.deployment_id
         where v.id = $1 and v.cid is not null on conflict (cid) do nothing returning id",
    )
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(orphan) = orphan {
        sqlx::query("update ip_addresses set orphan_vm_id = $2, instance_id = null, vm_id = null where vm_id = $1")
            .bind(id)
            .bind(orphan)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query("delete from vms where id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
