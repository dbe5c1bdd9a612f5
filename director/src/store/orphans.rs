//! What is kept of deleted instances, and other small tables that listings read.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Error, Store};

/// A disk that nobody uses any more; deleted by a person or after its time.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OrphanDiskRow {
    pub id: i64,
    pub cid: String,
    /// The CPI that made it.
    pub cpi: String,
    /// MiB
    pub size: i64,
    pub az: Option<String>,
    pub deployment_name: String,
    pub instance_name: String,
    pub cloud_properties: Value,
    pub orphaned_at: DateTime<Utc>,
}

/// A VM that is to be deleted by and by.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OrphanVmRow {
    pub id: i64,
    pub agent_id: Option<String>,
    pub cid: String,
    /// The CPI that made it.
    pub cpi: String,
    pub stemcell_api_version: Option<i32>,
    pub az: Option<String>,
    pub deployment_name: String,
    pub instance_name: String,
    pub ip_addresses: Vec<String>,
    pub orphaned_at: DateTime<Utc>,
}

/// A problem that a scan found.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ProblemRow {
    pub id: i64,
    #[sqlx(rename = "type")]
    pub kind: String,
    pub data: Value,
    pub description: String,
}

fn disks(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "select id, cid, cpi, size, az, deployment_name, instance_name, cloud_properties, orphaned_at
         from orphan_disks {rest}"
    ))
}

impl Store {
    /// Oldest first.
    pub async fn orphan_disks(&self) -> Result<Vec<OrphanDiskRow>, Error> {
        sqlx::query_as(disks("order by orphaned_at, id"))
            .fetch_all(self.pool())
            .await
    }

    /// Those orphaned before `cutoff`, oldest first.
    pub async fn old_orphan_disks(
        &self,
        cutoff: DateTime<Utc>,
    ) -> Result<Vec<OrphanDiskRow>, Error> {
        sqlx::query_as(disks("where orphaned_at < $1 order by orphaned_at, id"))
            .bind(cutoff)
            .fetch_all(self.pool())
            .await
    }

    pub async fn find_orphan_disk(&self, cid: &str) -> Result<Option<OrphanDiskRow>, Error> {
        sqlx::query_as(disks("where cid = $1"))
            .bind(cid)
            .fetch_optional(self.pool())
            .await
    }

    /// An orphan whose disk is certainly gone.
    pub async fn delete_orphan_disk(&self, id: i64) -> Result<(), Error> {
        sqlx::query("delete from orphan_disks where id = $1")
            .bind(id)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Oldest first.
    pub async fn orphan_vms(&self) -> Result<Vec<OrphanVmRow>, Error> {
        sqlx::query_as(
            "select id, agent_id, cid, az, cpi, deployment_name, instance_name, stemcell_api_version, ip_addresses,
                    orphaned_at
             from orphan_vms order by orphaned_at, id",
        )
        .fetch_all(self.pool())
        .await
    }

    /// An orphan whose VM is certainly gone; its addresses are free again.
    pub async fn delete_orphan_vm(&self, id: i64) -> Result<(), Error> {
        sqlx::query("delete from orphan_vms where id = $1")
            .bind(id)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    pub async fn open_problems(&self, deployment: i64) -> Result<Vec<ProblemRow>, Error> {
        sqlx::query_as(
            "select id, type, data, description from problems where deployment_id = $1 and state = 'open' order by id",
        )
        .bind(deployment)
        .fetch_all(self.pool())
        .await
    }

    /// (id, absolute name) of all variables in the kept sets of a deployment.
    pub async fn variables_of(&self, deployment: i64) -> Result<Vec<(String, String)>, Error> {
        sqlx::query_as(
            "select distinct v.variable_id, v.variable_name from variables v
             join variable_sets s on s.id = v.variable_set_id where s.deployment_id = $1 order by 2, 1",
        )
        .bind(deployment)
        .fetch_all(self.pool())
        .await
    }

    /// (deployment, its teams, variable id) where the last successful set has the variable.
    pub async fn deployments_with_variable(
        &self,
        name: &str,
    ) -> Result<Vec<(String, Vec<String>, String)>, Error> {
        sqlx::query_as(
            "select d.name, d.teams, v.variable_id from deployments d
             join lateral (select id from variable_sets where deployment_id = d.id and deployed_successfully
                           order by id desc limit 1) s on true
             join variables v on v.variable_set_id = s.id
             where v.variable_name = $1 order by d.name",
        )
        .bind(name)
        .fetch_all(self.pool())
        .await
    }
}
