//! What is wrong with a deployment, in the original's words (spec cli §17.1).

use super::deployment::{Deployment, Group, GroupNetwork, Network};
use super::manifest::{ReleaseRef, archive_problems};
use super::read::{all, is_blank};
use super::releases::Releases;
use crate::error::{Result, Within};
use manifest::documents::IpBlock;
use std::net::IpAddr;

impl Deployment {
    /// Checks it by itself and against the names of the releases.
    pub fn validate(&self, releases: &[ReleaseRef]) -> Result<()> {
        let mut problems = Vec::new();
        if is_blank(&self.name) {
            problems.push("name must be provided".to_owned());
        }
        for (i, network) in self.networks.iter().enumerate() {
            network_problems(i, network, &mut problems);
        }
        for (i, pool) in self.resource_pools.iter().enumerate() {
            let at = format!("resource_pools[{i}]");
            if is_blank(&pool.name) {
                problems.push(format!("{at}.name must be provided"));
            }
            if is_blank(&pool.network) {
                problems.push(format!("{at}.network must be provided"));
            } else if !self.networks.iter().any(|n| n.name == pool.network) {
                problems.push(format!("{at}.network must be the name of a network"));
            }
            archive_problems(&format!("{at}.stemcell"), &pool.stemcell, &mut problems);
        }
        for (i, pool) in self.disk_pools.iter().enumerate() {
            if is_blank(&pool.name) {
                problems.push(format!("disk_pools[{i}].name must be provided"));
            }
            if pool.size <= 0 {
                problems.push(format!("disk_pools[{i}].disk_size must be > 0"));
            }
        }
        if self.groups.len() > 1 {
            problems.push("jobs must be of size 1".to_owned());
        }
        for (i, group) in self.groups.iter().enumerate() {
            self.group_problems(i, group, &mut problems);
            job_problems(i, group, releases, &mut problems);
        }
        all(problems).within(|| "Validating deployment manifest")
    }

    fn group_problems(&self, i: usize, group: &Group, problems: &mut Vec<String>) {
        let at = format!("jobs[{i}]");
        if is_blank(&group.name) {
            problems.push(format!("{at}.name must be provided"));
        }
        if group.persistent_disk < 0 {
            problems.push(format!("{at}.persistent_disk must be >= 0"));
        }
        let disk_pool = &group.persistent_disk_pool;
        if !disk_pool.is_empty() && !self.disk_pools.iter().any(|pool| pool.name == *disk_pool) {
            problems.push(format!(
                "{at}.persistent_disk_pool must be the name of a disk pool"
            ));
        }
        if group.instances < 0 {
            problems.push(format!("{at}.instances must be >= 0"));
        }
        if group.networks.is_empty() {
            problems.push(format!("{at}.networks must be a non-empty array"));
        }
        let pool = &group.resource_pool;
        if is_blank(pool) {
            problems.push(format!("{at}.resource_pool must be provided"));
        } else if !self.resource_pools.iter().any(|other| other.name == *pool) {
            problems.push(format!(
                "{at}.resource_pool must be the name of a resource pool"
            ));
        }
        for (j, wanted) in group.networks.iter().enumerate() {
            self.group_network_problems(&format!("{at}.networks[{j}]"), wanted, problems);
        }
        for default in ["dns", "gateway"] {
            let count = group
                .networks
                .iter()
                .flat_map(|network| &network.defaults)
                .filter(|given| *given == default)
                .count();
            if group.networks.len() > 1 && count == 0 {
                problems.push(format!(
                    "with multiple networks, a default for '{default}' must be specified"
                ));
            } else if count > 1 {
                problems.push(format!(
                    "only one network can be the default for '{default}'"
                ));
            }
        }
        if !group.lifecycle.is_empty() && group.lifecycle != "service" {
            problems.push(format!(
                "{at}.lifecycle must be 'service' ('{}' not supported)",
                group.lifecycle
            ));
        }
    }

    fn group_network_problems(&self, at: &str, wanted: &GroupNetwork, problems: &mut Vec<String>) {
        if is_blank(&wanted.name) {
            problems.push(format!("{at}.name must be provided"));
        }
        let network = self.networks.iter().rfind(|n| n.name == wanted.name);
        if network.is_none() {
            problems.push(format!("{at} not found in networks"));
        }
        for (k, ip) in wanted.static_ips.iter().enumerate() {
            let Ok(address) = ip.parse::<IpAddr>() else {
                problems.push(format!("{at}.static_ips[{k}] must be a valid IP"));
                continue;
            };
            let inside = network.is_none_or(|network| {
                let mut subnets = network.subnets.iter();
                network.kind != "manual"
                    || subnets.any(|subnet| {
                        cidr(&subnet.range).is_some_and(|range| range.contains(address))
                    })
            });
            if !inside {
                problems.push(format!("{at} static ip '{ip}' must be within subnet range"));
            }
        }
        for (k, default) in wanted.defaults.iter().enumerate() {
            if default != "dns" && default != "gateway" {
                problems.push(format!("{at}.default[{k}] must be 'dns' or 'gateway'"));
            }
        }
    }

    /// Checks that the releases have the jobs.
    pub fn validate_jobs(&self, releases: &Releases) -> Result<()> {
        let mut problems = Vec::new();
        for (i, group) in self.groups.iter().enumerate() {
            for (j, job) in group.jobs.iter().enumerate() {
                match releases.find(&job.release) {
                    None => problems.push(format!(
                        "jobs[{i}].templates[{j}].release '{}' must refer to release in releases",
                        job.release
                    )),
                    Some(release) if release.job(&job.name).is_none() => problems.push(format!(
                        "jobs[{i}].templates[{j}] must refer to a job in '{}', but there is no job named '{}'",
                        release.name(), job.name
                    )),
                    Some(_) => {}
                }
            }
        }
        all(problems).within(|| "Validating deployment jobs refer to jobs in release")
    }
}

fn job_problems(i: usize, group: &Group, releases: &[ReleaseRef], problems: &mut Vec<String>) {
    for (j, job) in group.jobs.iter().enumerate() {
        let at = format!("jobs[{i}].templates[{j}]");
        if is_blank(&job.name) {
            problems.push(format!("{at}.name must be provided"));
        }
        if group.jobs[..j].iter().any(|other| other.name == job.name) {
            problems.push(format!("{at}.name '{}' must be unique", job.name));
        }
        if is_blank(&job.release) {
            problems.push(format!("{at}.release must be provided"));
        } else if !releases.iter().any(|release| release.name == job.release) {
            problems.push(format!(
                "{at}.release '{}' must refer to release in releases",
                job.release
            ));
        }
    }
}

fn network_problems(i: usize, network: &Network, problems: &mut Vec<String>) {
    let at = format!("networks[{i}]");
    if is_blank(&network.name) {
        problems.push(format!("{at}.name must be provided"));
    }
    if !["dynamic", "manual", "vip"].contains(&network.kind.as_str()) {
        problems.push(format!("{at}.type must be 'manual', 'dynamic', or 'vip'"));
    }
    if network.kind != "manual" {
        return;
    }
    let [subnet] = network.subnets.as_slice() else {
        problems.push(format!("{at}.subnets must be of size 1"));
        return;
    };
    let range = cidr(&subnet.range);
    if is_blank(&subnet.range) {
        problems.push(format!("{at}.subnets[0].range must be provided"));
    } else if range.is_none() {
        problems.push(format!("{at}.subnets[0].range must be an ip range"));
    }
    if is_blank(&subnet.gateway) {
        problems.push(format!("{at}.subnets[0].gateway must be provided"));
        return;
    }
    let Some(range) = range else { return };
    let text = &subnet.gateway;
    let gateway = text.parse::<IpAddr>().ok();
    if gateway.is_none() {
        problems.push(format!("{at}.subnets[0].gateway must be an ip"));
    }
    if !gateway.is_some_and(|gateway| range.contains(gateway)) {
        problems.push(format!(
            "subnet gateway '{text}' must be within the specified range '{range}'"
        ));
    }
    if gateway == Some(range.first()) {
        problems.push(format!(
            "subnet gateway can't be the network address '{text}'"
        ));
    }
    if gateway == Some(range.last()) {
        problems.push(format!(
            "subnet gateway can't be the broadcast address '{text}'"
        ));
    }
}

/// Reads CIDR notation; single addresses and netmasks, which are blocks elsewhere, are none here.
pub fn cidr(text: &str) -> Option<IpBlock> {
    let (address, prefix) = text.split_once('/')?;
    address.parse::<IpAddr>().ok()?;
    prefix.parse::<u8>().ok()?;
    IpBlock::parse(text)
}
