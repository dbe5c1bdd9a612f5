//! Cloud configs (§1.8).

use domain::{AzName, CpiName, DiskTypeName, VmTypeName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{CompilationConfig, Network};

/// All cloud configs of a deployment, merged. `cloud_properties` may hold `((references))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudConfig {
    pub azs: Vec<Az>,
    pub vm_types: Vec<VmType>,
    pub vm_extensions: Vec<VmExtension>,
    pub disk_types: Vec<DiskType>,
    pub networks: Vec<Network>,
    pub compilation: CompilationConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Az {
    pub name: AzName,
    pub cloud_properties: Map<String, Json>,
    pub cpi: Option<CpiName>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmType {
    pub name: VmTypeName,
    pub cloud_properties: Map<String, Json>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmExtension {
    pub name: String,
    pub cloud_properties: Map<String, Json>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskType {
    pub name: DiskTypeName,
    /// MB.
    pub disk_size: u64,
    pub cloud_properties: Map<String, Json>,
}
