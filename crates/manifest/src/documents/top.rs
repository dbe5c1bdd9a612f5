//! The top level of a deployment manifest (§1.2 - §1.4).

use domain::{DeploymentName, ReleaseName, StemcellName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Addon, Features, InstanceGroup, UpdateConfig, Variable};

/// A deployment manifest, read against a cloud config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentManifest {
    pub name: DeploymentName,
    pub releases: Vec<ReleaseEntry>,
    pub stemcells: Vec<StemcellEntry>,
    pub update: UpdateConfig,
    pub instance_groups: Vec<InstanceGroup>,
    pub addons: Vec<Addon>,
    pub variables: Vec<Variable>,
    pub features: Features,
    /// The manifest's own; the runtime configs' lie below them.
    pub tags: Map<String, Json>,
    /// Deprecation messages for the event log.
    pub deprecations: Vec<String>,
}

/// One entry of `releases`. `version` is a text as written: `latest` is resolved by the planner's helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseEntry {
    pub name: ReleaseName,
    pub version: String,
    pub exported_from: Vec<OsVersion>,
}

/// A stemcell by operating system and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OsVersion {
    pub os: String,
    pub version: String,
}

/// One entry of `stemcells`. When both `os` and `name` are given, `name` counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemcellEntry {
    pub alias: String,
    pub os: Option<String>,
    pub name: Option<StemcellName>,
    pub version: String,
}
