//! What is uploaded: releases, stemcells, compiled packages. Loaded by the director for the releases and
//! stemcells that the manifest names (after `latest` was resolved).

use std::collections::BTreeMap;

use domain::{BlobId, CpiName, JobName, PackageName, ReleaseName, StemcellCid, StemcellName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// Everything uploaded that this plan may use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// The release versions that the documents name (or more of them).
    pub releases: Vec<Release>,
    /// The versions there are of every release, for telling a missing version from a missing release.
    pub release_versions: BTreeMap<ReleaseName, Vec<String>>,
    /// One row per stemcell and CPI.
    pub stemcells: Vec<Stemcell>,
    pub compiled: Vec<CompiledPackage>,
}

/// One version of a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    pub name: ReleaseName,
    pub version: String,
    pub jobs: BTreeMap<JobName, JobSpec>,
    pub packages: PackageGraph,
}

/// The packages of one release version, with their dependencies.
pub type PackageGraph = BTreeMap<PackageName, PackageSpec>;

/// A job as its `job.MF` has it (releases-and-templates §4).
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    pub name: JobName,
    /// What the wire calls the job's `version`.
    pub fingerprint: String,
    pub sha1: String,
    pub blob_id: BlobId,
    /// Source to target, in spec order.
    pub templates: Vec<(String, String)>,
    pub packages: Vec<PackageName>,
    /// Dotted name to default (null when there is none), in spec order.
    pub properties: Vec<(String, Json)>,
    pub provides: Vec<LinkSpec>,
    pub consumes: Vec<LinkSpec>,
    pub logs: Json,
}

/// One entry of `provides` or `consumes` of a job spec (§3.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Dotted names; providers only.
    #[serde(default)]
    pub properties: Vec<String>,
    /// Consumers only.
    #[serde(default)]
    pub optional: bool,
}

impl JobSpec {
    /// Reads a stored `job.MF`. Faults in it were refused at upload; here what is malformed counts as absent.
    pub fn from_manifest(
        name: JobName,
        fingerprint: impl Into<String>,
        sha1: impl Into<String>,
        blob_id: BlobId,
        spec: &Json,
    ) -> Self {
        let map = |key: &str| spec.get(key).and_then(Json::as_object);
        let links = |key: &str| -> Vec<LinkSpec> {
            let items = spec.get(key).and_then(Json::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(|item| serde_json::from_value(item.clone()).ok())
                .collect()
        };
        JobSpec {
            name,
            fingerprint: fingerprint.into(),
            sha1: sha1.into(),
            blob_id,
            templates: map("templates")
                .into_iter()
                .flatten()
                .filter_map(|(from, to)| Some((from.clone(), to.as_str()?.to_string())))
                .collect(),
            packages: spec
                .get("packages")
                .and_then(Json::as_array)
                .into_iter()
                .flatten()
                .filter_map(|p| p.as_str().map(PackageName::new))
                .collect(),
            properties: map("properties")
                .into_iter()
                .flatten()
                .map(|(name, definition)| {
                    (
                        name.clone(),
                        definition.get("default").cloned().unwrap_or(Json::Null),
                    )
                })
                .collect(),
            provides: links("provides"),
            consumes: links("consumes"),
            logs: spec
                .get("logs")
                .cloned()
                .unwrap_or_else(|| Json::Array(Vec::new())),
        }
    }

    /// Whether the job can be run as an errand: it has a `bin/run` template.
    pub fn is_errand(&self) -> bool {
        self.templates
            .iter()
            .any(|(_, to)| to == "bin/run" || to == "bin/run.ps1")
    }
}

/// A package of a release version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSpec {
    pub name: PackageName,
    pub fingerprint: String,
    /// The source archive; `None` in a compiled release.
    pub source: Option<PackageSource>,
    /// Direct ones.
    pub dependencies: Vec<PackageName>,
}

/// The source archive of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSource {
    pub blob_id: BlobId,
    pub sha1: String,
}

/// A stemcell row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stemcell {
    pub name: StemcellName,
    pub version: String,
    pub os: String,
    pub cid: StemcellCid,
    /// Empty: the director's own CPI.
    pub cpi: CpiName,
    pub api_version: u32,
}

/// A compiled package row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledPackage {
    pub name: PackageName,
    /// The source package's fingerprint.
    pub fingerprint: String,
    pub stemcell_os: String,
    pub stemcell_version: String,
    /// The JSON text of §6.
    pub dependency_key: String,
    pub build: u32,
    pub blob_id: BlobId,
    pub sha1: String,
}

/// A `Map` of properties, cloud properties, tags.
pub type Hash = Map<String, Json>;
