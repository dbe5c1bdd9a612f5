//! Network settings as CPIs and agents get them, and names of instances (§2.7, §3.5).

use std::net::IpAddr;

use domain::{AzName, NetworkName};
use manifest::documents::{DefaultFor, GroupNetwork, IpBlock, Network, Problem, canonical_name};
use serde_json::{Map, Value as Json, json};

/// The settings of one network of one instance. `ip` is `None` on dynamic networks.
///
/// # Errors
/// 160009 when a dynamic network has no subnet for the AZ.
pub(crate) fn network_settings(
    network: &Network,
    wanted: &GroupNetwork,
    ip: Option<IpAddr>,
    az: Option<&AzName>,
) -> Result<Json, Problem> {
    let mut settings = Map::new();
    let addresses =
        |list: &[IpAddr]| json!(list.iter().map(ToString::to_string).collect::<Vec<_>>());
    let default = (!wanted.default.is_empty()).then(|| json!(wanted.default));
    match network {
        Network::Manual(manual) => {
            settings.insert("type".into(), json!("manual"));
            let subnet = manual
                .subnets
                .iter()
                .find(|s| ip.is_some_and(|ip| s.range.contains(ip)))
                .or_else(|| {
                    manual
                        .subnets
                        .iter()
                        .find(|s| az.is_none_or(|az| s.azs.contains(az)))
                });
            if let Some(ip) = ip {
                settings.insert("ip".into(), json!(ip.to_string()));
            }
            if let Some(subnet) = subnet {
                settings.insert("prefix".into(), json!(subnet.prefix.to_string()));
                settings.insert("netmask".into(), json!(subnet.range.netmask().to_string()));
                settings.insert("cloud_properties".into(), json!(subnet.cloud_properties));
                settings.extend(default.map(|d| ("default".to_string(), d)));
                if !subnet.dns.is_empty() {
                    settings.insert("dns".into(), addresses(&subnet.dns));
                }
                if let Some(gateway) = subnet.gateway {
                    settings.insert("gateway".into(), json!(gateway.to_string()));
                }
            }
        }
        Network::Dynamic(dynamic) => {
            let subnet = dynamic
                .subnets
                .iter()
                .find(|s| az.is_none_or(|az| s.azs.contains(az)))
                .ok_or_else(|| {
                    Problem::new(
                        160009,
                        format!(
                            "Network '{}' has no matching subnet for availability zone '{}'",
                            dynamic.name,
                            az.map_or("", AzName::as_str)
                        ),
                    )
                })?;
            settings.insert("type".into(), json!("dynamic"));
            settings.insert("cloud_properties".into(), json!(subnet.cloud_properties));
            settings.insert("prefix".into(), json!("32"));
            if !subnet.dns.is_empty() {
                settings.insert("dns".into(), addresses(&subnet.dns));
            }
            settings.extend(default.map(|d| ("default".to_string(), d)));
        }
        Network::Vip(vip) => {
            settings.insert("type".into(), json!("vip"));
            if let Some(ip) = ip {
                settings.insert("ip".into(), json!(ip.to_string()));
                settings.insert(
                    "prefix".into(),
                    json!(IpBlock::single(ip).prefix.to_string()),
                );
            }
            settings.insert("cloud_properties".into(), json!(vip.cloud_properties));
        }
    }
    if let Some(group) = wanted.nic_group {
        settings.insert("nic_group".into(), json!(group.to_string()));
    }
    Ok(Json::Object(settings))
}

/// `<uuid>.<ig>.<network>.<deployment>.<root domain>`, canonical parts.
pub(crate) fn dns_record_name(
    uuid: &str,
    group: &str,
    network: &NetworkName,
    deployment: &str,
    root_domain: &str,
) -> String {
    let canonical = |text: &str| canonical_name(text).unwrap_or_else(|_| text.to_string());
    format!(
        "{}.{}.{}.{}.{root_domain}",
        canonical(uuid),
        canonical(group),
        canonical(network.as_str()),
        canonical(deployment)
    )
}

/// Where the group's address comes from: the `addressable` network, else the `gateway` one.
pub(crate) fn address_network(networks: &[GroupNetwork]) -> Option<&GroupNetwork> {
    [DefaultFor::Addressable, DefaultFor::Gateway]
        .into_iter()
        .find_map(|wanted| networks.iter().find(|n| n.default.contains(&wanted)))
}
