//! Reading `networks` of a cloud config, with the checks of §1.8.1 - §1.8.3.

use std::collections::BTreeSet;
use std::net::IpAddr;

use domain::{AzName, NetworkName};
use serde_json::Value as Json;

use super::ip::{address, full_prefix, number, parse_field, parse_list};
use super::network::{
    DynamicNetwork, DynamicSubnet, ManualNetwork, ManualSubnet, Network, VipNetwork, VipSubnet,
};
use super::object::Object;
use super::ruby::interpolated;
use super::{Az, IpBlock, IpRanges, Problem, Problems, ReadOptions, canonical_name};

/// Reads the section; it must be there and not be empty.
pub(super) fn read_networks(
    cloud: &Object,
    azs: &[Az],
    options: &ReadOptions,
) -> Result<Vec<Network>, Problems> {
    let items = cloud.required_array("networks")?;
    if items.is_empty() {
        return Err(Problem::new(190008, "No networks specified")
            .at("/networks")
            .into());
    }
    let mut problems = Problems::default();
    let mut networks = Vec::new();
    let mut names = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        let path = format!("/networks/{i}");
        let Some(network) = problems.take_all(read_network(item, &path, azs, options)) else {
            continue;
        };
        match canonical_name(network.name().as_str()) {
            Err(problem) => problems.push(problem.at(path)),
            Ok(name) if !names.insert(name.clone()) => problems.push(
                Problem::new(
                    190007,
                    format!(
                        "Invalid network name '{}', canonical name already taken",
                        network.name()
                    ),
                )
                .at(path),
            ),
            Ok(_) => networks.push(network),
        }
    }
    problems.or(networks)
}

fn read_network(
    item: &Json,
    path: &str,
    azs: &[Az],
    options: &ReadOptions,
) -> Result<Network, Problems> {
    let object = Object::of(item, path)?;
    let kind = object.optional_string("type")?;
    let reader = Reader {
        name: object.string("name")?,
        azs,
        options,
    };
    match kind.as_deref().unwrap_or("manual") {
        "manual" => reader.manual(&object, path).map(Network::Manual),
        "dynamic" => Ok(Network::Dynamic(reader.dynamic(&object, path)?)),
        "vip" => Ok(Network::Vip(reader.vip(&object, path)?)),
        other => Err(
            Problem::new(190010, format!("Invalid network type '{other}'"))
                .at(path)
                .hint("Use manual, dynamic or vip")
                .into(),
        ),
    }
}

struct Reader<'a> {
    name: String,
    azs: &'a [Az],
    options: &'a ReadOptions,
}

impl Reader<'_> {
    fn fault<T>(&self, code: u32, text: String, path: &str) -> Result<T, Problem> {
        Err(Problem::new(code, text).at(path))
    }

    fn manual(&self, object: &Object, path: &str) -> Result<ManualNetwork, Problems> {
        let managed = self.options.managed_networks && object.boolean("managed")? == Some(true);
        let mut problems = Problems::default();
        let mut subnets = Vec::new();
        for (i, item) in object.required_array("subnets")?.iter().enumerate() {
            let path = format!("{path}/subnets/{i}");
            subnets.extend(problems.take(self.manual_subnet(item, &path, managed)));
        }
        if problems.0.is_empty() {
            problems.take(self.check_subnets(&subnets, path));
        }
        problems.or(ManualNetwork {
            name: NetworkName::new(self.name.clone()),
            managed,
            subnets,
        })
    }

    /// Rules across the subnets of one network.
    fn check_subnets(&self, subnets: &[ManualSubnet], path: &str) -> Result<(), Problem> {
        let name = &self.name;
        let mut sorted: Vec<&ManualSubnet> = subnets.iter().collect();
        sorted.sort_by_key(|s| s.range);
        if sorted
            .windows(2)
            .any(|pair| pair[0].range.overlaps(&pair[1].range))
        {
            return self.fault(
                160001,
                format!("Network '{name}' has overlapping subnets"),
                path,
            );
        }
        if subnets
            .windows(2)
            .any(|pair| pair[0].prefix != pair[1].prefix)
        {
            return self.fault(
                16014,
                format!("Network '{name}' has subnets that define different prefixes"),
                path,
            );
        }
        let with_az = subnets.iter().filter(|s| !s.azs.is_empty()).count();
        if with_az != 0 && with_az != subnets.len() {
            return self.fault(
                140016,
                format!(
                    "Subnets on network '{name}' must all either specify availability zone or not"
                ),
                path,
            );
        }
        Ok(())
    }

    fn manual_subnet(
        &self,
        item: &Json,
        path: &str,
        managed: bool,
    ) -> Result<ManualSubnet, Problem> {
        let object = Object::of(item, path)?;
        let name = &self.name;
        let subnet_name = object.optional_string("name")?;
        if managed && subnet_name.is_none() {
            return self.fault(
                100,
                "subnet in managed network must have a name".into(),
                path,
            );
        }
        let range_text = object.string("range")?;
        let range = parse_field(&range_text).map_err(|p| p.at(object.path_of("range")))?;
        if range.first() == range.last() {
            return self.fault(
                160002,
                format!("Invalid network range '{range_text}', should include at least 2 IPs"),
                path,
            );
        }
        let gateway = self.gateway(&object, &range)?;
        let prefix = self.prefix(&object, &range)?;
        let mut restricted = vec![(range.first(), range.first()), (range.last(), range.last())];
        restricted.extend(gateway.map(|ip| (ip, ip)));
        for (first, last) in self.list(&object, "reserved")? {
            if let Some(ip) = outside(&range, first, last) {
                return self.fault(
                    160005,
                    format!(
                        "Reserved IP '{}' is out of network '{name}' range",
                        IpBlock::single(ip)
                    ),
                    &object.path_of("reserved"),
                );
            }
            restricted.push((first, last));
        }
        let own = self.options.own_addresses.iter();
        restricted.extend(
            own.filter(|ip| !ip.is_loopback() && range.contains(**ip))
                .map(|ip| (*ip, *ip)),
        );
        let restricted = IpRanges::new(restricted);
        let mut static_ips = Vec::new();
        for (first, last) in self.list(&object, "static")? {
            if let Some(ip) = outside(&range, first, last) {
                return self.fault(
                    160006,
                    format!(
                        "Static IP '{}' is out of network '{name}' range",
                        IpBlock::single(ip)
                    ),
                    &object.path_of("static"),
                );
            }
            if let Some((from, _)) = restricted.overlapping(first, last) {
                return self.fault(
                    160006,
                    format!(
                        "Static IP '{}' is in network '{name}' reserved range",
                        IpBlock::single(from.max(first))
                    ),
                    &object.path_of("static"),
                );
            }
            static_ips.extend(block_bases(first, last, prefix));
        }
        Ok(ManualSubnet {
            name: subnet_name,
            gateway,
            dns: self.dns(&object)?,
            azs: self.azs(&object)?,
            restricted,
            static_ips: IpRanges::new(static_ips),
            cloud_properties: object.hash("cloud_properties")?,
            prefix,
            netmask_bits: object.optional_integer("netmask_bits", None)?,
            range,
        })
    }

    fn gateway(&self, object: &Object, range: &IpBlock) -> Result<Option<IpAddr>, Problem> {
        let Some(text) = object.optional_string("gateway")? else {
            return if self.options.ignore_missing_gateway {
                Ok(None)
            } else {
                Err(object.missing("gateway"))
            };
        };
        let block = parse_field(&text).map_err(|p| p.at(object.path_of("gateway")))?;
        let ip = block.base;
        let why = if block.prefix != full_prefix(ip) {
            "must be a single IP"
        } else if !range.contains(ip) {
            "must be inside the range"
        } else if ip == range.first() {
            "can't be the network id"
        } else if ip == range.last() {
            "can't be the broadcast IP"
        } else {
            return Ok(Some(ip));
        };
        self.fault(
            160003,
            format!("Invalid gateway for network '{}': {why}", self.name),
            &object.path_of("gateway"),
        )
    }

    fn prefix(&self, object: &Object, range: &IpBlock) -> Result<u8, Problem> {
        let Some(text) = object.optional_string("prefix")? else {
            return Ok(full_prefix(range.base));
        };
        let prefix = text.trim().parse::<u8>().unwrap_or(0);
        if prefix < range.prefix || prefix > full_prefix(range.base) {
            return self.fault(
                16013,
                format!(
                    "Prefix size '{text}' is larger than range prefix '{}'",
                    range.prefix
                ),
                &object.path_of("prefix"),
            );
        }
        Ok(prefix)
    }

    fn list(&self, object: &Object, key: &str) -> Result<Vec<(IpAddr, IpAddr)>, Problem> {
        match object.raw(key) {
            None => Ok(Vec::new()),
            Some(value) => parse_list(value).map_err(|p| p.at(object.path_of(key))),
        }
    }

    fn dns(&self, object: &Object) -> Result<Vec<IpAddr>, Problem> {
        let mut servers = Vec::new();
        for item in object.array("dns")? {
            let block =
                parse_field(&interpolated(item)).map_err(|p| p.at(object.path_of("dns")))?;
            if block.prefix != full_prefix(block.base) {
                return self.fault(
                    160004,
                    format!(
                        "Invalid DNS for network '{}': must be a single IP",
                        self.name
                    ),
                    &object.path_of("dns"),
                );
            }
            servers.push(block.base);
        }
        Ok(servers)
    }

    fn azs(&self, object: &Object) -> Result<Vec<AzName>, Problem> {
        let name = &self.name;
        if object.has("az") && object.has("azs") {
            return self.fault(
                160008,
                format!("Network '{name}' contains both 'az' and 'azs'. Choose one."),
                &object.path_of("azs"),
            );
        }
        let names: Vec<AzName> = if object.has("azs") {
            let items = object.array("azs")?;
            if items.is_empty() {
                return self.fault(
                    160008,
                    format!("Network '{name}' refers to an empty 'azs' array"),
                    &object.path_of("azs"),
                );
            }
            items
                .iter()
                .map(|az| AzName::new(interpolated(az)))
                .collect()
        } else {
            object
                .optional_string("az")?
                .map(AzName::new)
                .into_iter()
                .collect()
        };
        for az in &names {
            if !self.azs.iter().any(|known| known.name == *az) {
                return self.fault(
                    160007,
                    format!("Network '{name}' refers to an unknown availability zone '{az}'"),
                    &object.path_of("azs"),
                );
            }
        }
        Ok(names)
    }

    fn dynamic(&self, object: &Object, path: &str) -> Result<DynamicNetwork, Problem> {
        let name = &self.name;
        for key in ["az", "azs", "managed", "prefix"] {
            if object.has(key) {
                return self.fault(
                    160008,
                    format!("Network '{name}' must not specify '{key}'."),
                    &object.path_of(key),
                );
            }
        }
        let subnets = match object.optional_array("subnets")? {
            None => vec![DynamicSubnet {
                dns: self.dns(object)?,
                azs: Vec::new(),
                cloud_properties: object.hash("cloud_properties")?,
            }],
            Some(items) => {
                for key in ["dns", "cloud_properties"] {
                    if object.has(key) {
                        return self.fault(
                            160008,
                            format!(
                                "Network '{name}' must not specify '{key}' when also specifying 'subnets'. Instead, \
                                 '{key}' should be specified on subnet entries."
                            ),
                            &object.path_of(key),
                        );
                    }
                }
                let mut subnets = Vec::new();
                for (i, item) in items.iter().enumerate() {
                    let path = format!("{path}/subnets/{i}");
                    let subnet = Object::of(item, &path)?;
                    if subnet.optional_string("prefix")?.is_some_and(|p| p != "32") {
                        return self.fault(
                            160008,
                            "Prefix property is not supported for dynamic networks.".into(),
                            &path,
                        );
                    }
                    subnets.push(DynamicSubnet {
                        dns: self.dns(&subnet)?,
                        azs: self.azs(&subnet)?,
                        cloud_properties: subnet.hash("cloud_properties")?,
                    });
                }
                subnets
            }
        };
        Ok(DynamicNetwork {
            name: NetworkName::new(name.clone()),
            subnets,
        })
    }

    fn vip(&self, object: &Object, path: &str) -> Result<VipNetwork, Problem> {
        let mut subnets = Vec::new();
        for (i, item) in object.array("subnets")?.iter().enumerate() {
            let path = format!("{path}/subnets/{i}");
            let subnet = Object::of(item, &path)?;
            subnets.push(VipSubnet {
                static_ips: IpRanges::new(self.list(&subnet, "static")?),
                azs: self.azs(&subnet)?,
            });
        }
        Ok(VipNetwork {
            name: NetworkName::new(self.name.clone()),
            cloud_properties: object.hash("cloud_properties")?,
            subnets,
        })
    }
}

/// The first address of `first..=last` that is not in `range`.
fn outside(range: &IpBlock, first: IpAddr, last: IpAddr) -> Option<IpAddr> {
    if !range.contains(first) {
        return Some(first);
    }
    (!range.contains(last)).then(|| address(number(range.last()) + 1, first))
}

/// Addresses in `first..=last` that can be the base of a block of size `prefix`.
fn block_bases(first: IpAddr, last: IpAddr, prefix: u8) -> Vec<(IpAddr, IpAddr)> {
    let host_bits = u32::from(full_prefix(first) - prefix);
    if host_bits == 0 {
        return vec![(first, last)];
    }
    let step = 1u128 << host_bits;
    let mut bases = Vec::new();
    let mut base = number(first).div_ceil(step) * step;
    while base <= number(last) {
        let ip = address(base, first);
        bases.push((ip, ip));
        base += step;
    }
    bases
}
