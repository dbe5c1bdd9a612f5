//! What is kept of deleted instances, and other small tables that listings read.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Error, Store};

/// A disk that nobody uses any more; deleted by a person or after its time.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OrphanDiskRow {
    pub cid: String,
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
    pub cid: String,
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

impl Store {
    /// Newest first.
    pub async fn orphan_disks(&self) -> Result<Vec<OrphanDiskRow>, Error> {
        sqlx::query_as(
            "select cid, size, az, deployment_name, instance_name, cloud_properties, orphaned_at
             from orphan_disks order by orphaned_at desc, id desc",
        )
        .fetch_all(self.pool())
        .await
    }

    pub async fn orphan_vms(&self) -> Result<Vec<OrphanVmRow>, Error> {
        sqlx::query_as(
            "select cid, az, deployment_name, instance_name, ip_addresses, orphaned_at
             from orphan_vms order by orphaned_at, id",
        )
        .fetch_all(self.pool())
        .await
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
