//! `networks` of an instance group (§1.6.2).

use std::collections::BTreeSet;
use std::net::IpAddr;

use domain::NetworkName;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::ip::{address, number, parse_list};
use super::object::Object;
use super::ruby::interpolated;
use super::{CloudConfig, IpBlock, Network, Problem};

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

impl GroupNetwork {
    /// Reads the list of a group, looks each up in the cloud config and works the defaults out.
    pub(super) fn read_all(
        group: &Object,
        group_name: &str,
        cloud: &CloudConfig,
    ) -> Result<Vec<GroupNetwork>, Problem> {
        let items = group.required_array("networks")?;
        let path = group.path_of("networks");
        if items.is_empty() {
            return Err(Problem::new(
                140009,
                format!("Instance group '{group_name}' must specify at least one network"),
            )
            .at(path));
        }
        let mut networks = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            networks.push(read_one(item, &format!("{path}/{i}"), group_name, cloud)?);
        }
        work_out_defaults(&mut networks, group_name, cloud).map_err(|p| p.at(path))?;
        Ok(networks)
    }
}

fn read_one(
    item: &Json,
    path: &str,
    group: &str,
    cloud: &CloudConfig,
) -> Result<GroupNetwork, Problem> {
    let object = Object::of(item, path)?;
    let name = object.string("name")?;
    let fault = |code, text: String| Err(Problem::new(code, text).at(path));
    let Some(network) = cloud.networks.iter().find(|n| n.name() == name.as_str()) else {
        return fault(
            150001,
            format!("Instance group '{group}' references an unknown network '{name}'"),
        );
    };
    let static_ips = match object.raw("static_ips") {
        None => None,
        Some(_) if matches!(network, Network::Dynamic(_)) => {
            return fault(
                150008,
                format!(
                    "Instance group '{group}' using dynamic network '{name}' cannot specify static IP(s)"
                ),
            );
        }
        Some(Json::Null) => None,
        Some(_) if network.is_global_vip() => {
            return fault(
                130014,
                "IPs cannot be specified in both the instance group and the cloud config".into(),
            );
        }
        Some(value) => Some(expand(parse_list(value)?, group, path)?),
    };
    let mut default = Vec::new();
    for item in object.array("default")? {
        default.push(match item.as_str() {
            Some("dns") => DefaultFor::Dns,
            Some("gateway") => DefaultFor::Gateway,
            Some("addressable") => DefaultFor::Addressable,
            _ => {
                return fault(
                    150003,
                    format!(
                        "Instance group '{group}' specified an invalid default network property '{}', valid \
                         properties are: dns, gateway",
                        interpolated(item)
                    ),
                );
            }
        });
    }
    Ok(GroupNetwork {
        name: NetworkName::new(name),
        static_ips,
        default,
        nic_group: object
            .optional_string("nic_group")?
            .map(|text| text.trim().parse().unwrap_or(0)),
    })
}

/// The addresses one by one; more than a manifest can mean (a /8) is a mistake, not a reason to fill the memory.
fn expand(ranges: Vec<(IpAddr, IpAddr)>, group: &str, path: &str) -> Result<Vec<IpAddr>, Problem> {
    const MOST: u128 = 1 << 16;
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (first, last) in ranges {
        let count = number(last) - number(first) + 1;
        if count > MOST {
            return Err(
                Problem::new(160010, format!("Invalid IP range format: {first}-{last}"))
                    .at(path)
                    .hint(
                        "static_ips lists one address per instance; this range has more than 65536",
                    ),
            );
        }
        for n in number(first)..=number(last) {
            let ip = address(n, first);
            if !seen.insert(ip) {
                return Err(Problem::new(
                    150009,
                    format!(
                        "Instance group '{group}' specifies static IP '{}' more than once",
                        IpBlock::single(ip)
                    ),
                )
                .at(path));
            }
            all.push(ip);
        }
    }
    Ok(all)
}

fn work_out_defaults(
    networks: &mut [GroupNetwork],
    group: &str,
    cloud: &CloudConfig,
) -> Result<(), Problem> {
    if let [only] = networks {
        // With one network there is no choice; what the manifest says is replaced.
        only.default = vec![DefaultFor::Dns, DefaultFor::Gateway];
    }
    for network in networks.iter_mut() {
        network.default.sort();
        network.default.dedup();
        if !network.default.is_empty()
            && matches!(cloud.network(&network.name), Some(Network::Vip(_)))
        {
            return Err(Problem::new(
                130007,
                "Can't provide any defaults since this is a VIP network",
            )
            .hint(format!(
                "Give instance group '{group}' a manual or dynamic network for dns and gateway beside '{}'",
                network.name
            )));
        }
    }
    let names_with = |wanted: DefaultFor| -> Vec<String> {
        networks
            .iter()
            .filter(|n| n.default.contains(&wanted))
            .map(|n| format!("'{}'", n.name))
            .collect()
    };
    let mut doubled = Vec::new();
    let mut missing = Vec::new();
    for (property, wanted) in [
        ("addressable", DefaultFor::Addressable),
        ("dns", DefaultFor::Dns),
        ("gateway", DefaultFor::Gateway),
    ] {
        match names_with(wanted) {
            names if names.len() > 1 => doubled.push(format!(
                "'{property}' has default networks: {}.",
                names.join(", ")
            )),
            names if names.is_empty() && wanted != DefaultFor::Addressable => {
                missing.push(property)
            }
            _ => {}
        }
    }
    if !doubled.is_empty() {
        return Err(Problem::new(
            150004,
            format!(
                "Instance group '{group}' specified more than one network to contain default. {}",
                doubled.join(" ")
            ),
        ));
    }
    if !missing.is_empty() {
        return Err(Problem::new(
            150005,
            format!(
                "Instance group '{group}' must specify which network is default for {}, since it has more than one \
                 network configured",
                missing.join(", ")
            ),
        ));
    }
    Ok(())
}
