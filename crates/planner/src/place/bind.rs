//! From names in documents to what is uploaded: releases and stemcells (§2.1).

use std::collections::BTreeMap;

use domain::{CpiName, ReleaseName, ReleaseVersion};
use manifest::documents::{OsVersion, Problem, Problems, ReleaseEntry, StemcellEntry, inspect};
use serde_json::json;

use crate::catalogue::{Catalogue, Release, Stemcell};
use crate::resolve::{UPLOAD_STEMCELL, missing_release, missing_release_version};
use crate::spec::StemcellRef;

/// The releases in use, by name: the manifest's and those that applied runtime configs add.
#[derive(Debug, Default)]
pub(super) struct BoundReleases<'a> {
    by_name: BTreeMap<ReleaseName, BoundRelease<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct BoundRelease<'a> {
    pub release: &'a Release,
    /// As the document writes it: what conflicts are compared by.
    pub version: &'a str,
    pub exported_from: &'a [OsVersion],
}

impl<'a> BoundReleases<'a> {
    pub fn get(&self, name: &ReleaseName) -> Option<BoundRelease<'a>> {
        self.by_name.get(name).copied()
    }

    /// Binds the manifest's releases.
    pub fn of_manifest(
        entries: &'a [ReleaseEntry],
        catalogue: &'a Catalogue,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut releases = BoundReleases::default();
        for entry in entries {
            if let Some(bound) = problems.take(bind_release(entry, catalogue)) {
                releases.by_name.insert(entry.name.clone(), bound);
            }
        }
        problems.or(releases)
    }

    /// Adds a release of a runtime config of which an addon applies.
    pub fn add_runtime(
        &mut self,
        entry: &'a ReleaseEntry,
        catalogue: &'a Catalogue,
    ) -> Result<(), Problem> {
        if let Some(bound) = self.get(&entry.name) {
            if bound.version == entry.version {
                return Ok(());
            }
            return Err(Problem::new(
                530003,
                format!(
                    "Runtime manifest specifies release '{}' with version as '{}'. This conflicts with version '{}' \
                     specified in the deployment manifest.",
                    entry.name, entry.version, bound.version
                ),
            )
            .hint("Use the same version in both, or exclude this deployment from the addon"));
        }
        self.by_name
            .insert(entry.name.clone(), bind_release(entry, catalogue)?);
        Ok(())
    }
}

fn bind_release<'a>(
    entry: &'a ReleaseEntry,
    catalogue: &'a Catalogue,
) -> Result<BoundRelease<'a>, Problem> {
    let wanted = ReleaseVersion::parse(&entry.version)
        .map_err(|_| Problem::new(30010, format!("Release version invalid: {}", entry.version)))?;
    let same = |version: &str| {
        version == entry.version || ReleaseVersion::parse(version).is_ok_and(|v| v == wanted)
    };
    let found = catalogue
        .releases
        .iter()
        .find(|r| r.name == entry.name && same(&r.version));
    match found {
        Some(release) => Ok(BoundRelease {
            release,
            version: &entry.version,
            exported_from: &entry.exported_from,
        }),
        None => {
            let known = catalogue.release_versions.get(&entry.name);
            let loaded = catalogue.releases.iter().any(|r| r.name == entry.name);
            match known.filter(|k| !k.is_empty()) {
                Some(known) => Err(missing_release_version(
                    entry.name.as_str(),
                    &entry.version,
                    known,
                )),
                None if loaded => Err(missing_release_version(
                    entry.name.as_str(),
                    &entry.version,
                    &[],
                )),
                None => Err(missing_release(entry.name.as_str())),
            }
        }
    }
}

/// A stemcell of the manifest with all its rows, one per CPI.
#[derive(Debug, Clone)]
pub(crate) struct BoundStemcell<'a> {
    pub reference: StemcellRef,
    rows: Vec<&'a Stemcell>,
}

impl<'a> BoundStemcell<'a> {
    /// The row for the CPI of an AZ (empty: the director's own).
    pub fn row(&self, cpi: &CpiName) -> Result<&'a Stemcell, Problem> {
        self.rows
            .iter()
            .find(|s| s.cpi == *cpi)
            .copied()
            .ok_or_else(|| {
                let wanted = inspect(&json!({
                    "name": self.reference.name,
                    "version": self.reference.version,
                }));
                let which = if cpi.as_str().is_empty() {
                    "default cpi".to_string()
                } else {
                    format!("cpi {cpi}")
                };
                Problem::new(
                    50003,
                    format!(
                        "Required stemcell {wanted} not found for {which}, please upload again"
                    ),
                )
            })
    }
}

/// Binds the manifest's stemcells, by alias.
pub(super) fn bind_stemcells<'a>(
    entries: &'a [StemcellEntry],
    catalogue: &'a Catalogue,
) -> Result<BTreeMap<&'a str, BoundStemcell<'a>>, Problems> {
    let mut problems = Problems::default();
    let mut bound = BTreeMap::new();
    for entry in entries {
        if let Some(stemcell) = problems.take(bind_stemcell(entry, catalogue)) {
            bound.insert(entry.alias.as_str(), stemcell);
        }
    }
    problems.or(bound)
}

fn bind_stemcell<'a>(
    entry: &'a StemcellEntry,
    catalogue: &'a Catalogue,
) -> Result<BoundStemcell<'a>, Problem> {
    let matches = |s: &&Stemcell| match (&entry.name, &entry.os) {
        (Some(name), _) => s.name == *name && s.version == entry.version,
        (None, os) => Some(&s.os) == os.as_ref() && s.version == entry.version,
    };
    let mut rows: Vec<&Stemcell> = catalogue.stemcells.iter().filter(matches).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name).then(a.cpi.cmp(&b.cpi)));
    // With an OS several stemcells may fit: the first by name is taken as the one meant.
    let Some(first) = rows.first().copied() else {
        let text = match (&entry.name, &entry.os) {
            (Some(name), _) => format!("Stemcell '{name}/{}' doesn't exist", entry.version),
            (None, os) => format!(
                "Stemcell version '{}' for OS '{}' doesn't exist",
                entry.version,
                os.as_deref().unwrap_or_default()
            ),
        };
        return Err(Problem::new(50003, text).hint(UPLOAD_STEMCELL));
    };
    Ok(BoundStemcell {
        reference: StemcellRef {
            name: first.name.clone(),
            version: first.version.clone(),
            os: first.os.clone(),
        },
        rows,
    })
}
