//! Addons and their filters (§1.10).

use domain::{AzName, DeploymentName, InstanceGroupName, JobName, NetworkName, ReleaseName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Job, Lifecycle};

/// Where an addon is declared; the words in its error texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddonLevel {
    Runtime,
    Deployment,
}

/// One addon. The planner decides which groups get its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Addon {
    pub name: String,
    pub level: AddonLevel,
    pub jobs: Vec<Job>,
    pub properties: Map<String, Json>,
    pub include: Filter,
    pub exclude: Filter,
}

/// `include` or `exclude`: matches when every non-empty list does. An empty `include` matches everything, an
/// empty `exclude` nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Filter {
    pub stemcell_os: Vec<String>,
    pub deployments: Vec<DeploymentName>,
    pub jobs: Vec<FilterJob>,
    pub instance_groups: Vec<InstanceGroupName>,
    pub networks: Vec<NetworkName>,
    pub teams: Vec<String>,
    pub azs: Vec<AzName>,
    pub lifecycle: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterJob {
    pub name: JobName,
    pub release: ReleaseName,
}
