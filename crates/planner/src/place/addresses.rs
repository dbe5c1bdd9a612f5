//! Addresses: what an instance keeps, gets and lets go (§2.7).
//!
//! Uniqueness is global: an address is free only if no row of the director has it, whatever the network or
//! deployment. Each subnet has a cursor that only moves forward, so reserving is near-linear in the number of
//! addresses looked at.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::{AzName, DeploymentName, NetworkName};
use manifest::documents::ip::{address, full_prefix, number};
use manifest::documents::{
    GroupNetwork, IpBlock, IpRanges, ManualNetwork, ManualSubnet, Network, Problem, VipNetwork,
};

use super::instances::Slot;
use crate::input::{CurrentInstance, HeldAddress, PlanningInput};
use crate::placement::Reservation;

/// Who has an address: label and deployment; `None` for an orphaned VM.
type Holder = Option<(String, DeploymentName)>;

/// All addresses in use, and where to look for the next free one.
pub(crate) struct Addresses<'a> {
    input: &'a PlanningInput,
    used: BTreeMap<IpAddr, Holder>,
    /// Next number to try, by network and subnet.
    cursors: BTreeMap<(&'a NetworkName, usize), u128>,
}

/// What an instance holds and shall not keep.
pub(crate) type Released = Vec<(NetworkName, IpAddr)>;

/// One network's outcome for one instance.
#[derive(Debug, Clone)]
pub(crate) struct Reserved {
    pub ip: Option<IpAddr>,
    pub reservation: Reservation,
}

impl<'a> Addresses<'a> {
    pub fn new(input: &'a PlanningInput) -> Self {
        let mut used: BTreeMap<IpAddr, Holder> = BTreeMap::new();
        for foreign in &input.current.foreign_addresses {
            used.insert(foreign.address, foreign.holder.clone());
        }
        let deployment = &input.desired.manifest.name;
        for instance in &input.current.instances {
            let label = format!("{}/{}", instance.group, instance.uuid);
            for held in &instance.addresses {
                used.insert(held.address, Some((label.clone(), deployment.clone())));
            }
        }
        Addresses {
            input,
            used,
            cursors: BTreeMap::new(),
        }
    }

    /// Reserves for one instance on all networks of its group. Returns them in the group's order, and what the
    /// instance holds now and shall not keep.
    pub fn reserve(
        &mut self,
        group: &'a [GroupNetwork],
        slot: &Slot,
        label: &str,
        current: Option<&CurrentInstance>,
        fresh: bool,
    ) -> Result<(Vec<Reserved>, Released), Problem> {
        let cloud = &self.input.desired.cloud;
        let held = current.map(|c| c.addresses.as_slice()).unwrap_or_default();
        let mut taken = vec![false; held.len()];
        let mut outcomes: Vec<Option<Reserved>> = vec![None; group.len()];
        // Addresses on the network of the same name are matched before those that only fit.
        for same_name in [true, false] {
            for (i, wanted) in group.iter().enumerate() {
                if outcomes[i].is_some() || fresh {
                    continue;
                }
                let network = cloud
                    .network(&wanted.name)
                    .expect("the manifest's reader refuses unknown networks");
                let pinned = slot.pinned.get(&wanted.name).copied();
                let found = held.iter().enumerate().position(|(h, address)| {
                    !taken[h]
                        && (address.network == wanted.name) == same_name
                        && can_keep(network, address, pinned, slot.az.as_ref())
                });
                if let Some(h) = found {
                    taken[h] = true;
                    outcomes[i] = Some(Reserved {
                        ip: Some(held[h].address),
                        reservation: Reservation::Existing,
                    });
                }
            }
        }
        let mut reserved = Vec::with_capacity(group.len());
        for (wanted, outcome) in group.iter().zip(outcomes) {
            let network = cloud
                .network(&wanted.name)
                .expect("the manifest's reader refuses unknown networks");
            reserved.push(match outcome {
                Some(kept) => kept,
                None => {
                    let pinned = slot.pinned.get(&wanted.name).copied();
                    self.new_address(network, pinned, slot, label)?
                }
            });
        }
        let released = held
            .iter()
            .zip(taken)
            .filter(|(_, taken)| !taken)
            .map(|(h, _)| (h.network.clone(), h.address))
            .collect();
        Ok((reserved, released))
    }

    fn new_address(
        &mut self,
        network: &'a Network,
        pinned: Option<IpAddr>,
        slot: &Slot,
        label: &str,
    ) -> Result<Reserved, Problem> {
        let title = format!("{label} ({})", slot.index);
        let (ip, is_static) = match (network, pinned) {
            (Network::Dynamic(_), _) => {
                return Ok(Reserved {
                    ip: None,
                    reservation: Reservation::None,
                });
            }
            (Network::Manual(manual), Some(ip)) => {
                self.check_static(manual, ip)?;
                (ip, true)
            }
            (Network::Vip(_), Some(ip)) => (ip, true),
            (Network::Manual(manual), None) => {
                let ip = self
                    .lowest_free(manual, slot.az.as_ref())
                    .ok_or_else(|| exhausted(&title, "manual", &manual.name))?;
                (ip, false)
            }
            (Network::Vip(vip), None) => {
                let ip = self
                    .lowest_free_vip(vip, slot.az.as_ref())
                    .ok_or_else(|| exhausted(&title, "vip", &vip.name))?;
                (ip, false)
            }
        };
        if let Some(holder) = self.used.get(&ip) {
            let by = match holder {
                Some((label, deployment)) => {
                    format!("instance '{label}' from deployment '{deployment}'")
                }
                None => "orphaned instance".to_string(),
            };
            return Err(Problem::new(
                130008,
                format!(
                    "Failed to reserve IP '{}' for instance '{title}': already reserved by {by}",
                    IpBlock::single(ip)
                ),
            )
            .hint("Choose another address, or free this one first; it is freed when its holder is updated or deleted"));
        }
        self.used.insert(
            ip,
            Some((label.to_string(), self.input.desired.manifest.name.clone())),
        );
        Ok(Reserved {
            ip: Some(ip),
            reservation: Reservation::New { is_static },
        })
    }

    fn check_static(&self, network: &ManualNetwork, ip: IpAddr) -> Result<(), Problem> {
        let shown = IpBlock::single(ip);
        let Some(subnet) = network.subnets.iter().find(|s| s.range.contains(ip)) else {
            return Err(Problem::new(
                130012,
                format!(
                    "Provided static IP '{shown}' does not belong to any subnet in network '{}'",
                    network.name
                ),
            ));
        };
        if subnet.restricted.contains(ip) {
            return Err(Problem::new(
                130013,
                format!(
                    "Failed to reserve IP '{shown}' for network '{}': IP belongs to reserved range",
                    network.name
                ),
            ));
        }
        if !subnet.static_ips.contains(ip) {
            return Err(Problem::new(
                130009,
                format!(
                    "IP '{shown}' on network '{}' does not belong to static pool",
                    network.name
                ),
            ));
        }
        Ok(())
    }

    /// The lowest free block of the subnets that fit the AZ, in their order.
    pub fn lowest_free(
        &mut self,
        network: &'a ManualNetwork,
        az: Option<&AzName>,
    ) -> Option<IpAddr> {
        network
            .subnets
            .iter()
            .enumerate()
            .filter(|(_, s)| az.is_none_or(|az| s.azs.is_empty() || s.azs.contains(az)))
            .find_map(|(i, subnet)| self.lowest_in_subnet(&network.name, i, subnet))
    }

    fn lowest_in_subnet(
        &mut self,
        network: &'a NetworkName,
        at: usize,
        subnet: &ManualSubnet,
    ) -> Option<IpAddr> {
        let like = subnet.range.base;
        let size = 1u128 << (full_prefix(like) - subnet.prefix).min(127);
        let last = number(subnet.range.last());
        let cursor = self
            .cursors
            .entry((network, at))
            .or_insert_with(|| number(subnet.range.first()));
        while let Some(end) = cursor.checked_add(size - 1).filter(|end| *end <= last) {
            let (first, end) = (address(*cursor, like), address(end, like));
            let taken = [&subnet.restricted, &subnet.static_ips]
                .into_iter()
                .find_map(|ranges: &IpRanges| ranges.overlapping(first, end))
                .map(|(_, range_end)| range_end)
                .or_else(|| self.used.range(first..=end).next_back().map(|(ip, _)| *ip));
            match taken {
                None => return Some(first),
                // Past what is in the way, at the next multiple of the block's size.
                Some(until) => *cursor = (number(until) / size + 1) * size,
            }
        }
        None
    }

    fn lowest_free_vip(&self, network: &VipNetwork, az: Option<&AzName>) -> Option<IpAddr> {
        network
            .subnets
            .iter()
            .filter(|s| az.is_none_or(|az| s.azs.is_empty() || s.azs.contains(az)))
            .flat_map(|s| s.static_ips.iter())
            .find(|ip| !self.used.contains_key(ip))
    }

    /// Marks an address as taken by a compilation worker, so that the next one gets another.
    pub fn take(&mut self, ip: IpAddr) {
        self.used.insert(ip, None);
    }
}

fn exhausted(title: &str, kind: &str, network: &NetworkName) -> Problem {
    Problem::new(
        130011,
        format!("Failed to reserve IP for '{title}' for {kind} network '{network}': no more available"),
    )
    .hint(format!(
        "Enlarge network '{network}' in the cloud config (its range, or less under 'reserved' and 'static'), or ask \
         for fewer instances"
    ))
}

/// Whether an address that an instance holds serves what it shall have on a network.
fn can_keep(
    network: &Network,
    held: &HeldAddress,
    pinned: Option<IpAddr>,
    az: Option<&AzName>,
) -> bool {
    if let Some(ip) = pinned {
        return ip == held.address;
    }
    let fits_az = |azs: &[AzName]| match az {
        Some(az) => azs.contains(az),
        None => azs.is_empty(),
    };
    match network {
        Network::Dynamic(_) => false,
        Network::Manual(manual) => manual.subnets.iter().any(|s| {
            s.range.contains(held.address)
                && fits_az(&s.azs)
                && !s.restricted.contains(held.address)
                && !s.static_ips.contains(held.address)
        }),
        Network::Vip(vip) => {
            held.network == vip.name
                && vip.subnets.iter().any(|s| {
                    (s.azs.is_empty() || fits_az(&s.azs)) && s.static_ips.contains(held.address)
                })
        }
    }
}
