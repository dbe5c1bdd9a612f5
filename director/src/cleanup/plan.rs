//! What a clean-up would delete.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::version::Version;
use manifest::yaml::{self, Value as Yaml};
use serde::{Deserialize, Serialize};

use crate::blobs::Kind;
use crate::configs::parse_config;
use crate::error::Error;
use crate::services::Services;
use crate::store::compiled_packages::Named;
use crate::store::orphans::{OrphanDiskRow, OrphanVmRow};
use crate::store::stemcells::Stemcell;
use crate::store::{self, compiled_packages, deployments, dns_blobs};
use crate::{releases, stemcells};

/// Newest unused versions that stay, unless everything shall go.
const KEPT: usize = 2;

/// DNS blobs that stay, and how long all of them do.
const DNS_KEPT: i64 = 10;
const DNS_AGE: TimeDelta = TimeDelta::hours(1);

/// What a caller wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Keep no unused version.
    pub remove_all: bool,
    /// With `remove_all`: orphaned disks stay.
    pub keep_orphaned_disks: bool,
}

/// All that would go, in the order of `GET /cleanup/dryrun`.
pub struct Plan {
    /// Name and versions, oldest first.
    pub releases: Vec<(String, Vec<String>)>,
    pub stemcells: Vec<Stemcell>,
    pub compiled_packages: Vec<Named>,
    pub orphaned_disks: Vec<OrphanDiskRow>,
    pub orphaned_vms: Vec<OrphanVmRow>,
    /// Blob ids.
    pub exported_releases: Vec<String>,
    /// Version and blob id.
    pub dns_blobs: Vec<(i64, String)>,
}

/// Looks at everything; changes nothing.
pub async fn plan(services: &Services, config: Config) -> Result<Plan, Error> {
    let store = &services.store;
    let stemcells = stemcells(services, config).await?;
    let disks = config.remove_all && !config.keep_orphaned_disks;
    Ok(Plan {
        releases: releases(services, config).await?,
        compiled_packages: match config.remove_all {
            true => compiled_packages(services, &stemcells).await?,
            false => Vec::new(),
        },
        stemcells,
        orphaned_disks: match disks {
            true => store.orphan_disks().await?,
            false => Vec::new(),
        },
        orphaned_vms: store.orphan_vms().await?,
        exported_releases: store::blobs::list_of_kind(store.pool(), Kind::ExportedRelease.name())
            .await?,
        dns_blobs: expired_dns_blobs(services, config.remove_all).await?.1,
    })
}

fn kept(config: Config) -> usize {
    if config.remove_all { 0 } else { KEPT }
}

/// Versions that no deployment uses and no runtime config names, but the newest.
async fn releases(
    services: &Services,
    config: Config,
) -> Result<Vec<(String, Vec<String>)>, Error> {
    let named = named_in_runtime_configs(services).await?;
    let mut unused = Vec::new();
    for (name, versions) in releases::unused(services).await? {
        let mut versions: Vec<String> = versions
            .into_iter()
            .filter(|version| !named.contains(&(name.clone(), version.clone())))
            .collect();
        versions.truncate(versions.len().saturating_sub(kept(config)));
        if !versions.is_empty() {
            unused.push((name, versions));
        }
    }
    Ok(unused)
}

/// Release and version of all current runtime configs. One that can't be read names none.
async fn named_in_runtime_configs(
    services: &Services,
) -> Result<BTreeSet<(String, String)>, Error> {
    let mut named = BTreeSet::new();
    let configs = services.store.list_configs(Some("runtime"), None, Some(1));
    for config in configs.await? {
        let Ok(document) = parse_config(&config.content) else {
            continue;
        };
        let releases = document.get("releases").and_then(Yaml::as_sequence);
        for release in releases.into_iter().flatten() {
            let text = |key: &str| release.get(key).and_then(yaml::scalar_text);
            let (Some(name), Some(version)) = (text("name"), text("version")) else {
                continue;
            };
            match releases::find_version(services, &name, &version).await {
                Ok(found) => {
                    named.insert((name, found.version));
                }
                Err(error) if error.status.is_client_error() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(named)
}

/// Those that no deployment uses, but the newest of each name.
async fn stemcells(services: &Services, config: Config) -> Result<Vec<Stemcell>, Error> {
    let mut by_name: BTreeMap<String, Vec<Stemcell>> = BTreeMap::new();
    for row in stemcells::unused(services).await? {
        by_name.entry(row.name.clone()).or_default().push(row);
    }
    let mut unused = Vec::new();
    for (_, mut rows) in by_name {
        rows.sort_by_cached_key(|row| Version::parse(&row.version).ok());
        rows.truncate(rows.len().saturating_sub(kept(config)));
        unused.extend(rows);
    }
    Ok(unused)
}

/// Those that no stemcell which stays can use: same OS, same first component of the version.
async fn compiled_packages(services: &Services, leaving: &[Stemcell]) -> Result<Vec<Named>, Error> {
    let db = services.store.pool();
    let mut staying = store::stemcells::list(db).await?;
    staying.retain(|row| leaving.iter().all(|other| other.id != row.id));
    let line = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
    let mut all = compiled_packages::list_all(db).await?;
    all.retain(|package| {
        !staying.iter().any(|stemcell| {
            stemcell.operating_system == package.stemcell_os
                && line(&stemcell.version) == line(&package.stemcell_version)
        })
    });
    Ok(all)
}

/// DNS blobs that may go, and the moment before which they were made.
pub async fn expired_dns_blobs(
    services: &Services,
    remove_all: bool,
) -> Result<(DateTime<Utc>, Vec<(i64, String)>), Error> {
    let db = services.store.pool();
    let (age, keep) = match remove_all {
        false => (DNS_AGE, DNS_KEPT),
        true if deployments::list(db).await?.is_empty() => (TimeDelta::zero(), 0),
        true => (TimeDelta::zero(), 1),
    };
    let cutoff = Utc::now() - age;
    Ok((cutoff, dns_blobs::expired(db, cutoff, keep).await?))
}
