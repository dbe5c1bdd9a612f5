//! Runtime configs (§1.9).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Addon, ReleaseEntry, Variable};

/// One runtime config (the newest version of one name).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RuntimeConfig {
    pub releases: Vec<ReleaseEntry>,
    pub addons: Vec<Addon>,
    pub tags: Map<String, Json>,
    pub variables: Vec<Variable>,
}
