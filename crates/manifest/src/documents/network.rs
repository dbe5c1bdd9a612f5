//! Networks of a cloud config (§1.8.1 - §1.8.3).

use std::net::IpAddr;

use domain::{AzName, NetworkName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{IpBlock, IpRanges};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Network {
    Manual(ManualNetwork),
    Dynamic(DynamicNetwork),
    Vip(VipNetwork),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManualNetwork {
    pub name: NetworkName,
    pub managed: bool,
    pub subnets: Vec<ManualSubnet>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManualSubnet {
    pub name: Option<String>,
    pub range: IpBlock,
    pub gateway: Option<IpAddr>,
    pub dns: Vec<IpAddr>,
    /// Empty: the subnet has no AZ.
    pub azs: Vec<AzName>,
    /// Never given out: first, last, gateway, `reserved`, the director's own.
    pub restricted: IpRanges,
    pub static_ips: IpRanges,
    pub cloud_properties: Map<String, Json>,
    /// Size of the block given to each instance: 32 or 128 for a single address.
    pub prefix: u8,
    pub netmask_bits: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DynamicNetwork {
    pub name: NetworkName,
    pub subnets: Vec<DynamicSubnet>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DynamicSubnet {
    pub dns: Vec<IpAddr>,
    pub azs: Vec<AzName>,
    pub cloud_properties: Map<String, Json>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VipNetwork {
    pub name: NetworkName,
    pub cloud_properties: Map<String, Json>,
    /// With at least one, the director gives out the addresses.
    pub subnets: Vec<VipSubnet>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VipSubnet {
    pub static_ips: IpRanges,
    pub azs: Vec<AzName>,
}

impl Network {
    /// Its name.
    pub fn name(&self) -> &NetworkName {
        match self {
            Network::Manual(n) => &n.name,
            Network::Dynamic(n) => &n.name,
            Network::Vip(n) => &n.name,
        }
    }

    /// The AZs of its subnets, one list per subnet; empty lists are subnets without AZ. `None` for VIP networks,
    /// which fit everywhere.
    pub fn subnet_azs(&self) -> Option<Vec<&[AzName]>> {
        match self {
            Network::Manual(n) => Some(n.subnets.iter().map(|s| s.azs.as_slice()).collect()),
            Network::Dynamic(n) => Some(n.subnets.iter().map(|s| s.azs.as_slice()).collect()),
            Network::Vip(_) => None,
        }
    }

    /// Whether an instance in `az` (or in none) can be on it: "no AZ" is an AZ of its own here (§1.6.3).
    pub fn covers(&self, az: Option<&AzName>) -> bool {
        self.subnet_azs().is_none_or(|subnets| {
            subnets.iter().any(|azs| match az {
                Some(az) => azs.contains(az),
                None => azs.is_empty(),
            })
        })
    }

    /// The director picks its VIP addresses.
    pub fn is_global_vip(&self) -> bool {
        matches!(self, Network::Vip(n) if !n.subnets.is_empty())
    }
}
