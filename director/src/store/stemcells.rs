//! Stemcells: one row per name, version and CPI, and what was offered to which CPI.

use serde_json::Value as Json;
use sqlx::{PgExecutor, PgPool};

/// One row of `stemcells`.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Stemcell {
    pub id: i64,
    pub name: String,
    pub version: String,
    pub operating_system: String,
    /// The CPI's id of it; null until `create_stemcell` has answered.
    pub cid: Option<String>,
    /// Empty: the director's own CPI.
    pub cpi: String,
    pub sha1: Option<String>,
    pub api_version: Option<i32>,
    pub formats: Json,
    pub cloud_properties: Json,
}

/// What an upload knows of a stemcell.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStemcell {
    pub name: String,
    pub version: String,
    pub operating_system: String,
    pub cpi: String,
    pub sha1: Option<String>,
    pub api_version: Option<i32>,
    pub formats: Json,
    pub cloud_properties: Json,
}

const COLUMNS: &str =
    "id, name, version, operating_system, cid, cpi, sha1, api_version, formats, cloud_properties";

fn sql(rest: &str) -> sqlx::AssertSqlSafe<String> {
    // Only constants of this file are joined.
    sqlx::AssertSqlSafe(format!("select {COLUMNS} from stemcells {rest}"))
}

/// All stemcells that exist in their cloud, by name and version's text.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Stemcell>, sqlx::Error> {
    sqlx::query_as(sql("where cid is not null order by name, version, cpi"))
        .fetch_all(db)
        .await
}

/// The rows of one stemcell, one per CPI, also those that are not yet in their cloud.
pub async fn find_all(
    db: impl PgExecutor<'_>,
    name: &str,
    version: &str,
) -> Result<Vec<Stemcell>, sqlx::Error> {
    sqlx::query_as(sql("where name = $1 and version = $2 order by cpi"))
        .bind(name)
        .bind(version)
        .fetch_all(db)
        .await
}

pub async fn find(
    db: impl PgExecutor<'_>,
    name: &str,
    version: &str,
    cpi: &str,
) -> Result<Option<Stemcell>, sqlx::Error> {
    sqlx::query_as(sql("where name = $1 and version = $2 and cpi = $3"))
        .bind(name)
        .bind(version)
        .bind(cpi)
        .fetch_optional(db)
        .await
}

/// Makes or refreshes the row before the CPI is asked; its cid stays as it is.
pub async fn ensure(db: &PgPool, new: &NewStemcell) -> Result<Stemcell, sqlx::Error> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "insert into stemcells (name, version, operating_system, cpi, sha1, api_version, formats, cloud_properties)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (name, version, cpi) do update
         set operating_system = excluded.operating_system, sha1 = excluded.sha1,
             api_version = excluded.api_version, formats = excluded.formats,
             cloud_properties = excluded.cloud_properties
         returning {COLUMNS}"
    )))
    .bind(&new.name)
    .bind(&new.version)
    .bind(&new.operating_system)
    .bind(&new.cpi)
    .bind(&new.sha1)
    .bind(new.api_version)
    .bind(&new.formats)
    .bind(&new.cloud_properties)
    .fetch_one(db)
    .await
}

/// Records what the CPI answered.
pub async fn set_cid(db: impl PgExecutor<'_>, id: i64, cid: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update stemcells set cid = $2 where id = $1")
        .bind(id)
        .bind(cid)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from stemcells where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// Names of the deployments that use a stemcell row.
pub async fn deployments_of(db: impl PgExecutor<'_>, id: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select d.name from deployment_stemcells s join deployments d on d.id = s.deployment_id
         where s.stemcell_id = $1 order by d.id",
    )
    .bind(id)
    .fetch_all(db)
    .await
}

/// `(stemcell id, deployment name)` of all uses.
pub async fn all_uses(db: impl PgExecutor<'_>) -> Result<Vec<(i64, String)>, sqlx::Error> {
    sqlx::query_as(
        "select s.stemcell_id, d.name from deployment_stemcells s join deployments d on d.id = s.deployment_id
         order by d.id",
    )
    .fetch_all(db)
    .await
}

/// Records that a stemcell was offered to a CPI, whether it took it or not.
pub async fn record_upload(
    db: impl PgExecutor<'_>,
    name: &str,
    version: &str,
    cpi: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into stemcell_uploads (name, version, cpi) values ($1, $2, $3) on conflict do nothing",
    )
    .bind(name)
    .bind(version)
    .bind(cpi)
    .execute(db)
    .await?;
    Ok(())
}

/// The CPIs that a stemcell was offered to.
pub async fn uploads(
    db: impl PgExecutor<'_>,
    name: &str,
    version: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select cpi from stemcell_uploads where name = $1 and version = $2 order by cpi",
    )
    .bind(name)
    .bind(version)
    .fetch_all(db)
    .await
}

pub async fn forget_uploads(
    db: impl PgExecutor<'_>,
    name: &str,
    version: &str,
    cpi: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from stemcell_uploads where name = $1 and version = $2 and cpi = $3")
        .bind(name)
        .bind(version)
        .bind(cpi)
        .execute(db)
        .await?;
    Ok(())
}
