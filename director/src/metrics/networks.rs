//! How many addresses the manual networks of the current cloud config have left (operations.md §14).

use manifest::documents::{
    CloudConfig, IpRanges, Network, ReadOptions, merge_cloud_configs, to_json,
};

use crate::error::Error;
use crate::services::Services;
use crate::store::addresses;

/// A network's addresses that are neither static nor reserved: all, and those that nobody holds.
pub struct Addresses {
    /// As the original writes it: canonical, with `_` for `-`.
    pub name: String,
    pub total: i64,
    pub free: i64,
}

/// One entry a manual network. None for a cloud config that can't be read: deploys say why.
pub async fn addresses(services: &Services) -> Result<Vec<Addresses>, Error> {
    let rows = services.store.current_configs("cloud", &[]).await?;
    let mut configs = Vec::new();
    for row in &rows {
        let Ok(config) = crate::configs::parse_config(&row.content) else {
            return Ok(Vec::new());
        };
        configs.push(to_json(&config));
    }
    let Ok(merged) = merge_cloud_configs(&configs) else {
        return Ok(Vec::new());
    };
    let Ok(cloud) = CloudConfig::read(&merged, &ReadOptions::default()) else {
        return Ok(Vec::new());
    };
    let held = addresses::list_all(services.store.pool()).await?;
    let mut list = Vec::new();
    for network in &cloud.networks {
        let Network::Manual(network) = network else {
            continue;
        };
        let total: u128 = network
            .subnets
            .iter()
            .map(|subnet| {
                let all = IpRanges::new(vec![(subnet.range.first(), subnet.range.last())]);
                let taken = subnet
                    .restricted
                    .count()
                    .saturating_add(subnet.static_ips.count());
                all.count().saturating_sub(taken)
            })
            .sum();
        let used = held
            .iter()
            .filter(|address| !address.is_static && address.network_name == network.name.as_str())
            .count();
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        list.push(Addresses {
            name: manifest::documents::canonical_name(network.name.as_str())
                .unwrap_or_else(|_| network.name.to_string())
                .replace('-', "_"),
            total,
            free: total.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX)),
        });
    }
    Ok(list)
}
