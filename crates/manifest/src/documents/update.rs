//! `update` blocks (§1.5).

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A complete update block: the global one, or a group's with the global one's values filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateConfig {
    pub canaries: Threshold,
    pub max_in_flight: Threshold,
    pub canary_watch_time: WatchTime,
    pub update_watch_time: WatchTime,
    pub serial: bool,
    pub vm_strategy: VmStrategy,
    pub initial_deploy_az_update_strategy: InitialAzStrategy,
}

/// A number or a percentage, kept as text until it is used: that is when the original complains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Threshold(pub String);

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchTime {
    pub min: u64,
    pub max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VmStrategy {
    #[default]
    DeleteCreate,
    CreateSwapDelete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitialAzStrategy {
    #[default]
    Serial,
    Parallel,
}
