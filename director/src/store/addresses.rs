//! IP addresses given to instances. Uniqueness is global, over networks, deployments and orphaned VMs,
//! and held by a unique index: two deploys that race for an address can't both win.

use sqlx::{PgExecutor, Row};

/// One address in use.
#[derive(Debug, Clone, PartialEq)]
pub struct Address {
    pub id: i64,
    /// Without prefix length for single addresses.
    pub address: String,
    pub network_name: String,
    /// Asked for by the manifest (`static_ips`).
    pub is_static: bool,
    pub instance_id: Option<i64>,
    pub vm_id: Option<i64>,
    /// Who holds it: `<group>/<uuid>` and its deployment; null for orphaned VMs.
    pub holder: Option<(String, String)>,
}

/// Everything in use anywhere: what the planner must not give out again.
pub async fn list_all(db: impl PgExecutor<'_>) -> Result<Vec<Address>, sqlx::Error> {
    let rows = sqlx::query(
        "select a.id, a.address, a.network_name, a.static, a.instance_id, a.vm_id,
                i.group_name || '/' || i.uuid as holder, d.name as deployment
         from ip_addresses a left join instances i on i.id = a.instance_id
         left join deployments d on d.id = i.deployment_id order by a.id",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let holder: Option<String> = row.try_get("holder")?;
            let deployment: Option<String> = row.try_get("deployment")?;
            Ok(Address {
                id: row.try_get("id")?,
                address: row.try_get("address")?,
                network_name: row.try_get("network_name")?,
                is_static: row.try_get("static")?,
                instance_id: row.try_get("instance_id")?,
                vm_id: row.try_get("vm_id")?,
                holder: holder.zip(deployment),
            })
        })
        .collect()
}

/// Reserves an address for an instance; a repeat for the same instance is fine and adopts the network
/// and kind. False: another instance holds it.
pub async fn reserve(
    db: impl PgExecutor<'_>,
    address: &str,
    network: &str,
    is_static: bool,
    instance_id: i64,
    task_id: i64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into ip_addresses (address, network_name, static, instance_id, task_id) values ($1, $2, $3, $4, $5)
         on conflict (address) do update set network_name = excluded.network_name, static = excluded.static
         where ip_addresses.instance_id = excluded.instance_id",
    )
    .bind(address)
    .bind(network)
    .bind(is_static)
    .bind(instance_id)
    .bind(task_id)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Releases the addresses of an instance that are not in `keep`.
pub async fn release_others(
    db: impl PgExecutor<'_>,
    instance_id: i64,
    keep: &[String],
) -> Result<u64, sqlx::Error> {
    let done =
        sqlx::query("delete from ip_addresses where instance_id = $1 and not address = any($2)")
            .bind(instance_id)
            .bind(keep)
            .execute(db)
            .await?;
    Ok(done.rows_affected())
}

/// Planning failed: what this task reserved and no VM uses yet is free again.
pub async fn release_unused_of_task(
    db: impl PgExecutor<'_>,
    task_id: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query("delete from ip_addresses where task_id = $1 and vm_id is null")
        .bind(task_id)
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// Addresses of one instance.
pub async fn list_of_instance(
    db: impl PgExecutor<'_>,
    instance_id: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select address from ip_addresses where instance_id = $1 order by id")
        .bind(instance_id)
        .fetch_all(db)
        .await
}

/// Addresses tied to one VM.
pub async fn list_of_vm(db: impl PgExecutor<'_>, vm_id: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select address from ip_addresses where vm_id = $1 order by id")
        .bind(vm_id)
        .fetch_all(db)
        .await
}

/// Lets one address of an instance go.
pub async fn release(
    db: impl PgExecutor<'_>,
    instance_id: i64,
    address: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from ip_addresses where instance_id = $1 and address = $2")
        .bind(instance_id)
        .bind(address)
        .execute(db)
        .await?;
    Ok(())
}
