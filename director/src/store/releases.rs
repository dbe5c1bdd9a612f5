//! Releases, their versions, and the packages and jobs of each (docs/spec/releases-and-templates.md §12.3).
//!
//! A package or job row belongs to a release and is shared by all versions of it that have the same fingerprint.

use serde_json::Value as Json;
use sqlx::{PgExecutor, PgPool, Row, postgres::PgRow};

/// One row of `releases`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Release {
    pub id: i64,
    pub name: String,
}

/// One row of `release_versions` with the release's name.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ReleaseVersion {
    pub id: i64,
    pub release_id: i64,
    pub name: String,
    pub version: String,
    pub commit_hash: Option<String>,
    pub uncommitted_changes: bool,
    /// False while an upload is under way, and after one that failed.
    pub update_completed: bool,
}

/// One row of `packages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub id: i64,
    pub release_id: i64,
    pub name: String,
    /// Today the fingerprint.
    pub version: String,
    pub fingerprint: String,
    /// Digest string of the source archive; null without a source.
    pub sha1: Option<String>,
    /// The source archive; null in a compiled release.
    pub blob_id: Option<String>,
    /// Direct ones, by name.
    pub dependencies: Vec<String>,
}

/// One row of `jobs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: i64,
    pub release_id: i64,
    pub name: String,
    /// Today the fingerprint.
    pub version: String,
    pub fingerprint: String,
    /// Digest string of the archive.
    pub sha1: String,
    pub blob_id: String,
    /// `job.MF`, keys in the order written.
    pub spec: Json,
}

const VERSION: &str =
    "select v.id, v.release_id, r.name, v.version, v.commit_hash, v.uncommitted_changes,
       v.update_completed from release_versions v join releases r on r.id = v.release_id ";

fn version_sql(rest: &str) -> sqlx::AssertSqlSafe<String> {
    // Only constants of this file are joined.
    sqlx::AssertSqlSafe(format!("{VERSION}{rest}"))
}

const PACKAGE: &str = "select p.id, p.release_id, p.name, p.version, p.fingerprint, p.sha1, p.blob_id, p.dependencies from packages p ";

fn package_sql(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{PACKAGE}{rest}"))
}

fn read_package(row: &PgRow) -> Result<Package, sqlx::Error> {
    Ok(Package {
        id: row.try_get("id")?,
        release_id: row.try_get("release_id")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        fingerprint: row.try_get("fingerprint")?,
        sha1: row.try_get("sha1")?,
        blob_id: row.try_get("blob_id")?,
        dependencies: row
            .try_get::<sqlx::types::Json<Vec<String>>, _>("dependencies")?
            .0,
    })
}

const JOB: &str = "select j.id, j.release_id, j.name, j.version, j.fingerprint, j.sha1, j.blob_id, j.spec from jobs j ";

fn job_sql(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{JOB}{rest}"))
}

fn read_job(row: &PgRow) -> Result<Job, sqlx::Error> {
    Ok(Job {
        id: row.try_get("id")?,
        release_id: row.try_get("release_id")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        fingerprint: row.try_get("fingerprint")?,
        sha1: row.try_get("sha1")?,
        blob_id: row.try_get("blob_id")?,
        spec: row.try_get("spec")?,
    })
}

// -- releases and versions

pub async fn find(db: impl PgExecutor<'_>, name: &str) -> Result<Option<Release>, sqlx::Error> {
    sqlx::query_as("select id, name from releases where name = $1")
        .bind(name)
        .fetch_optional(db)
        .await
}

/// Makes the row if there is none; returns it either way.
pub async fn ensure(db: &PgPool, name: &str) -> Result<Release, sqlx::Error> {
    sqlx::query("insert into releases (name) values ($1) on conflict (name) do nothing")
        .bind(name)
        .execute(db)
        .await?;
    find(db, name).await?.ok_or(sqlx::Error::RowNotFound)
}

/// All versions of all releases.
pub async fn list_versions(db: impl PgExecutor<'_>) -> Result<Vec<ReleaseVersion>, sqlx::Error> {
    sqlx::query_as(version_sql("order by r.name, v.id"))
        .fetch_all(db)
        .await
}

/// The versions of one release.
pub async fn versions_of(
    db: impl PgExecutor<'_>,
    release_id: i64,
) -> Result<Vec<ReleaseVersion>, sqlx::Error> {
    sqlx::query_as(version_sql("where v.release_id = $1 order by v.id"))
        .bind(release_id)
        .fetch_all(db)
        .await
}

/// The version of a release, by any of these texts (as given, normalised, old form), the first one first.
pub async fn find_version(
    db: impl PgExecutor<'_>,
    name: &str,
    versions: &[String],
) -> Result<Option<ReleaseVersion>, sqlx::Error> {
    sqlx::query_as(version_sql(
        "where r.name = $1 and v.version = any($2) order by array_position($2, v.version) limit 1",
    ))
    .bind(name)
    .bind(versions)
    .fetch_optional(db)
    .await
}

/// Makes the version, not completed yet; returns it and whether it is new.
pub async fn ensure_version(
    db: &PgPool,
    release: &Release,
    version: &str,
    commit_hash: Option<&str>,
    uncommitted_changes: bool,
) -> Result<(ReleaseVersion, bool), sqlx::Error> {
    let made = sqlx::query(
        "insert into release_versions (release_id, version, commit_hash, uncommitted_changes)
         values ($1, $2, $3, $4) on conflict (release_id, version) do nothing",
    )
    .bind(release.id)
    .bind(version)
    .bind(commit_hash)
    .bind(uncommitted_changes)
    .execute(db)
    .await?;
    let row = find_version(db, &release.name, &[version.to_owned()])
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    Ok((row, made.rows_affected() == 1))
}

/// Marks an upload of the version as under way, or as completed.
pub async fn set_completed(
    db: impl PgExecutor<'_>,
    version_id: i64,
    completed: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query("update release_versions set update_completed = $2 where id = $1")
        .bind(version_id)
        .bind(completed)
        .execute(db)
        .await?;
    Ok(())
}

/// `(release version id, deployment name)` of all uses.
pub async fn all_uses(db: impl PgExecutor<'_>) -> Result<Vec<(i64, String)>, sqlx::Error> {
    sqlx::query_as(
        "select u.release_version_id, d.name from deployment_release_versions u
         join deployments d on d.id = u.deployment_id order by d.id",
    )
    .fetch_all(db)
    .await
}

/// Deletes the version with its links; what it used goes before ([`packages_only_of`], [`jobs_only_of`]).
pub async fn delete_version(db: impl PgExecutor<'_>, version_id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from release_versions where id = $1")
        .bind(version_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes the release if it has no version any more.
pub async fn delete_if_empty(db: impl PgExecutor<'_>, release_id: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from releases r where r.id = $1
         and not exists (select 1 from release_versions v where v.release_id = r.id)",
    )
    .bind(release_id)
    .execute(db)
    .await?;
    Ok(())
}

// -- packages

/// The packages of a release version, by name.
pub async fn packages_of(
    db: impl PgExecutor<'_>,
    version_id: i64,
) -> Result<Vec<Package>, sqlx::Error> {
    let rows = sqlx::query(package_sql(
        "join release_version_packages l on l.package_id = p.id where l.release_version_id = $1 order by p.name",
    ))
    .bind(version_id)
    .fetch_all(db)
    .await?;
    rows.iter().map(read_package).collect()
}

/// The packages of all versions of a release, in the order in which they came.
pub async fn packages_of_release(
    db: impl PgExecutor<'_>,
    release_id: i64,
) -> Result<Vec<Package>, sqlx::Error> {
    let rows = sqlx::query(package_sql("where p.release_id = $1 order by p.id"))
        .bind(release_id)
        .fetch_all(db)
        .await?;
    rows.iter().map(read_package).collect()
}

/// Packages of any release with one of these fingerprints.
pub async fn packages_with_fingerprints(
    db: impl PgExecutor<'_>,
    fingerprints: &[String],
) -> Result<Vec<Package>, sqlx::Error> {
    let rows = sqlx::query(package_sql("where p.fingerprint = any($1) order by p.id"))
        .bind(fingerprints)
        .fetch_all(db)
        .await?;
    rows.iter().map(read_package).collect()
}

/// Makes the package's row without a source; returns the row that is there.
pub async fn ensure_package(
    db: &PgPool,
    release_id: i64,
    name: &str,
    version: &str,
    fingerprint: &str,
    dependencies: &[String],
) -> Result<Package, sqlx::Error> {
    sqlx::query(
        "insert into packages (release_id, name, version, fingerprint, dependencies) values ($1, $2, $3, $4, $5)
         on conflict (release_id, name, version) do nothing",
    )
    .bind(release_id)
    .bind(name)
    .bind(version)
    .bind(fingerprint)
    .bind(sqlx::types::Json(dependencies))
    .execute(db)
    .await?;
    let row = sqlx::query(package_sql(
        "where p.release_id = $1 and p.name = $2 and p.version = $3",
    ))
    .bind(release_id)
    .bind(name)
    .bind(version)
    .fetch_one(db)
    .await?;
    read_package(&row)
}

/// Records where the package's source is.
pub async fn set_package_source(
    db: impl PgExecutor<'_>,
    package_id: i64,
    blob_id: &str,
    sha1: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("update packages set blob_id = $2, sha1 = $3 where id = $1")
        .bind(package_id)
        .bind(blob_id)
        .bind(sha1)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn link_package(
    db: impl PgExecutor<'_>,
    version_id: i64,
    package_id: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into release_version_packages (release_version_id, package_id) values ($1, $2) on conflict do nothing",
    )
    .bind(version_id)
    .bind(package_id)
    .execute(db)
    .await?;
    Ok(())
}

/// Packages of these release versions that no other version has, in the order in which they came.
pub async fn packages_only_of(
    db: impl PgExecutor<'_>,
    version_ids: &[i64],
) -> Result<Vec<Package>, sqlx::Error> {
    let rows = sqlx::query(package_sql(
        "where exists (select 1 from release_version_packages l
                       where l.package_id = p.id and l.release_version_id = any($1))
           and not exists (select 1 from release_version_packages l
                           where l.package_id = p.id and l.release_version_id <> all($1))
         order by p.id",
    ))
    .bind(version_ids)
    .fetch_all(db)
    .await?;
    rows.iter().map(read_package).collect()
}

/// Blobs of what was compiled of a package.
pub async fn compiled_blobs_of(
    db: impl PgExecutor<'_>,
    package_id: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select blob_id from compiled_packages where package_id = $1 order by id")
        .bind(package_id)
        .fetch_all(db)
        .await
}

/// Forgets what was compiled of a package.
pub async fn delete_compiled_of(
    db: impl PgExecutor<'_>,
    package_id: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from compiled_packages where package_id = $1")
        .bind(package_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes the package with what was compiled of it.
pub async fn delete_package(db: impl PgExecutor<'_>, package_id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from packages where id = $1")
        .bind(package_id)
        .execute(db)
        .await?;
    Ok(())
}

// -- jobs

/// The jobs of a release version, by name.
pub async fn jobs_of(db: impl PgExecutor<'_>, version_id: i64) -> Result<Vec<Job>, sqlx::Error> {
    let rows = sqlx::query(job_sql(
        "join release_version_jobs l on l.job_id = j.id where l.release_version_id = $1 order by j.name",
    ))
    .bind(version_id)
    .fetch_all(db)
    .await?;
    rows.iter().map(read_job).collect()
}

/// `(release version id, job name)` of all versions, for the listing.
pub async fn all_job_names(db: impl PgExecutor<'_>) -> Result<Vec<(i64, String)>, sqlx::Error> {
    sqlx::query_as(
        "select l.release_version_id, j.name from release_version_jobs l join jobs j on j.id = l.job_id
         order by j.name",
    )
    .fetch_all(db)
    .await
}

/// The jobs of all versions of a release, in the order in which they came.
pub async fn jobs_of_release(
    db: impl PgExecutor<'_>,
    release_id: i64,
) -> Result<Vec<Job>, sqlx::Error> {
    let rows = sqlx::query(job_sql("where j.release_id = $1 order by j.id"))
        .bind(release_id)
        .fetch_all(db)
        .await?;
    rows.iter().map(read_job).collect()
}

/// One job of a release by its fingerprint.
pub async fn find_job(
    db: impl PgExecutor<'_>,
    release: &str,
    name: &str,
    fingerprint: &str,
) -> Result<Option<Job>, sqlx::Error> {
    let row = sqlx::query(job_sql(
        "join releases r on r.id = j.release_id where r.name = $1 and j.name = $2 and j.fingerprint = $3",
    ))
    .bind(release)
    .bind(name)
    .bind(fingerprint)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read_job).transpose()
}

/// Stores a job, replacing digest, blob and spec of one that is there.
pub async fn put_job(db: impl PgExecutor<'_>, job: &Job) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "insert into jobs (release_id, name, version, fingerprint, sha1, blob_id, spec)
         values ($1, $2, $3, $4, $5, $6, $7::json)
         on conflict (release_id, name, version) do update
         set sha1 = excluded.sha1, blob_id = excluded.blob_id, spec = excluded.spec
         returning id",
    )
    .bind(job.release_id)
    .bind(&job.name)
    .bind(&job.version)
    .bind(&job.fingerprint)
    .bind(&job.sha1)
    .bind(&job.blob_id)
    // As text: a binary JSON parameter would lose the order of keys on its way.
    .bind(job.spec.to_string())
    .fetch_one(db)
    .await
}

pub async fn link_job(
    db: impl PgExecutor<'_>,
    version_id: i64,
    job_id: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into release_version_jobs (release_version_id, job_id) values ($1, $2) on conflict do nothing",
    )
    .bind(version_id)
    .bind(job_id)
    .execute(db)
    .await?;
    Ok(())
}

/// Jobs of these release versions that no other version has, in the order in which they came.
pub async fn jobs_only_of(
    db: impl PgExecutor<'_>,
    version_ids: &[i64],
) -> Result<Vec<Job>, sqlx::Error> {
    let rows = sqlx::query(job_sql(
        "where exists (select 1 from release_version_jobs l
                       where l.job_id = j.id and l.release_version_id = any($1))
           and not exists (select 1 from release_version_jobs l
                           where l.job_id = j.id and l.release_version_id <> all($1))
         order by j.id",
    ))
    .bind(version_ids)
    .fetch_all(db)
    .await?;
    rows.iter().map(read_job).collect()
}

pub async fn delete_job(db: impl PgExecutor<'_>, job_id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from jobs where id = $1")
        .bind(job_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Records where a compiled package is after it was replaced.
pub async fn set_compiled_blob(
    db: impl PgExecutor<'_>,
    compiled_id: i64,
    blob_id: &str,
    sha1: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("update compiled_packages set blob_id = $2, sha1 = $3 where id = $1")
        .bind(compiled_id)
        .bind(blob_id)
        .bind(sha1)
        .execute(db)
        .await?;
    Ok(())
}
