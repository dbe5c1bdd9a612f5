//! Placement of a group with static addresses (§2.6): the addresses decide which AZs are used.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::{AzName, NetworkName};
use manifest::documents::{CloudConfig, InstanceGroup, IpBlock, Network, Problem};

use super::azs::{Existing, Picked, Pinned};

/// How many ways of pinning addresses to AZs are tried before the distribution counts as impossible.
const MOST_TRIES: u32 = 200_000;

/// One static address of the group.
#[derive(Debug, Clone)]
struct StaticIp {
    ip: IpAddr,
    /// AZs it fits; `None` is "no AZ". One, once pinned.
    azs: Vec<Option<AzName>>,
    claimed: bool,
}

/// The static addresses of one network.
#[derive(Debug, Clone)]
struct StaticNetwork {
    name: NetworkName,
    ips: Vec<StaticIp>,
}

/// Whether placement goes by static addresses: some network that is no VIP network lists any.
pub(super) fn applies(group: &InstanceGroup, cloud: &CloudConfig) -> bool {
    group
        .networks
        .iter()
        .any(|n| n.static_ips.is_some() && !matches!(cloud.network(&n.name), Some(Network::Vip(_))))
}

/// Places `group.instances` instances on the group's static addresses.
pub(super) fn pick(
    group: &InstanceGroup,
    cloud: &CloudConfig,
    existing: &[Existing],
) -> Result<Picked, Problem> {
    let mut board = Board {
        group,
        networks: read_networks(group, cloud)?,
        left: group.instances as usize,
        picked: Picked::default(),
    };
    board.keep_holders(existing)?;
    board.keep_others(existing);
    board.pin()?;
    board.place_new()?;
    board.picked.kept.sort_by_key(|(i, _)| *i);
    board.picked.obsolete.sort_unstable();
    Ok(board.picked)
}

fn read_networks(
    group: &InstanceGroup,
    cloud: &CloudConfig,
) -> Result<Vec<StaticNetwork>, Problem> {
    let name = &group.name;
    let mut networks = Vec::new();
    for wanted in &group.networks {
        let (Some(ips), Some(Network::Manual(network))) =
            (&wanted.static_ips, cloud.network(&wanted.name))
        else {
            continue;
        };
        let mut statics = Vec::with_capacity(ips.len());
        for ip in ips {
            let shown = IpBlock::single(*ip);
            let Some(subnet) = network.subnets.iter().find(|s| s.static_ips.contains(*ip)) else {
                return Err(Problem::new(
                    150002,
                    format!(
                        "Instance group '{name}' with network '{}' declares static ip '{shown}', which belongs to \
                         no subnet",
                        wanted.name
                    ),
                )
                .hint(format!(
                    "List it under 'static' of a subnet of network '{}' in the cloud config",
                    wanted.name
                )));
            };
            let azs: Vec<Option<AzName>> = match (&group.azs, subnet.azs.as_slice()) {
                (None, []) => vec![None],
                (None, _) => {
                    return Err(Problem::new(
                        140016,
                        format!(
                            "Instance group '{name}' subnets declare availability zones and the instance group does \
                             not"
                        ),
                    ));
                }
                (Some(wanted), azs) => azs
                    .iter()
                    .filter(|az| wanted.contains(az))
                    .cloned()
                    .map(Some)
                    .collect(),
            };
            if azs.is_empty() {
                return Err(Problem::new(
                    150007,
                    format!(
                        "Instance group '{name}' declares static ip '{shown}' which does not belong to any of the \
                         instance group's availability zones."
                    ),
                ));
            }
            statics.push(StaticIp {
                ip: *ip,
                azs,
                claimed: false,
            });
        }
        networks.push(StaticNetwork {
            name: wanted.name.clone(),
            ips: statics,
        });
    }
    Ok(networks)
}

struct Board<'a> {
    group: &'a InstanceGroup,
    networks: Vec<StaticNetwork>,
    left: usize,
    picked: Picked,
}

impl Board<'_> {
    /// Instances that hold a listed address keep it.
    fn keep_holders(&mut self, existing: &[Existing]) -> Result<(), Problem> {
        let mut holders: BTreeMap<usize, Pinned> = BTreeMap::new();
        for (i, instance) in existing.iter().enumerate() {
            for network in &mut self.networks {
                let Some(held) = network
                    .ips
                    .iter_mut()
                    .find(|s| !s.claimed && instance.addresses.contains(&s.ip))
                else {
                    continue;
                };
                if self.left == 0 && !holders.contains_key(&i) {
                    // Out of slots: its address must not go to anyone else in this plan either.
                    held.claimed = true;
                    continue;
                }
                if !held.azs.contains(&instance.az) {
                    return Err(Problem::new(
                        130010,
                        format!(
                            "Existing instance '{}/{}' is using IP '{}' in availability zone '{}'",
                            self.group.name,
                            instance.index,
                            IpBlock::single(held.ip),
                            instance.az.as_ref().map_or("", |az| az.as_str())
                        ),
                    ));
                }
                held.claimed = true;
                if !holders.contains_key(&i) {
                    self.left -= 1;
                }
                holders
                    .entry(i)
                    .or_default()
                    .insert(network.name.clone(), held.ip);
            }
        }
        // A holder on one network takes free addresses of its AZ on the others.
        for (i, mut pinned) in holders {
            let missing: Vec<usize> = (0..self.networks.len())
                .filter(|n| !pinned.contains_key(&self.networks[*n].name))
                .collect();
            let az = &existing[i].az;
            if missing.iter().all(|n| self.free_in(*n, az).is_some()) {
                for n in missing {
                    self.claim(n, az, &mut pinned);
                }
                self.picked.kept.push((i, pinned));
            } else {
                self.left += 1;
                self.picked.obsolete.push(i);
            }
        }
        Ok(())
    }

    /// Others reuse a slot where every network still has an address in their AZ.
    fn keep_others(&mut self, existing: &[Existing]) {
        let kept: Vec<usize> = self.picked.kept.iter().map(|(i, _)| *i).collect();
        for (i, instance) in existing.iter().enumerate() {
            if kept.contains(&i) || self.picked.obsolete.contains(&i) {
                continue;
            }
            let fits = self.left > 0
                && (0..self.networks.len()).all(|n| self.free_in(n, &instance.az).is_some());
            if !fits {
                self.picked.obsolete.push(i);
                continue;
            }
            let mut pinned = Pinned::new();
            for n in 0..self.networks.len() {
                self.claim(n, &instance.az, &mut pinned);
            }
            self.left -= 1;
            self.picked.kept.push((i, pinned));
        }
    }

    fn free_in(&self, network: usize, az: &Option<AzName>) -> Option<usize> {
        self.networks[network]
            .ips
            .iter()
            .position(|s| !s.claimed && s.azs.contains(az))
    }

    fn claim(&mut self, network: usize, az: &Option<AzName>, pinned: &mut Pinned) {
        if let Some(at) = self.free_in(network, az) {
            let network = &mut self.networks[network];
            network.ips[at].claimed = true;
            pinned.insert(network.name.clone(), network.ips[at].ip);
        }
    }

    /// Fixes one AZ for every free address, such that all networks have the same number in each AZ.
    fn pin(&mut self) -> Result<(), Problem> {
        let fault = || {
            Problem::new(
                150002,
                format!(
                    "Failed to evenly distribute static IPs between zones for instance group '{}'",
                    self.group.name
                ),
            )
        };
        let mut counts: Vec<BTreeMap<Option<AzName>, usize>> = Vec::new();
        let mut open: Vec<(usize, usize)> = Vec::new();
        for (n, network) in self.networks.iter().enumerate() {
            let mut count = BTreeMap::new();
            for (i, ip) in network.ips.iter().enumerate().filter(|(_, ip)| !ip.claimed) {
                match ip.azs.as_slice() {
                    [only] => *count.entry(only.clone()).or_default() += 1,
                    _ => open.push((n, i)),
                }
            }
            counts.push(count);
        }
        let mut chosen = vec![None; open.len()];
        let mut tries = 0;
        if !self.distribute(&open, 0, &mut counts, &mut chosen, &mut tries) {
            return Err(fault());
        }
        for ((n, i), az) in open.into_iter().zip(chosen) {
            self.networks[n].ips[i].azs =
                vec![az.expect("distribute chose an AZ for every open address")];
        }
        Ok(())
    }

    fn distribute(
        &self,
        open: &[(usize, usize)],
        at: usize,
        counts: &mut [BTreeMap<Option<AzName>, usize>],
        chosen: &mut [Option<Option<AzName>>],
        tries: &mut u32,
    ) -> bool {
        *tries += 1;
        if *tries > MOST_TRIES {
            return false;
        }
        let Some((n, i)) = open.get(at).copied() else {
            return counts.windows(2).all(|pair| pair[0] == pair[1]);
        };
        let mut azs = self.networks[n].ips[i].azs.clone();
        // What another network has more of first, then the least used AZ, then by name.
        azs.sort_by_key(|az| {
            let mine = counts[n].get(az).copied().unwrap_or(0);
            let most = counts
                .iter()
                .filter_map(|c| c.get(az))
                .max()
                .copied()
                .unwrap_or(0);
            (mine >= most, mine, az.clone())
        });
        for az in azs {
            *counts[n].entry(az.clone()).or_default() += 1;
            chosen[at] = Some(az.clone());
            if self.distribute(open, at + 1, counts, chosen, tries) {
                return true;
            }
            let count = counts[n].get_mut(&az).expect("it was counted just above");
            *count -= 1;
            if *count == 0 {
                counts[n].remove(&az);
            }
        }
        false
    }

    /// Each new instance takes the next address of the first network, and of the same AZ on the others.
    fn place_new(&mut self) -> Result<(), Problem> {
        while self.left > 0 {
            let az = self.networks[0]
                .ips
                .iter()
                .find(|s| !s.claimed)
                .map(|s| s.azs[0].clone())
                .filter(|az| (0..self.networks.len()).all(|n| self.free_in(n, az).is_some()));
            let Some(az) = az else {
                return Err(Problem::new(
                    130010,
                    "Failed to distribute static IPs to satisfy existing instance reservations",
                ));
            };
            let mut pinned = Pinned::new();
            for n in 0..self.networks.len() {
                self.claim(n, &az, &mut pinned);
            }
            self.left -= 1;
            self.picked.new.push((az, pinned));
        }
        Ok(())
    }
}
