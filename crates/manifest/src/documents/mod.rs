//! Typed documents: the deployment manifest, cloud config and runtime config, with the original's error codes
//! and texts (manifests-and-planning §0, §1).
//!
//! Called by the director before planning, with values that are already interpolated (properties, `env` and
//! what is inside `cloud_properties` may still hold `((references))`). Guarantees: what parses refers only to
//! things that exist in the cloud config; faults are collected, in the order in which the original would find
//! them, so the first one is what the original would report. What needs the uploaded releases and stemcells
//! (does the job exist in the release?) is the planner's.
//!
//! Unknown keys are ignored, as the original does.

mod addon;
mod canonical;
mod cloud;
mod compilation;
mod features;
mod group;
mod group_disk;
mod group_networks;
mod group_reading;
pub mod ip;
mod network;
mod network_reading;
mod object;
mod problems;
mod ruby;
mod runtime;
#[cfg(test)]
mod tests;
mod top;
mod update;
mod variables;

pub use addon::{Addon, AddonLevel, Filter, FilterJob};
pub use canonical::canonical_name;
pub use cloud::{Az, CloudConfig, DiskType, VmExtension, VmType, merge_cloud_configs};
pub use compilation::CompilationConfig;
pub use features::Features;
pub use group::{InstanceGroup, Job, Lifecycle, MigratedFrom, RequestedState, VmResources, VmSpec};
pub use group_disk::{NamedDisk, PersistentDisk};
pub use group_networks::{DefaultFor, GroupNetwork};
pub use ip::{IpBlock, IpRanges};
pub use network::{
    DynamicNetwork, DynamicSubnet, ManualNetwork, ManualSubnet, Network, VipNetwork, VipSubnet,
};
pub use object::to_json;
pub use problems::{Problem, Problems};
pub use ruby::{class as ruby_class, inspect};
pub use runtime::RuntimeConfig;
pub use top::{
    DeploymentManifest, Documents, OsVersion, ReleaseEntry, StemcellEntry, check_request,
    read_documents,
};
pub use update::{InitialAzStrategy, Threshold, UpdateConfig, VmStrategy, WatchTime};
pub use variables::{Variable, VariableUpdateMode};

/// The director's settings that change how documents are read (manifests-and-planning §0).
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// `local_dns.use_dns_addresses`: the default of the feature of that name.
    pub use_dns_addresses: bool,
    /// `default_update_vm_strategy`: `delete-create` when unset.
    pub default_vm_strategy: Option<VmStrategy>,
    /// `ignore_missing_gateway`: manual subnets may come without a gateway.
    pub ignore_missing_gateway: bool,
    /// `networks.enable_cpi_management`: `managed: true` networks may leave out range and gateway.
    pub managed_networks: bool,
    /// The director's own addresses: never given to an instance.
    pub own_addresses: Vec<std::net::IpAddr>,
    /// `canaries` of the request: replaces the global value and every group's.
    pub canaries: Option<Threshold>,
    /// `max_in_flight` of the request, likewise.
    pub max_in_flight: Option<Threshold>,
}
