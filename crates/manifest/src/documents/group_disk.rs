//! The persistent disk of an instance group: three spellings (§1.6).

use domain::DiskTypeName;
use serde::{Deserialize, Serialize};

/// What the group asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersistentDisk {
    #[default]
    None,
    /// `persistent_disk`, MB.
    Size(u64),
    /// `persistent_disk_type`.
    Type(DiskTypeName),
    /// `persistent_disks`: attached, never mounted.
    Raw(Vec<NamedDisk>),
}

/// One entry of `persistent_disks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedDisk {
    pub name: String,
    #[serde(rename = "type")]
    pub disk_type: DiskTypeName,
}
