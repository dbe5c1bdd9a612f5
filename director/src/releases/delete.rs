//! The task `delete_release`: refuses what is in use, then packages, jobs, versions
//! (releases-and-templates.md §12.3).

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::{find, find_version};
use crate::blobs;
use crate::error::{Error, code};
use crate::store::releases::{self as rows, Release, ReleaseVersion};
use crate::tasks::{Context, Handler};

/// Arguments of the task.
#[derive(Deserialize)]
struct DeleteArgs {
    name: String,
    /// Absent: all versions.
    version: Option<String>,
    /// Pass over blobs that can't be deleted.
    #[serde(default)]
    force: bool,
}

/// Handler of `delete_release`.
pub struct Delete;

#[async_trait]
impl Handler for Delete {
    async fn run(&self, context: &Context) -> Result<String, Error> {
        let args: DeleteArgs = context.args()?;
        let lock = context
            .lock(
                &format!("lock:release:{}", args.name),
                Duration::from_secs(10),
            )
            .await?;
        let ended = delete(context, &args).await;
        let released = lock.release().await;
        ended?;
        released?;
        Ok(format!("/release/{}", args.name))
    }
}

/// Deletes one version, as a clean-up does. The caller holds the release's lock: refused when it is in use meanwhile.
pub async fn delete_version(context: &Context, name: &str, version: &str) -> Result<(), Error> {
    let args = DeleteArgs {
        name: name.to_owned(),
        version: Some(version.to_owned()),
        force: false,
    };
    delete(context, &args).await
}

async fn delete(context: &Context, args: &DeleteArgs) -> Result<(), Error> {
    let services = &context.services;
    let db = services.store.pool();
    let release = find(services, &args.name).await?;
    let versions = match &args.version {
        Some(version) => vec![find_version(services, &args.name, version).await?],
        None => rows::versions_of(db, release.id).await?,
    };
    refuse_used(context, args, &versions).await?;
    delete_versions(context, args, &release, &versions).await
}

async fn refuse_used(
    context: &Context,
    args: &DeleteArgs,
    versions: &[ReleaseVersion],
) -> Result<(), Error> {
    let ids: Vec<i64> = versions.iter().map(|version| version.id).collect();
    let mut users: Vec<String> = Vec::new();
    for (version, deployment) in rows::all_uses(context.services.store.pool()).await? {
        if ids.contains(&version) && !users.contains(&deployment) {
            users.push(deployment);
        }
    }
    if users.is_empty() {
        return Ok(());
    }
    let users = users.join(", ");
    Err(match (&args.version, versions) {
        (Some(_), [version]) => Error::new(
            code::RELEASE_VERSION_IN_USE,
            format!(
                "ReleaseVersion '{}/{}' is still in use by: {users}",
                args.name, version.version
            ),
        ),
        _ => Error::new(
            code::RELEASE_IN_USE,
            format!("Release '{}' is still in use by: {users}", args.name),
        ),
    })
}

/// What only these versions have goes first, the versions themselves last: a repeated task finds what is left.
async fn delete_versions(
    context: &Context,
    args: &DeleteArgs,
    release: &Release,
    versions: &[ReleaseVersion],
) -> Result<(), Error> {
    let services = &context.services;
    let db = services.store.pool();
    let ids: Vec<i64> = versions.iter().map(|version| version.id).collect();

    let packages = rows::packages_only_of(db, &ids).await?;
    let stage = context
        .events
        .stage("Deleting packages", &[], packages.len() as u64);
    for package in packages {
        let all = async {
            for blob in rows::compiled_blobs_of(db, package.id).await? {
                blobs::delete(services, &blob, args.force).await?;
            }
            if let Some(blob) = &package.blob_id {
                blobs::delete(services, blob, args.force).await?;
            }
            Ok(rows::delete_package(db, package.id).await?)
        };
        stage
            .run(format!("{}/{}", package.name, package.version), all)
            .await?;
    }
    let jobs = rows::jobs_only_of(db, &ids).await?;
    let stage = context
        .events
        .stage("Deleting jobs", &[], jobs.len() as u64);
    for job in jobs {
        let all = async {
            blobs::delete(services, &job.blob_id, args.force).await?;
            Ok(rows::delete_job(db, job.id).await?)
        };
        stage
            .run(format!("{}/{}", job.name, job.version), all)
            .await?;
    }
    // compat: shown only when the whole release goes.
    let stage = args.version.is_none().then(|| {
        context
            .events
            .stage("Deleting release versions", &[], versions.len() as u64)
    });
    for version in versions {
        let gone = async { Ok(rows::delete_version(db, version.id).await?) };
        match &stage {
            Some(stage) => {
                stage
                    .run(format!("{}/{}", release.name, version.version), gone)
                    .await?
            }
            None => gone.await?,
        }
    }
    Ok(rows::delete_if_empty(db, release.id).await?)
}
