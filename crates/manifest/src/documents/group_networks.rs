//! `networks` of an instance group (§1.6.2).

use std::net::IpAddr;

use domain::NetworkName;
use serde::{Deserialize, Serialize};

/// What a network may be the default for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultFor {
    Addressable,
    Dns,
    Gateway,
}

/// One network of an instance group, with its defaults worked out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupNetwork {
    pub name: NetworkName,
    /// In manifest order, ranges expanded; `None` when the key is absent.
    pub static_ips: Option<Vec<IpAddr>>,
    /// Sorted.
    pub default: Vec<DefaultFor>,
    /// Networks with the same number share one NIC.
    pub nic_group: Option<i64>,
}
