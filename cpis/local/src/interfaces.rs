//! From the networks of `create_vm` to addresses: checked against the bridge and against the other VMs.

use cpi::{CreateVm, Fault};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::config::{Config, network_of};
use crate::network::{host_interface, mac_of};
use crate::store::{Isolation, VmNetwork, VmRecord};

/// One interface per network, the one with the default route first. Call it with the lock `addresses` held.
pub fn plan(
    config: &Config,
    isolation: Isolation,
    cid: &str,
    request: &CreateVm,
    others: &[VmRecord],
) -> Result<Vec<VmNetwork>, Fault> {
    if request.networks.is_empty() {
        return Err(Fault::cloud_error("a VM needs at least one network"));
    }
    let mut taken: BTreeSet<Ipv4Addr> = BTreeSet::new();
    for other in others.iter().filter(|other| other.cid != cid) {
        taken.extend(other.networks.iter().map(|network| network.address));
    }
    let mut requested: Vec<(&String, &Value)> = request.networks.iter().collect();
    requested.sort_by_key(|(name, network)| (!is_default_gateway(network), name.to_string()));
    let mut planned = Vec::new();
    for (index, (name, network)) in requested.into_iter().enumerate() {
        let address = match network["type"].as_str().unwrap_or("manual") {
            "manual" => manual_address(config, isolation, name, network)?,
            "dynamic" => free_address(config, isolation, &taken)?,
            other => {
                return Err(Fault::not_supported(format!(
                    "network '{name}' is of type '{other}', which the local CPI does not have"
                )));
            }
        };
        if !taken.insert(address) {
            return Err(address_in_use(name, address, cid, others));
        }
        let gateway = match network["gateway"].as_str() {
            _ if isolation == Isolation::Plain || index > 0 => None,
            None => Some(config.bridge_address),
            Some(gateway) => Some(bridge_gateway(config, name, gateway)?),
        };
        planned.push(VmNetwork {
            name: name.clone(),
            address,
            prefix: prefix(config, network),
            gateway,
            mac: mac_of(address),
            host_interface: host_interface(cid, name),
            guest_interface: format!("eth{index}"),
            mtu: network["cloud_properties"]["mtu"]
                .as_u64()
                .and_then(|mtu| u32::try_from(mtu).ok()),
        });
    }
    Ok(planned)
}

fn is_default_gateway(network: &Value) -> bool {
    network["default"]
        .as_array()
        .is_some_and(|list| list.iter().any(|what| what == "gateway"))
}

fn manual_address(
    config: &Config,
    isolation: Isolation,
    name: &str,
    network: &Value,
) -> Result<Ipv4Addr, Fault> {
    let text = network["ip"].as_str().unwrap_or_default();
    let address: Ipv4Addr = text.parse().map_err(|_| {
        Fault::cloud_error(format!(
            "network '{name}': '{text}' is not an IPv4 address, which the local CPI needs"
        ))
    })?;
    match isolation {
        Isolation::Plain if !address.is_loopback() => Err(Fault::cloud_error(format!(
            "network '{name}': {address} can't be used: this host allows no network namespaces, so addresses must be of \
             127.0.0.0/8; change the subnet's range in the cloud config"
        ))),
        Isolation::Namespaces if !config.on_bridge(address) => Err(Fault::cloud_error(format!(
            "network '{name}': {address} is not in {}, the network of bridge {}; change the subnet's range in the cloud \
             config, or bridge_cidr of the CPI",
            config.bridge_network(),
            config.bridge
        ))),
        Isolation::Namespaces if address == config.bridge_address => {
            Err(Fault::cloud_error(format!(
                "network '{name}': {address} is the address of bridge {}; put it into the subnet's reserved range",
                config.bridge
            )))
        }
        _ => Ok(address),
    }
}

fn bridge_gateway(config: &Config, name: &str, text: &str) -> Result<Ipv4Addr, Fault> {
    text.parse()
        .ok()
        .filter(|gateway| config.on_bridge(*gateway))
        .ok_or_else(|| {
            Fault::cloud_error(format!(
                "network '{name}': gateway '{text}' is not in {}, the network of bridge {}",
                config.bridge_network(),
                config.bridge
            ))
        })
}

/// The netmask's length; the bridge's where there is none.
fn prefix(config: &Config, network: &Value) -> u8 {
    let mask: Option<Ipv4Addr> = network["netmask"]
        .as_str()
        .and_then(|mask| mask.parse().ok());
    mask.map_or(config.bridge_prefix, |mask| {
        u32::from(mask).count_ones() as u8
    })
}

/// The highest free address: manual networks are filled from below.
fn free_address(
    config: &Config,
    isolation: Isolation,
    taken: &BTreeSet<Ipv4Addr>,
) -> Result<Ipv4Addr, Fault> {
    let (inside, prefix) = match isolation {
        Isolation::Namespaces => (config.bridge_address, config.bridge_prefix),
        Isolation::Plain => (Ipv4Addr::new(127, 244, 0, 1), 16),
    };
    let first = network_of(inside, prefix);
    let last = first | (u32::MAX >> prefix);
    (first + 1..last)
        .rev()
        .map(Ipv4Addr::from)
        .find(|address| *address != inside && !taken.contains(address))
        .ok_or_else(|| Fault::vm_creation_failed(format!("no free address in {inside}/{prefix}")))
}

fn address_in_use(name: &str, address: Ipv4Addr, cid: &str, others: &[VmRecord]) -> Fault {
    let owner = others
        .iter()
        .find(|other| other.cid != cid && other.networks.iter().any(|n| n.address == address));
    Fault::vm_creation_failed(match owner {
        Some(owner) => format!(
            "network '{name}': address {address} is in use by VM {}",
            owner.cid
        ),
        None => format!("network '{name}': address {address} is asked for twice"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(networks: Value) -> CreateVm {
        CreateVm {
            agent_id: "a".into(),
            stemcell_cid: "sc".into(),
            cloud_properties: json!({}),
            networks: networks.as_object().unwrap().clone(),
            disk_cids: vec![],
            env: json!({}),
            stemcell_api_version: Some(3),
        }
    }

    fn config() -> Config {
        Config::load(None, &Default::default())
            .map_err(|f| f.message)
            .unwrap()
    }

    fn problem(isolation: Isolation, networks: Value) -> String {
        let planned = plan(&config(), isolation, "vm-a", &request(networks), &[]);
        planned.expect_err("refused").message
    }

    #[test]
    fn addresses_that_can_not_work_are_refused_with_the_way_out() {
        let cases = [
            (Isolation::Namespaces, json!({}), "at least one network"),
            (
                Isolation::Namespaces,
                json!({"a": {"ip": "10.0.0.9"}}),
                "is not in 10.244.0.0/16",
            ),
            (
                Isolation::Namespaces,
                json!({"a": {"ip": "10.244.0.1"}}),
                "reserved range",
            ),
            (
                Isolation::Namespaces,
                json!({"a": {"ip": "fd00::1"}}),
                "not an IPv4 address",
            ),
            (
                Isolation::Namespaces,
                json!({"a": {"type": "vip", "ip": "10.244.0.7"}}),
                "type 'vip'",
            ),
            (
                Isolation::Plain,
                json!({"a": {"ip": "10.244.0.9"}}),
                "must be of 127.0.0.0/8",
            ),
            (
                Isolation::Namespaces,
                json!({"a": {"ip": "10.244.0.9"}, "b": {"ip": "10.244.0.9"}}),
                "asked for twice",
            ),
        ];
        for (isolation, networks, expected) in cases {
            let message = problem(isolation, networks.clone());
            assert!(message.contains(expected), "{networks}: {message}");
        }
    }

    #[test]
    fn the_network_with_the_default_gateway_comes_first_and_holds_the_only_route() {
        let networks = json!({
            "a": {"ip": "10.244.0.9", "netmask": "255.255.255.0", "gateway": "10.244.0.1"},
            "b": {"ip": "10.244.1.9", "netmask": "255.255.255.0", "gateway": "10.244.1.1", "default": ["gateway"]},
            "c": {"type": "dynamic"},
        });
        let planned = plan(
            &config(),
            Isolation::Namespaces,
            "vm-a",
            &request(networks),
            &[],
        );
        let planned = planned.map_err(|f| f.message).unwrap();
        let shown: Vec<_> = planned
            .iter()
            .map(|n| {
                (
                    n.name.as_str(),
                    n.guest_interface.as_str(),
                    n.address.to_string(),
                    n.gateway.map(|g| g.to_string()),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("b", "eth0", "10.244.1.9".into(), Some("10.244.1.1".into())),
                ("a", "eth1", "10.244.0.9".into(), None),
                ("c", "eth2", "10.244.255.254".into(), None),
            ]
        );
    }
}
