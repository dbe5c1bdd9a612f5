//! What is stored about a provider, and what a consumer's templates see of it (§3.5).

use std::collections::BTreeMap;

use domain::{AzName, DeploymentName, InstanceGroupName, InstanceUuid, NetworkName};
use manifest::documents::Features;
use serde_json::{Map, Value as Json, json};

use super::providers::Provider;

/// A group after placement, as links need it.
#[derive(Debug)]
pub(crate) struct GroupFacts {
    pub name: InstanceGroupName,
    pub networks: Vec<NetworkName>,
    /// The network of the group's own address.
    pub default_network: Option<NetworkName>,
    /// In update order, ignored ones included.
    pub instances: Vec<InstanceFacts>,
}

#[derive(Debug)]
pub(crate) struct InstanceFacts {
    pub id: InstanceUuid,
    pub index: u32,
    pub bootstrap: bool,
    pub az: Option<AzName>,
    /// IP by network; absent while a dynamic network's address is unknown.
    pub addresses: BTreeMap<NetworkName, String>,
    pub dns_addresses: BTreeMap<NetworkName, String>,
}

/// Of the deployment, for all its links.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkFrame<'a> {
    pub deployment: &'a DeploymentName,
    pub root_domain: &'a str,
    pub features: &'a Features,
    pub local_dns: bool,
}

/// The content to store for other deployments; [`view`] makes what templates see.
pub(super) fn stored(provider: &Provider, group: &GroupFacts, frame: LinkFrame) -> Json {
    if provider.is_disk {
        return json!({
            "deployment_name": frame.deployment,
            "properties": provider.properties,
            "networks": [],
            "instances": [],
        });
    }
    let instances: Vec<Json> = group
        .instances
        .iter()
        .map(|i| {
            json!({
                "name": group.name,
                "id": i.id,
                "index": i.index,
                "bootstrap": i.bootstrap,
                "az": i.az,
                "addresses": i.addresses,
                "dns_addresses": i.dns_addresses,
            })
        })
        .collect();
    json!({
        "deployment_name": frame.deployment,
        "domain": frame.root_domain,
        "default_network": group.default_network,
        "networks": group.networks,
        "instance_group": group.name,
        "group_name": format!("{}-{}", provider.name, provider.kind),
        "properties": provider.properties,
        "use_short_dns_addresses": frame.features.use_short_dns_addresses,
        "use_dns_addresses": frame.features.use_dns_addresses,
        "use_link_dns_names": frame.features.use_link_dns_names,
        "instances": instances,
    })
}

/// The addresses a consumer asked for, from stored content.
pub(super) fn view(
    content: &Json,
    network: Option<&str>,
    ip_addresses: Option<bool>,
    local_dns: bool,
) -> Json {
    let network = network.or_else(|| content.get("default_network").and_then(Json::as_str));
    let by_feature = content.get("use_dns_addresses") == Some(&Json::Bool(true));
    let want_dns = local_dns && !ip_addresses.unwrap_or(!by_feature);
    let mut seen = Map::new();
    for key in [
        "deployment_name",
        "domain",
        "default_network",
        "group_name",
        "instance_group",
        "instances",
        "properties",
        "use_link_dns_names",
        "use_short_dns_addresses",
    ] {
        if let Some(value) = content.get(key) {
            seen.insert(key.to_string(), value.clone());
        }
    }
    if let Some(network) = network
        && !content["instances"].as_array().is_none_or(Vec::is_empty)
    {
        seen.insert("default_network".into(), json!(network));
    }
    let instances = content.get("instances").and_then(Json::as_array);
    let instances = instances.into_iter().flatten().map(|instance| {
        let mut shown = Map::new();
        for key in ["name", "id", "index", "bootstrap", "az"] {
            shown.insert(key.into(), instance.get(key).cloned().unwrap_or(Json::Null));
        }
        let address = |kind: &str| network.and_then(|n| instance.get(kind)?.get(n));
        let (first, second) = if want_dns {
            ("dns_addresses", "addresses")
        } else {
            ("addresses", "dns_addresses")
        };
        // An unknown IP (dynamic network) leaves the name, and the other way round.
        let address = address(first)
            .or_else(|| address(second).filter(|_| want_dns || local_dns))
            .cloned()
            .unwrap_or(Json::Null);
        shown.insert("address".into(), address);
        Json::Object(shown)
    });
    let instances: Vec<Json> = instances.collect();
    seen.insert("instances".into(), Json::Array(instances));
    Json::Object(seen)
}

/// What an operator gave instead of a provider.
pub(super) fn manual(map: &Map<String, Json>, deployment: &DeploymentName) -> Json {
    let mut content = Map::new();
    for key in ["instances", "properties", "address"] {
        content.insert(key.into(), map.get(key).cloned().unwrap_or(Json::Null));
    }
    content.insert("deployment_name".into(), json!(deployment));
    Json::Object(content)
}
