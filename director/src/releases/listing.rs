//! `GET /releases` and its relatives, as the original answers them.

use std::collections::{BTreeMap, BTreeSet};

use domain::version::Version;
use serde_json::{Value, json};

use super::{find, find_version};
use crate::error::Error;
use crate::services::Services;
use crate::store::compiled_packages;
use crate::store::releases::{self as rows, Job, Package, ReleaseVersion};

/// `GET /releases`: by name, versions in their order.
pub async fn list(services: &Services) -> Result<Value, Error> {
    let db = services.store.pool();
    let deployed: BTreeSet<i64> = rows::all_uses(db)
        .await?
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let mut job_names: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (version, name) in rows::all_job_names(db).await? {
        job_names.entry(version).or_default().push(name);
    }
    let mut releases: BTreeMap<String, Vec<ReleaseVersion>> = BTreeMap::new();
    for version in rows::list_versions(db).await? {
        releases
            .entry(version.name.clone())
            .or_default()
            .push(version);
    }
    let version_json = |version: &ReleaseVersion| {
        json!({
            "version": version.version,
            "commit_hash": version.commit_hash,
            "uncommitted_changes": version.uncommitted_changes,
            "currently_deployed": deployed.contains(&version.id),
            "job_names": job_names.get(&version.id).cloned().unwrap_or_default(),
        })
    };
    let releases: Vec<Value> = releases
        .into_iter()
        .map(|(name, mut versions)| {
            sort(&mut versions);
            let versions: Vec<Value> = versions.iter().map(version_json).collect();
            json!({"name": name, "release_versions": versions})
        })
        .collect();
    Ok(Value::Array(releases))
}

/// Versions that no deployment uses, by release, oldest first.
pub async fn unused(services: &Services) -> Result<Vec<(String, Vec<String>)>, Error> {
    let db = services.store.pool();
    let deployed: BTreeSet<i64> = rows::all_uses(db)
        .await?
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let mut releases: BTreeMap<String, Vec<ReleaseVersion>> = BTreeMap::new();
    for version in rows::list_versions(db).await? {
        if !deployed.contains(&version.id) {
            releases
                .entry(version.name.clone())
                .or_default()
                .push(version);
        }
    }
    let texts = releases.into_iter().map(|(name, mut versions)| {
        sort(&mut versions);
        let versions = versions.into_iter().map(|version| version.version);
        (name, versions.collect())
    });
    Ok(texts.collect())
}

/// By semi-semantic order; rows whose text is no version come first.
fn sort(versions: &mut [ReleaseVersion]) {
    versions.sort_by(|a, b| {
        let parsed = |row: &ReleaseVersion| Version::parse(&row.version).ok();
        parsed(a)
            .cmp(&parsed(b))
            .then_with(|| a.version.cmp(&b.version))
    });
}

/// `GET /releases/<name>?version=<version>`.
pub async fn inspect(services: &Services, name: &str, version: &str) -> Result<Value, Error> {
    let db = services.store.pool();
    let version = find_version(services, name, version).await?;
    let packages = rows::packages_of(db, version.id).await?;
    let ids: Vec<i64> = packages.iter().map(|package| package.id).collect();
    let compiled = compiled_packages::list_of_packages(db, &ids).await?;
    let jobs = rows::jobs_of(db, version.id).await?;
    let package_json = |package: &Package| {
        let compiled: Vec<Value> = compiled
            .iter()
            .filter(|compiled| compiled.package_id == package.id)
            .map(|compiled| {
                json!({
                    "stemcell": format!("{}/{}", compiled.stemcell_os, compiled.stemcell_version),
                    "sha1": compiled.sha1,
                    "blobstore_id": compiled.blob_id,
                })
            })
            .collect();
        json!({
            "name": package.name,
            "blobstore_id": package.blob_id,
            "sha1": package.sha1,
            "fingerprint": package.fingerprint,
            "compiled_packages": compiled,
        })
    };
    Ok(json!({
        "jobs": jobs.iter().map(job_json).collect::<Vec<_>>(),
        "packages": packages.iter().map(package_json).collect::<Vec<_>>(),
    }))
}

fn job_json(job: &Job) -> Value {
    let list = |key: &str| {
        job.spec
            .get(key)
            .filter(|value| !value.is_null())
            .cloned()
            .unwrap_or_else(|| json!([]))
    };
    json!({
        "name": job.name,
        "blobstore_id": job.blob_id,
        "sha1": job.sha1,
        "fingerprint": job.fingerprint,
        "consumes": list("consumes"),
        "provides": list("provides"),
    })
}

/// `GET /releases/<name>` without a version: what all versions have.
pub async fn summary(services: &Services, name: &str) -> Result<Value, Error> {
    let db = services.store.pool();
    let release = find(services, name).await?;
    let packages: Vec<Value> = rows::packages_of_release(db, release.id)
        .await?
        .into_iter()
        .map(|package| {
            json!({
                "name": package.name,
                "sha1": package.sha1,
                "version": package.version,
                "dependencies": package.dependencies,
            })
        })
        .collect();
    let jobs: Vec<Value> = rows::jobs_of_release(db, release.id)
        .await?
        .into_iter()
        .map(|job| {
            let packages = job.spec.get("packages").filter(|value| value.is_array());
            json!({
                "name": job.name,
                "sha1": job.sha1,
                "version": job.version,
                "packages": packages.cloned().unwrap_or_else(|| json!([])),
            })
        })
        .collect();
    let mut versions = rows::versions_of(db, release.id).await?;
    sort(&mut versions);
    let versions: Vec<String> = versions
        .into_iter()
        .map(|version| version.version)
        .collect();
    Ok(json!({"packages": packages, "jobs": jobs, "versions": versions}))
}

/// `GET /jobs?name=…&release_name=…&fingerprint=…`: the job's spec, if there is one.
pub async fn find_job(
    services: &Services,
    release: &str,
    name: &str,
    fingerprint: &str,
) -> Result<Option<Value>, Error> {
    let job = rows::find_job(services.store.pool(), release, name, fingerprint).await?;
    Ok(job.map(|job| json!({"name": job.name, "fingerprint": job.fingerprint, "spec": job.spec})))
}
