//! What a deploy may use of the uploads: versions to choose from, jobs and packages of a release version,
//! stemcells, compiled packages. Read only; uploads write through `releases` and `stemcells`.

use serde_json::Value as Json;
use sqlx::PgExecutor;

/// Versions of a release by name: `(release_versions.id, version)`. `None`: no such release.
pub async fn release_versions(
    db: impl PgExecutor<'_>,
    name: &str,
) -> Result<Option<Vec<(i64, String)>>, sqlx::Error> {
    let rows: Vec<(Option<i64>, Option<String>)> = sqlx::query_as(
        "select v.id, v.version from releases r left join release_versions v
           on v.release_id = r.id and v.update_completed where r.name = $1 order by v.id",
    )
    .bind(name)
    .fetch_all(db)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        rows.into_iter()
            .filter_map(|(id, version)| id.zip(version))
            .collect(),
    ))
}

/// A job of a release version.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct JobRow {
    pub name: String,
    pub fingerprint: String,
    pub sha1: String,
    pub blob_id: String,
    /// `job.MF` as JSON.
    pub spec: Json,
}

pub async fn jobs(
    db: impl PgExecutor<'_>,
    release_version_id: i64,
) -> Result<Vec<JobRow>, sqlx::Error> {
    sqlx::query_as(
        "select j.name, j.fingerprint, j.sha1, j.blob_id, j.spec from jobs j
         join release_version_jobs v on v.job_id = j.id where v.release_version_id = $1 order by j.name",
    )
    .bind(release_version_id)
    .fetch_all(db)
    .await
}

/// A package of a release version.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct PackageRow {
    pub id: i64,
    pub name: String,
    pub fingerprint: String,
    pub sha1: Option<String>,
    /// Null: no source here.
    pub blob_id: Option<String>,
    /// Names of direct dependencies.
    pub dependencies: Json,
}

pub async fn packages(
    db: impl PgExecutor<'_>,
    release_version_id: i64,
) -> Result<Vec<PackageRow>, sqlx::Error> {
    sqlx::query_as(
        "select p.id, p.name, p.fingerprint, p.sha1, p.blob_id, p.dependencies from packages p
         join release_version_packages v on v.package_id = p.id where v.release_version_id = $1 order by p.name",
    )
    .bind(release_version_id)
    .fetch_all(db)
    .await
}

/// A stemcell that some CPI has.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct StemcellRow {
    pub id: i64,
    pub name: String,
    pub version: String,
    pub operating_system: String,
    pub cid: String,
    pub cpi: String,
    pub api_version: Option<i32>,
}

pub async fn stemcells(db: impl PgExecutor<'_>) -> Result<Vec<StemcellRow>, sqlx::Error> {
    sqlx::query_as(
        "select id, name, version, operating_system, cid, cpi, api_version from stemcells
         where cid is not null order by name, version, cpi",
    )
    .fetch_all(db)
    .await
}

/// A compiled package with what names its source.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct CompiledRow {
    pub name: String,
    pub fingerprint: String,
    pub stemcell_os: String,
    pub stemcell_version: String,
    pub dependency_key: String,
    pub build: i64,
    pub blob_id: String,
    pub sha1: String,
}

/// Compiled versions of packages with these fingerprints, of whatever release they came with.
pub async fn compiled(
    db: impl PgExecutor<'_>,
    fingerprints: &[String],
) -> Result<Vec<CompiledRow>, sqlx::Error> {
    sqlx::query_as(
        "select p.name, p.fingerprint, c.stemcell_os, c.stemcell_version, c.dependency_key, c.build, c.blob_id, c.sha1
         from compiled_packages c join packages p on p.id = c.package_id
         where p.fingerprint = any($1) order by c.id",
    )
    .bind(fingerprints)
    .fetch_all(db)
    .await
}
