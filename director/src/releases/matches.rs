//! `POST /packages/matches` and `/packages/matches_compiled`: what a client need not send again
//! (director-api.md §8).

use std::collections::BTreeSet;

use release_archive::ReleaseManifest;

use super::compiled::{Compiled, dependency_key, stemcell_of};
use super::spellings;
use crate::error::{Error, code};
use crate::services::Services;
use crate::store::compiled_packages;
use crate::store::releases as rows;

fn unusable() -> Error {
    Error::new(
        code::BAD_MANIFEST,
        "Manifest doesn't have a usable packages section",
    )
}

fn parse(text: &str) -> Result<ReleaseManifest, Error> {
    ReleaseManifest::parse_for_director(text).map_err(|problem| unusable().caused_by(problem))
}

/// An upload of the same version that never completed may have left anything: everything shall be sent again.
async fn left_incomplete(services: &Services, manifest: &ReleaseManifest) -> Result<bool, Error> {
    let db = services.store.pool();
    let version = rows::find_version(db, &manifest.name, &spellings(&manifest.version)).await?;
    Ok(version.is_some_and(|version| !version.update_completed))
}

/// Fingerprints of the manifest's packages whose source is here.
pub async fn matches(services: &Services, text: &str) -> Result<Vec<String>, Error> {
    let manifest = parse(text)?;
    if !manifest.has_packages {
        return Err(unusable());
    }
    if left_incomplete(services, &manifest).await? {
        return Ok(Vec::new());
    }
    let asked: Vec<String> = manifest
        .packages
        .iter()
        .map(|package| package.fingerprint.clone())
        .collect();
    let stored: BTreeSet<String> = rows::packages_with_fingerprints(services.store.pool(), &asked)
        .await?
        .into_iter()
        .filter(|package| package.blob_id.is_some())
        .map(|package| package.fingerprint)
        .collect();
    Ok(unique(asked)
        .into_iter()
        .filter(|fingerprint| stored.contains(fingerprint))
        .collect())
}

/// Fingerprints whose every package in the manifest is here, compiled for its stemcell with the same dependencies.
pub async fn matches_compiled(services: &Services, text: &str) -> Result<Vec<String>, Error> {
    let manifest = parse(text)?;
    let Some(compiled) = &manifest.compiled_packages else {
        return Err(unusable());
    };
    if left_incomplete(services, &manifest).await? {
        return Ok(Vec::new());
    }
    let db = services.store.pool();
    let asked: Vec<String> = compiled
        .iter()
        .map(|one| one.package.fingerprint.clone())
        .collect();
    let packages = rows::packages_with_fingerprints(db, &asked).await?;
    let ids: Vec<i64> = packages.iter().map(|package| package.id).collect();
    let known = compiled_packages::list_of_packages(db, &ids).await?;
    let nodes: Vec<_> = compiled.iter().map(Compiled::of).collect();
    let is_here = |one: &Compiled| {
        let (os, version) = stemcell_of(&one.stemcell);
        let key = dependency_key(&nodes, &one.name);
        packages
            .iter()
            .filter(|package| package.name == one.name && package.fingerprint == one.version)
            .any(|package| {
                known.iter().any(|row| {
                    row.package_id == package.id
                        && row.stemcell_os == os
                        && row.stemcell_version == version
                        && row.dependency_key == key
                })
            })
    };
    let here = |fingerprint: &String| {
        nodes
            .iter()
            .filter(|one| one.version == *fingerprint)
            .all(&is_here)
    };
    Ok(unique(asked).into_iter().filter(here).collect())
}

fn unique(texts: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts
        .into_iter()
        .filter(|text| seen.insert(text.clone()))
        .collect()
}
