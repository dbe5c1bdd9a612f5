//! Who the instances are: migration, placement, indexes, bootstrap, order, desired states (§2.2 - §2.5, §2.8, §2.9).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use domain::{AzName, InstanceGroupName, InstanceUuid, NetworkName};
use manifest::documents::{InstanceGroup, Network, Problem, Problems, RequestedState, inspect};
use serde_json::json;

use super::azs::{Existing, Pinned};
use super::draft::Draft;
use super::{azs, static_ips};
use crate::ids::{IdKind, IdSource};
use crate::input::{InstanceState, PlanningInput};

/// One instance that shall be, before it has addresses.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub current: Option<usize>,
    pub uuid: InstanceUuid,
    pub index: u32,
    pub az: Option<AzName>,
    pub bootstrap: bool,
    pub ignore: bool,
    pub state: InstanceState,
    pub passing: Option<RequestedState>,
    /// Static addresses of manual and VIP networks.
    pub pinned: BTreeMap<NetworkName, IpAddr>,
}

/// One group: those that shall be, in update order, and places of current ones that go.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub slots: Vec<Slot>,
    pub obsolete: Vec<usize>,
}

/// All groups, and the current instances of groups that are gone.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    pub groups: Vec<Placed>,
    pub obsolete: Vec<usize>,
}

pub(super) fn place_instances(
    input: &PlanningInput,
    drafts: &[Draft],
    ids: &mut dyn IdSource,
) -> Result<Instances, Problems> {
    let mut problems = Problems::default();
    let mut rows: BTreeMap<&InstanceGroupName, Vec<usize>> = BTreeMap::new();
    for (i, instance) in input.current.instances.iter().enumerate() {
        rows.entry(&instance.group).or_default().push(i);
    }
    for list in rows.values_mut() {
        list.sort_by_key(|i| input.current.instances[*i].index);
    }
    let wanted: BTreeSet<&InstanceGroupName> = drafts.iter().map(|d| &d.group.name).collect();
    let mut claimed: BTreeMap<&InstanceGroupName, &InstanceGroupName> = BTreeMap::new();
    let mut groups = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let mut group = GroupPlacer {
            input,
            group: draft.group,
            indexes: Indexes::default(),
            existing: Vec::new(),
        };
        let taken = group
            .take_existing(&rows, &wanted, &mut claimed)
            .and_then(|()| group.place(ids));
        groups.push(problems.take_all(taken).unwrap_or_default());
    }
    let mut obsolete = Vec::new();
    for (name, list) in &rows {
        if wanted.contains(name) || claimed.contains_key(name) {
            continue;
        }
        if list.iter().any(|i| input.current.instances[*i].ignore) {
            problems.push(Problem::new(
                190021,
                format!(
                    "You are trying to delete instance group '{name}', which contains ignored instance(s). Operation \
                     not allowed."
                ),
            ));
        }
        obsolete.extend(list);
    }
    problems.or(Instances { groups, obsolete })
}

/// Smallest numbers that no row of the group uses.
#[derive(Debug, Default)]
struct Indexes {
    used: BTreeSet<u32>,
    next: u32,
}

impl Indexes {
    fn fresh(&mut self) -> u32 {
        while self.used.contains(&self.next) {
            self.next += 1;
        }
        self.used.insert(self.next);
        self.next
    }
}

struct GroupPlacer<'a> {
    input: &'a PlanningInput,
    group: &'a InstanceGroup,
    indexes: Indexes,
    existing: Vec<Existing>,
}

impl<'a> GroupPlacer<'a> {
    /// Collects the group's own rows and those it inherits from others.
    fn take_existing(
        &mut self,
        rows: &BTreeMap<&'a InstanceGroupName, Vec<usize>>,
        wanted: &BTreeSet<&'a InstanceGroupName>,
        claimed: &mut BTreeMap<&'a InstanceGroupName, &'a InstanceGroupName>,
    ) -> Result<(), Problems> {
        let name = &self.group.name;
        let current = &self.input.current.instances;
        let own = rows.get(name).map(Vec::as_slice).unwrap_or_default();
        self.indexes.used = own.iter().map(|i| current[*i].index).collect();
        let own_az = self.group.migrated_from.iter().find(|m| m.name == *name);
        for i in own {
            let az = self.migrated_az(*i, name, own_az.and_then(|m| m.az.as_ref()), false)?;
            self.add(*i, current[*i].index, az);
        }
        for entry in &self.group.migrated_from {
            if entry.name == *name {
                continue;
            }
            let old = &entry.name;
            let fault = |why: String| {
                Problems::from(Problem::new(
                    190018,
                    format!("Failed to migrate instance group '{old}' to '{name}'{why}"),
                ))
            };
            if wanted.contains(old) {
                return Err(fault(format!(
                    ". A deployment can not migrate an instance group and also specify it. Please remove instance \
                     group '{old}'."
                )));
            }
            match claimed.get(old) {
                Some(other) if *other != name => {
                    return Err(fault(
                        ". An instance group may be migrated to only one instance group.".into(),
                    ));
                }
                Some(_) => continue, // Several entries may name one group, one per AZ; the first has taken all.
                None => {}
            }
            let Some((key, list)) = rows.get_key_value(old) else {
                continue;
            };
            claimed.insert(key, name);
            let entries: Vec<_> = self
                .group
                .migrated_from
                .iter()
                .filter(|m| m.name == *old)
                .collect();
            for i in list {
                let stored = current[*i].az.as_ref();
                let entry = entries
                    .iter()
                    .find(|m| stored.is_some() && m.az.as_ref() == stored)
                    .unwrap_or(&entries[0]);
                let az = self.migrated_az(*i, old, entry.az.as_ref(), true)?;
                let index = self.indexes.fresh();
                self.add(*i, index, az);
            }
        }
        self.existing.sort_by_key(|e| e.index);
        Ok(())
    }

    fn add(&mut self, current: usize, index: u32, az: Option<AzName>) {
        let row = &self.input.current.instances[current];
        self.existing.push(Existing {
            current,
            index,
            az,
            ignore: row.ignore,
            has_disk: !row.disks.is_empty(),
            addresses: row.addresses.iter().map(|a| a.address).collect(),
        });
    }

    /// The AZ an instance has after migration (§2.5).
    fn migrated_az(
        &self,
        current: usize,
        old: &InstanceGroupName,
        entry: Option<&AzName>,
        required: bool,
    ) -> Result<Option<AzName>, Problem> {
        let name = &self.group.name;
        let fault = |why: String| {
            Err(Problem::new(
                190018,
                format!("Failed to migrate instance group '{old}' to '{name}', {why}"),
            ))
        };
        match (&self.input.current.instances[current].az, entry) {
            (Some(stored), Some(given)) if stored != given => fault(format!(
                "'{old}' belongs to availability zone '{stored}' and manifest specifies '{given}'"
            )),
            (Some(stored), _) => Ok(Some(stored.clone())),
            (None, Some(given)) => Ok(Some(given.clone())),
            (None, None) if required && self.group.azs.is_some() => {
                fault(format!("availability zone of '{old}' is not specified"))
            }
            (None, None) => Ok(None),
        }
    }

    fn place(&mut self, ids: &mut dyn IdSource) -> Result<Placed, Problems> {
        self.check_ignored()?;
        let cloud = &self.input.desired.cloud;
        let mut picked = if static_ips::applies(self.group, cloud) {
            static_ips::pick(self.group, cloud, &self.existing)?
        } else {
            let ties = self.input.desired.manifest.features.randomize_az_placement;
            azs::pick(
                self.group.instances as usize,
                self.group.azs.as_deref(),
                &self.existing,
                ties.then_some(&mut *ids),
            )
        };
        let mut pins: Vec<&mut Pinned> = Vec::new();
        let mut holders: Vec<Option<&Existing>> = Vec::new();
        for (i, pinned) in &mut picked.kept {
            pins.push(pinned);
            holders.push(Some(&self.existing[*i]));
        }
        for (_, pinned) in &mut picked.new {
            pins.push(pinned);
            holders.push(None);
        }
        pin_vips(self.group, self.input, &holders, &mut pins);
        let mut problems = Problems::default();
        let mut slots = Vec::with_capacity(self.group.instances as usize);
        for (i, pinned) in picked.kept {
            let existing = &self.existing[i];
            let row = &self.input.current.instances[existing.current];
            let slot = Slot {
                current: Some(existing.current),
                uuid: row.uuid.clone(),
                index: existing.index,
                az: existing.az.clone(),
                bootstrap: row.bootstrap,
                ignore: row.ignore,
                state: row.state,
                passing: None,
                pinned,
            };
            slots.extend(problems.take(self.with_state(slot)));
        }
        for (az, pinned) in picked.new {
            let slot = Slot {
                current: None,
                uuid: InstanceUuid::new(ids.next(IdKind::Instance)),
                index: self.indexes.fresh(),
                az,
                bootstrap: false,
                ignore: false,
                state: InstanceState::Started,
                passing: None,
                pinned,
            };
            slots.extend(problems.take(self.with_state(slot)));
        }
        choose_bootstrap(&mut slots);
        sort(&mut slots);
        let obsolete = picked
            .obsolete
            .into_iter()
            .map(|i| self.existing[i].current)
            .collect();
        problems.or(Placed { slots, obsolete })
    }

    /// The desired state (§2.9), and that nobody asks an ignored instance for one.
    fn with_state(&self, mut slot: Slot) -> Result<Slot, Problem> {
        let index = slot.index.to_string();
        let named = |key: &str| key == slot.uuid.as_str() || key == index;
        let change = self.input.options.state_change.as_ref().filter(|change| {
            change
                .group
                .as_ref()
                .is_none_or(|group| *group == self.group.name)
        });
        let own = change
            .filter(|c| c.instance.as_deref().is_some_and(named))
            .map(|c| c.state)
            .or_else(|| self.group.instance_states.get(slot.uuid.as_str()).copied())
            .or_else(|| self.group.instance_states.get(&index).copied());
        if slot.ignore {
            if own.is_some() {
                return Err(Problem::new(
                    140021,
                    format!(
                        "You are trying to change the state of the ignored instance '{}/{}'. This operation is not \
                         allowed. You need to unignore it first.",
                        self.group.name, slot.uuid
                    ),
                ));
            }
            return Ok(slot);
        }
        let requested = own
            .or_else(|| change.filter(|c| c.instance.is_none()).map(|c| c.state))
            .or(self.group.state);
        match requested {
            None => {}
            Some(RequestedState::Started) => slot.state = InstanceState::Started,
            Some(RequestedState::Stopped) => slot.state = InstanceState::Stopped,
            Some(RequestedState::Detached) => slot.state = InstanceState::Detached,
            Some(passing) => {
                slot.state = InstanceState::Started;
                slot.passing = Some(passing);
            }
        }
        Ok(slot)
    }

    fn check_ignored(&self) -> Result<(), Problem> {
        let name = &self.group.name;
        let ignored: Vec<&Existing> = self.existing.iter().filter(|e| e.ignore).collect();
        if ignored.is_empty() {
            return Ok(());
        }
        let fault = |text: String| Err(Problem::new(190020, text));
        if (self.group.instances as usize) < ignored.len() {
            return fault(format!(
                "Instance Group '{name}' has {} ignored instance(s). {} instance(s) of that instance group were \
                 requested. Deleting ignored instances is not allowed.",
                ignored.len(),
                self.group.instances
            ));
        }
        let wanted = self.group.azs.as_deref().unwrap_or_default();
        let dropped: BTreeSet<&AzName> = ignored
            .iter()
            .filter_map(|e| e.az.as_ref())
            .filter(|az| !wanted.contains(az))
            .collect();
        if !dropped.is_empty() {
            return fault(format!(
                "Instance Group '{name}' no longer contains AZs {} where ignored instance(s) exist.",
                inspect(&json!(dropped))
            ));
        }
        let networks: BTreeSet<&NetworkName> =
            self.group.networks.iter().map(|n| &n.name).collect();
        let statics: BTreeSet<IpAddr> = self
            .group
            .networks
            .iter()
            .filter_map(|n| n.static_ips.as_ref())
            .flatten()
            .copied()
            .collect();
        for existing in ignored {
            let row = &self.input.current.instances[existing.current];
            if let Some(spec) = &row.spec
                && spec.networks.keys().collect::<BTreeSet<_>>() != networks
            {
                return fault(format!(
                    "In instance group '{name}', which contains ignored vms, an attempt was made to modify the \
                     networks. This operation is not allowed."
                ));
            }
            if row
                .addresses
                .iter()
                .any(|a| a.is_static && !statics.contains(&a.address))
            {
                return fault(format!(
                    "In instance group '{name}', an attempt was made to remove a static ip that is used by an \
                     ignored instance. This operation is not allowed."
                ));
            }
        }
        Ok(())
    }
}

/// Static addresses of VIP networks: holders keep theirs, the rest go round in list order.
fn pin_vips(
    group: &InstanceGroup,
    input: &PlanningInput,
    holders: &[Option<&Existing>],
    pins: &mut [&mut Pinned],
) {
    for network in &group.networks {
        let Some(ips) = &network.static_ips else {
            continue;
        };
        if !matches!(
            input.desired.cloud.network(&network.name),
            Some(Network::Vip(_))
        ) {
            continue;
        }
        let mut free: Vec<IpAddr> = ips.clone();
        for (holder, pinned) in holders.iter().zip(pins.iter_mut()) {
            let held = holder.and_then(|h| free.iter().position(|ip| h.addresses.contains(ip)));
            if let Some(at) = held {
                pinned.insert(network.name.clone(), free.remove(at));
            }
        }
        let mut rest = free.into_iter();
        for pinned in pins.iter_mut().filter(|p| !p.contains_key(&network.name)) {
            if let Some(ip) = rest.next() {
                pinned.insert(network.name.clone(), ip);
            }
        }
    }
}

/// One instance has the flag: the one that has it already, else the lowest index.
fn choose_bootstrap(slots: &mut [Slot]) {
    if slots.iter().filter(|s| s.bootstrap).count() == 1 {
        return;
    }
    let lowest = slots.iter().map(|s| s.index).min();
    for slot in slots {
        slot.bootstrap = Some(slot.index) == lowest;
    }
}

/// §2.3: the bootstrap instance, its AZ, those without AZ, the other AZs by name; by uuid within each.
fn sort(slots: &mut [Slot]) {
    let bootstrap_az = slots
        .iter()
        .find(|s| s.bootstrap)
        .and_then(|s| s.az.clone());
    slots.sort_by_cached_key(|slot| {
        (
            !slot.bootstrap,
            slot.az != bootstrap_az,
            slot.az.clone(),
            slot.uuid.clone(),
        )
    });
}
