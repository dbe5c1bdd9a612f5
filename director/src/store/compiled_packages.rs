//! Compiled packages: shared by all deployments, found by package, stemcell and dependency key
//! (docs/spec/manifests-and-planning.md §6).

use sqlx::{PgExecutor, Row, postgres::PgRow};

/// One row of `compiled_packages`, with what names the package.
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledPackage {
    pub id: i64,
    pub package_id: i64,
    pub stemcell_os: String,
    pub stemcell_version: String,
    pub dependency_key: String,
    /// Grows per (package, stemcell); agents see `<fingerprint>.<build>`.
    pub build: i64,
    pub blob_id: String,
    pub sha1: String,
}

fn read(row: &PgRow) -> Result<CompiledPackage, sqlx::Error> {
    Ok(CompiledPackage {
        id: row.try_get("id")?,
        package_id: row.try_get("package_id")?,
        stemcell_os: row.try_get("stemcell_os")?,
        stemcell_version: row.try_get("stemcell_version")?,
        dependency_key: row.try_get("dependency_key")?,
        build: row.try_get("build")?,
        blob_id: row.try_get("blob_id")?,
        sha1: row.try_get("sha1")?,
    })
}

const COLUMNS: &str =
    "id, package_id, stemcell_os, stemcell_version, dependency_key, build, blob_id, sha1";

/// What is compiled of the given packages, for any stemcell.
pub async fn list_of_packages(
    db: impl PgExecutor<'_>,
    package_ids: &[i64],
) -> Result<Vec<CompiledPackage>, sqlx::Error> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from compiled_packages where package_id = any($1) order by id"
    )))
    .bind(package_ids)
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

pub async fn find(
    db: impl PgExecutor<'_>,
    package_id: i64,
    stemcell_os: &str,
    stemcell_version: &str,
    dependency_key: &str,
) -> Result<Option<CompiledPackage>, sqlx::Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from compiled_packages
         where package_id = $1 and stemcell_os = $2 and stemcell_version = $3 and dependency_key_sha1 = $4"
    )))
    .bind(package_id)
    .bind(stemcell_os)
    .bind(stemcell_version)
    .bind(key_sha1(dependency_key))
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

/// What a package of this name and fingerprint was compiled to, in whichever release; the newest.
pub async fn of_name(
    db: impl PgExecutor<'_>,
    name: &str,
    fingerprint: &str,
    stemcell_os: &str,
    stemcell_version: &str,
    dependency_key: &str,
) -> Result<Option<CompiledPackage>, sqlx::Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from compiled_packages
         where package_id in (select id from packages where name = $1 and fingerprint = $2)
           and stemcell_os = $3 and stemcell_version = $4 and dependency_key_sha1 = $5
         order by id desc limit 1"
    )))
    .bind(name)
    .bind(fingerprint)
    .bind(stemcell_os)
    .bind(stemcell_version)
    .bind(key_sha1(dependency_key))
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The build number the next compiled version of this package on this stemcell gets.
pub async fn next_build(
    db: impl PgExecutor<'_>,
    package_id: i64,
    stemcell_os: &str,
    stemcell_version: &str,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select coalesce(max(build), 0) + 1 from compiled_packages
         where package_id = $1 and stemcell_os = $2 and stemcell_version = $3",
    )
    .bind(package_id)
    .bind(stemcell_os)
    .bind(stemcell_version)
    .fetch_one(db)
    .await
}

/// Records a compiled package. When another task was faster its row wins and is returned.
pub async fn insert(
    db: &sqlx::PgPool,
    new: &CompiledPackage,
) -> Result<CompiledPackage, sqlx::Error> {
    sqlx::query(
        "insert into compiled_packages (package_id, stemcell_os, stemcell_version, dependency_key,
                                        dependency_key_sha1, build, blob_id, sha1)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (package_id, stemcell_os, stemcell_version, dependency_key_sha1) do nothing",
    )
    .bind(new.package_id)
    .bind(&new.stemcell_os)
    .bind(&new.stemcell_version)
    .bind(&new.dependency_key)
    .bind(key_sha1(&new.dependency_key))
    .bind(new.build)
    .bind(&new.blob_id)
    .bind(&new.sha1)
    .execute(db)
    .await?;
    find(
        db,
        new.package_id,
        &new.stemcell_os,
        &new.stemcell_version,
        &new.dependency_key,
    )
    .await?
    .ok_or(sqlx::Error::RowNotFound)
}

fn key_sha1(key: &str) -> String {
    domain::Digest::sha1(key).hex().to_owned()
}

/// The row of an uploaded source package.
pub async fn package_id(
    db: impl PgExecutor<'_>,
    name: &str,
    fingerprint: &str,
    source_blob: &str,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select id from packages where name = $1 and fingerprint = $2
         order by (blob_id is not distinct from $3) desc, id limit 1",
    )
    .bind(name)
    .bind(fingerprint)
    .bind(source_blob)
    .fetch_optional(db)
    .await
}

/// One of all compiled packages, for a clean-up.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Named {
    pub id: i64,
    pub name: String,
    pub stemcell_os: String,
    pub stemcell_version: String,
    pub blob_id: String,
}

/// Whatever is compiled, of any release and for any stemcell, oldest first.
pub async fn list_all(db: impl PgExecutor<'_>) -> Result<Vec<Named>, sqlx::Error> {
    sqlx::query_as(
        "select c.id, p.name, c.stemcell_os, c.stemcell_version, c.blob_id
         from compiled_packages c join packages p on p.id = c.package_id order by c.id",
    )
    .fetch_all(db)
    .await
}

/// One whose blob is gone.
pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from compiled_packages where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}
