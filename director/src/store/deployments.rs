//! Deployments, and what each uses: release versions, stemcells, configs. The row is made before the first
//! deploy's task is queued, so a failed first deploy leaves a deployment without a manifest.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sqlx::{PgExecutor, PgPool, Row, postgres::PgRow};

/// One row of `deployments`.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    pub id: i64,
    pub name: String,
    /// The processed manifest of the last successful deploy; null before the first.
    pub manifest: Option<Json>,
    /// The same byte for byte as it was sent.
    pub manifest_text: Option<String>,
    /// Tags of the last successful deploy, merged.
    pub tags: Json,
    pub teams: Vec<String>,
    /// Link providers as stored by the last successful deploy.
    pub links: Json,
}

fn read(row: &PgRow) -> Result<Deployment, sqlx::Error> {
    Ok(Deployment {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        manifest: row.try_get("manifest")?,
        manifest_text: row.try_get("manifest_text")?,
        tags: row.try_get("tags")?,
        teams: row.try_get("teams")?,
        links: row.try_get("links")?,
    })
}

const COLUMNS: &str = "id, name, manifest, manifest_text, tags, teams, links";

pub async fn find(db: impl PgExecutor<'_>, name: &str) -> Result<Option<Deployment>, sqlx::Error> {
    let text = format!("select {COLUMNS} from deployments where name = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(name)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read).transpose()
}

pub async fn find_by_id(
    db: impl PgExecutor<'_>,
    id: i64,
) -> Result<Option<Deployment>, sqlx::Error> {
    let text = format!("select {COLUMNS} from deployments where id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(id)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The deployment that holds this canonical name (190009: two names that differ only in `_` and `-`).
pub async fn find_by_canonical_name(
    db: impl PgExecutor<'_>,
    canonical_name: &str,
) -> Result<Option<Deployment>, sqlx::Error> {
    let text = format!("select {COLUMNS} from deployments where canonical_name = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(canonical_name)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Makes the row if there is none; returns it either way.
pub async fn ensure(
    db: &PgPool,
    name: &str,
    canonical_name: &str,
    teams: &[String],
) -> Result<Deployment, sqlx::Error> {
    sqlx::query(
        "insert into deployments (name, canonical_name, teams) values ($1, $2, $3) on conflict (name) do nothing",
    )
    .bind(name)
    .bind(canonical_name)
    .bind(teams)
    .execute(db)
    .await?;
    find(db, name).await?.ok_or(sqlx::Error::RowNotFound)
}

/// All deployments by name.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Deployment>, sqlx::Error> {
    let text = format!("select {COLUMNS} from deployments order by name");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// What a deployment uses, for listings: `(name, version)` each, and its configs' ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Uses {
    pub releases: Vec<(String, String)>,
    pub stemcells: Vec<(String, String)>,
    pub configs: Vec<i64>,
}

/// [`Uses`] of all deployments by deployment id, in three statements.
pub async fn uses(db: &PgPool) -> Result<BTreeMap<i64, Uses>, sqlx::Error> {
    let mut all: BTreeMap<i64, Uses> = BTreeMap::new();
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "select d.deployment_id, r.name, v.version from deployment_release_versions d
         join release_versions v on v.id = d.release_version_id join releases r on r.id = v.release_id
         order by r.name, v.version",
    )
    .fetch_all(db)
    .await?;
    for (deployment, name, version) in rows {
        all.entry(deployment)
            .or_default()
            .releases
            .push((name, version));
    }
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "select d.deployment_id, s.name, s.version from deployment_stemcells d
         join stemcells s on s.id = d.stemcell_id order by s.name, s.version",
    )
    .fetch_all(db)
    .await?;
    for (deployment, name, version) in rows {
        all.entry(deployment)
            .or_default()
            .stemcells
            .push((name, version));
    }
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "select deployment_id, config_id from deployment_configs order by config_id",
    )
    .fetch_all(db)
    .await?;
    for (deployment, config) in rows {
        all.entry(deployment).or_default().configs.push(config);
    }
    Ok(all)
}

/// What a deploy binds before it begins: added to what the last one used, so that a failed deploy keeps both
/// in use.
pub async fn bind(
    db: &PgPool,
    id: i64,
    release_versions: &[i64],
    stemcells: &[i64],
) -> Result<(), sqlx::Error> {
    let mut tx = super::begin(db).await?;
    sqlx::query(
        "insert into deployment_release_versions (deployment_id, release_version_id)
         select $1, unnest($2::bigint[]) on conflict do nothing",
    )
    .bind(id)
    .bind(release_versions)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "insert into deployment_stemcells (deployment_id, stemcell_id)
         select $1, unnest($2::bigint[]) on conflict do nothing",
    )
    .bind(id)
    .bind(stemcells)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Everything a successful deploy leaves in its row and references.
#[derive(Debug, Clone, PartialEq)]
pub struct Success<'a> {
    pub manifest: &'a Json,
    pub manifest_text: &'a str,
    pub tags: &'a Json,
    pub links: &'a Json,
    pub release_versions: &'a [i64],
    pub stemcells: &'a [i64],
    pub configs: &'a [i64],
    pub task_id: i64,
}

/// Records a successful deploy, dropping references of the one before, in one transaction.
pub async fn succeeded(db: &PgPool, id: i64, done: &Success<'_>) -> Result<(), sqlx::Error> {
    bind(db, id, done.release_versions, done.stemcells).await?;
    let mut tx = super::begin(db).await?;
    sqlx::query(
        "update deployments set manifest = $2, manifest_text = $3, tags = $4, links = $5,
                last_deployed_at = now(), last_deploy_task_id = $6 where id = $1",
    )
    .bind(id)
    .bind(done.manifest)
    .bind(done.manifest_text)
    .bind(done.tags)
    .bind(done.links)
    .bind(done.task_id)
    .execute(&mut *tx)
    .await?;
    sqlx::query("delete from deployment_release_versions where deployment_id = $1 and not release_version_id = any($2)")
        .bind(id)
        .bind(done.release_versions)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "delete from deployment_stemcells where deployment_id = $1 and not stemcell_id = any($2)",
    )
    .bind(id)
    .bind(done.stemcells)
    .execute(&mut *tx)
    .await?;
    sqlx::query("delete from deployment_configs where deployment_id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into deployment_configs (deployment_id, config_id) select $1, unnest($2::bigint[])",
    )
    .bind(id)
    .bind(done.configs)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Configs of the last successful deploy.
pub async fn config_ids(db: impl PgExecutor<'_>, id: i64) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select config_id from deployment_configs where deployment_id = $1 order by config_id",
    )
    .bind(id)
    .fetch_all(db)
    .await
}

/// Drops what the deployment used (first step of its deletion).
pub async fn unbind_stemcells(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from deployment_stemcells where deployment_id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn unbind_releases(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from deployment_release_versions where deployment_id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes the row. Refused (false) while instances are left: they name outside resources.
pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "delete from deployments where id = $1 and not exists (select 1 from instances where deployment_id = $1)",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}
