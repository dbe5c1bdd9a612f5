//! `compilation` of a cloud config (§1.8.4).

use domain::{AzName, NetworkName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::VmSpec;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompilationConfig {
    /// At least 1.
    pub workers: u32,
    pub network: NetworkName,
    pub az: Option<AzName>,
    pub vm: Option<VmSpec>,
    /// Raw ones, when there is neither VM type nor resources.
    pub cloud_properties: Map<String, Json>,
    pub vm_extensions: Vec<String>,
    pub reuse_compilation_vms: bool,
    pub orphan_workers: bool,
    pub env: Map<String, Json>,
}
