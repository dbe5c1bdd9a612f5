//! The third reader of a `create-env` manifest: what is deployed (spec cli §17.1). Checks are in `validation`.

use super::manifest::{Archive, JobRef, absolute};
use super::read::{get, integer, list, object, optional_object, text, texts};
use super::validation::cidr;
use crate::error::{Error, Result, Within};
use manifest::documents::IpBlock;
use manifest::yaml::Value;
use serde_json::{Map, Value as Json, json};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

type Properties = Map<String, Json>;

/// No `Debug`: properties hold credentials.
pub struct Deployment {
    pub name: String,
    pub networks: Vec<Network>,
    pub resource_pools: Vec<ResourcePool>,
    pub disk_pools: Vec<DiskPool>,
    pub groups: Vec<Group>,
    pub properties: Properties,
    pub tags: Properties,
    pub watch: WatchTime,
}

pub struct Network {
    pub name: String,
    pub kind: String,
    pub cloud_properties: Properties,
    pub dns: Vec<String>,
    pub subnets: Vec<Subnet>,
}

pub struct Subnet {
    pub range: String,
    pub gateway: String,
    pub dns: Vec<String>,
    pub cloud_properties: Properties,
}

pub struct ResourcePool {
    pub name: String,
    pub network: String,
    pub cloud_properties: Properties,
    pub env: Properties,
    pub stemcell: Archive,
}

#[derive(Clone)]
pub struct DiskPool {
    pub name: String,
    /// MiB.
    pub size: i64,
    pub cloud_properties: Properties,
}

/// An instance group, of which there is one. The original still calls it a job.
pub struct Group {
    pub name: String,
    pub instances: i64,
    pub lifecycle: String,
    pub jobs: Vec<JobRef>,
    pub networks: Vec<GroupNetwork>,
    /// MiB.
    pub persistent_disk: i64,
    pub persistent_disk_pool: String,
    pub resource_pool: String,
    pub properties: Properties,
}

pub struct GroupNetwork {
    pub name: String,
    pub defaults: Vec<String>,
    pub static_ips: Vec<String>,
}

/// When to look first whether the jobs run, and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchTime {
    pub start: Duration,
    pub end: Duration,
}

impl Default for WatchTime {
    fn default() -> Self {
        WatchTime {
            start: Duration::ZERO,
            end: Duration::from_secs(300),
        }
    }
}

impl WatchTime {
    fn parse(range: &str) -> Result<Self> {
        let Some((min, max)) = range
            .split_once('-')
            .filter(|(_, rest)| !rest.contains('-'))
        else {
            return Err(Error::message(format!(
                "Invalid watch time range '{range}'"
            )));
        };
        let number = |part: &str, what: &str| {
            part.trim().parse::<u64>().map_err(|_| {
                Error::message(format!(
                    "strconv.Atoi: parsing \"{}\": invalid syntax",
                    part.trim()
                ))
                .within(format!("Non-positive number as watch time {what} {part}"))
            })
        };
        let (start, end) = (number(min, "minimum")?, number(max, "maximum")?);
        if end < start {
            return Err(Error::message(format!(
                "Watch time must have maximum greater than or equal minimum {range}"
            )));
        }
        Ok(WatchTime {
            start: Duration::from_millis(start),
            end: Duration::from_millis(end),
        })
    }
}

impl Deployment {
    /// Reads without checking.
    pub fn read(path: &Path, document: &Value) -> Result<Self> {
        Self::parse(path, document)
            .within(|| "Unmarshalling BOSH deployment manifest")
            .within(|| format!("Parsing deployment manifest '{}'", path.display()))
    }

    fn parse(path: &Path, document: &Value) -> Result<Self> {
        let groups = match (list(document, "jobs"), list(document, "instance_groups")) {
            ([_, ..], [_, ..]) => {
                return Err(Error::message(
                    "Deployment specifies both jobs and instance_groups keys, only one is allowed",
                ));
            }
            (jobs, []) => jobs,
            (_, groups) => groups,
        };
        let nothing = Value::Null;
        let update = get(document, "update").unwrap_or(&nothing);
        let watch = match get(update, "update_watch_time") {
            None => WatchTime::default(),
            Some(_) => WatchTime::parse(&text(update, "update_watch_time"))
                .within(|| "Parsing update watch time")?,
        };
        Ok(Deployment {
            name: text(document, "name"),
            networks: items(document, "networks", network)?,
            resource_pools: items(document, "resource_pools", |item, at| {
                resource_pool(path, item, at)
            })?,
            disk_pools: items(document, "disk_pools", disk_pool)?,
            groups: groups
                .iter()
                .enumerate()
                .map(|(i, item)| group(item, &format!("jobs[{i}]")))
                .collect::<Result<_>>()?,
            properties: object(document, "properties", "the manifest")?,
            tags: object(document, "tags", "the manifest")?,
            watch,
        })
    }

    /// The one group, once checked.
    pub fn group(&self) -> Result<&Group> {
        match self.groups.as_slice() {
            [group] => Ok(group),
            groups => Err(Error::message(format!(
                "There must only be one job, found {}",
                groups.len()
            ))),
        }
    }

    /// The pool that the group's VM is made from.
    pub fn resource_pool(&self) -> Result<&ResourcePool> {
        let group = self.group()?;
        let mut pools = self.resource_pools.iter();
        pools
            .find(|pool| pool.name == group.resource_pool)
            .ok_or_else(|| {
                Error::message(format!(
                    "Could not find resource pool '{}' for job '{}'",
                    group.resource_pool, group.name
                ))
            })
    }

    /// The persistent disk wanted, if any.
    pub fn disk(&self) -> Result<Option<DiskPool>> {
        let group = self.group()?;
        let pool = if group.persistent_disk_pool.is_empty() {
            DiskPool {
                name: String::new(),
                size: group.persistent_disk,
                cloud_properties: Map::new(),
            }
        } else {
            let mut pools = self.disk_pools.iter();
            pools
                .find(|pool| pool.name == group.persistent_disk_pool)
                .cloned()
                .ok_or_else(|| {
                    Error::message(format!(
                        "Could not find persistent disk pool '{}' for job '{}'",
                        group.persistent_disk_pool, group.name
                    ))
                })?
        };
        Ok((pool.size > 0).then_some(pool))
    }

    /// The group's networks as CPIs and agents want them.
    pub fn interfaces(&self) -> Result<Map<String, Json>> {
        let group = self.group()?;
        let mut interfaces = Map::new();
        for wanted in &group.networks {
            let mut found = self.networks.iter();
            let Some(network) = found.find(|network| network.name == wanted.name) else {
                continue; // refused by the validation
            };
            let mut interface = network.interface(wanted)?;
            if group.networks.len() == 1 {
                interface.insert("default".into(), json!(["dns", "gateway"]));
            }
            interfaces.insert(wanted.name.clone(), Json::Object(interface));
        }
        Ok(interfaces)
    }
}

impl Network {
    fn interface(&self, wanted: &GroupNetwork) -> Result<Map<String, Json>> {
        let mut interface = Map::new();
        interface.insert("type".into(), self.kind.clone().into());
        match (self.kind.as_str(), self.subnets.first()) {
            ("manual", Some(subnet)) => {
                let range = cidr(&subnet.range)
                    .ok_or_else(|| Error::message("Failed to parse subnet range"))?;
                interface.insert("gateway".into(), subnet.gateway.clone().into());
                if !subnet.dns.is_empty() {
                    interface.insert("dns".into(), json!(subnet.dns));
                }
                interface.insert("netmask".into(), netmask(range).into());
                interface.insert("cloud_properties".into(), json!(subnet.cloud_properties));
            }
            _ => {
                interface.insert("cloud_properties".into(), json!(self.cloud_properties));
            }
        }
        if self.kind == "dynamic" && !self.dns.is_empty() {
            interface.insert("dns".into(), json!(self.dns));
        }
        if let Some(ip) = wanted.static_ips.first() {
            interface.insert("ip".into(), ip.clone().into());
        }
        if !wanted.defaults.is_empty() {
            interface.insert("default".into(), json!(wanted.defaults));
        }
        Ok(interface)
    }
}

/// Dotted, or eight groups.
fn netmask(range: IpBlock) -> String {
    match range.netmask() {
        IpAddr::V4(mask) => mask.to_string(),
        IpAddr::V6(mask) => mask
            .segments()
            .map(|segment| format!("{segment:04x}"))
            .join(":"),
    }
}

fn items<T>(
    document: &Value,
    key: &str,
    mut read: impl FnMut(&Value, &str) -> Result<T>,
) -> Result<Vec<T>> {
    list(document, key)
        .iter()
        .enumerate()
        .map(|(i, item)| read(item, &format!("{key}[{i}]")))
        .collect()
}

fn network(item: &Value, at: &str) -> Result<Network> {
    let subnet = |item: &Value, inner: &str| {
        Ok(Subnet {
            range: text(item, "range"),
            gateway: text(item, "gateway"),
            dns: texts(item, "dns"),
            cloud_properties: object(item, "cloud_properties", &format!("{at}.{inner}"))?,
        })
    };
    Ok(Network {
        name: text(item, "name"),
        kind: text(item, "type"),
        cloud_properties: object(item, "cloud_properties", at)?,
        dns: texts(item, "dns"),
        subnets: items(item, "subnets", subnet)?,
    })
}

fn resource_pool(path: &Path, item: &Value, at: &str) -> Result<ResourcePool> {
    let nothing = Value::Null;
    let stemcell = get(item, "stemcell").unwrap_or(&nothing);
    Ok(ResourcePool {
        name: text(item, "name"),
        network: text(item, "network"),
        cloud_properties: object(item, "cloud_properties", at)?,
        env: object(item, "env", at)?,
        stemcell: Archive {
            description: "stemcell".to_owned(),
            url: absolute(path, &text(stemcell, "url")),
            sha1: text(stemcell, "sha1"),
        },
    })
}

fn disk_pool(item: &Value, at: &str) -> Result<DiskPool> {
    Ok(DiskPool {
        name: text(item, "name"),
        size: integer(item, "disk_size", at)?,
        cloud_properties: object(item, "cloud_properties", at)?,
    })
}

fn group(item: &Value, at: &str) -> Result<Group> {
    let name = text(item, "name");
    let jobs = match (list(item, "templates"), list(item, "jobs")) {
        ([_, ..], [_, ..]) => {
            return Err(Error::message(format!(
                "Deployment specifies both templates and jobs keys for instance_group {name}, only one is allowed"
            )));
        }
        (templates, []) => templates,
        (_, jobs) => jobs,
    };
    let job = |item: &Value| {
        Ok(JobRef {
            name: text(item, "name"),
            release: text(item, "release"),
            properties: optional_object(item, "properties", at)?,
        })
    };
    let network = |item: &Value| GroupNetwork {
        name: text(item, "name"),
        defaults: texts(item, "default"),
        static_ips: texts(item, "static_ips"),
    };
    Ok(Group {
        instances: integer(item, "instances", at)?,
        lifecycle: text(item, "lifecycle"),
        jobs: jobs.iter().map(job).collect::<Result<_>>()?,
        networks: list(item, "networks").iter().map(network).collect(),
        persistent_disk: integer(item, "persistent_disk", at)?,
        persistent_disk_pool: text(item, "persistent_disk_pool"),
        resource_pool: text(item, "resource_pool"),
        properties: object(item, "properties", at)?,
        name,
    })
}
