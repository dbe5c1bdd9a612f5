//! Which instances stay and in which AZs new ones go, when no addresses are pinned (§2.4).
//!
//! Guarantees: an instance never moves between AZs; counts per AZ differ by at most one where no disk and no
//! ignored instance pins; each slot costs one look at the list of AZs.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use domain::{AzName, NetworkName};

use crate::ids::{IdKind, IdSource};

/// An instance that is there, in index order. The AZ is the one it has after migration.
#[derive(Debug, Clone)]
pub(super) struct Existing {
    /// Place in the current deployment.
    pub current: usize,
    pub index: u32,
    pub az: Option<AzName>,
    pub ignore: bool,
    /// It has a persistent disk row, active or not.
    pub has_disk: bool,
    pub addresses: Vec<IpAddr>,
}

/// Addresses fixed by placement, by network.
pub(super) type Pinned = BTreeMap<NetworkName, IpAddr>;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Picked {
    /// Places in the list of existing ones.
    pub kept: Vec<(usize, Pinned)>,
    /// AZs of new ones, in the order in which they get indexes.
    pub new: Vec<(Option<AzName>, Pinned)>,
    /// Places in the list of existing ones.
    pub obsolete: Vec<usize>,
}

/// Places `count` instances. `azs` absent: instances without AZ. With `ties`, AZs that are equally good are
/// chosen by it instead of by name.
pub(super) fn pick(
    count: usize,
    azs: Option<&[AzName]>,
    existing: &[Existing],
    ties: Option<&mut dyn IdSource>,
) -> Picked {
    let mut slots = Slots::new(count, azs, existing, ties);
    for (i, instance) in existing.iter().enumerate() {
        if instance.ignore {
            slots.claim(i, instance);
        }
    }
    if azs.is_some() {
        for (i, instance) in existing.iter().enumerate() {
            if !instance.ignore && instance.has_disk {
                slots.claim(i, instance);
            }
        }
    }
    while slots.left > 0 {
        slots.fill_one();
    }
    slots.finish(existing.len())
}

/// One AZ (or "none") on the way.
struct Lane {
    az: Option<AzName>,
    placed: usize,
    /// Existing ones not yet claimed, by index.
    unclaimed: VecDeque<usize>,
}

struct Slots<'a> {
    left: usize,
    /// By number of existing instances, descending.
    lanes: Vec<Lane>,
    claimed: Vec<bool>,
    picked: Picked,
    ties: Option<&'a mut dyn IdSource>,
}

impl<'a> Slots<'a> {
    fn new(
        count: usize,
        azs: Option<&[AzName]>,
        existing: &[Existing],
        ties: Option<&'a mut dyn IdSource>,
    ) -> Self {
        let mut lanes: Vec<Lane> = match azs {
            None => vec![None],
            Some(azs) => azs.iter().cloned().map(Some).collect(),
        }
        .into_iter()
        .map(|az| Lane {
            unclaimed: (0..existing.len())
                .filter(|i| existing[*i].az == az)
                .collect(),
            az,
            placed: 0,
        })
        .collect();
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.unclaimed.len()));
        Slots {
            left: count,
            lanes,
            claimed: vec![false; existing.len()],
            picked: Picked::default(),
            ties,
        }
    }

    /// Takes a slot for an instance in its own AZ, if there is one left and the AZ is still wanted.
    fn claim(&mut self, i: usize, instance: &Existing) {
        if self.left == 0 {
            return;
        }
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.az == instance.az) {
            lane.placed += 1;
            self.left -= 1;
            self.claimed[i] = true;
            self.picked.kept.push((i, Pinned::new()));
        }
    }

    fn fill_one(&mut self) {
        for lane in &mut self.lanes {
            while lane.unclaimed.front().is_some_and(|i| self.claimed[*i]) {
                lane.unclaimed.pop_front();
            }
        }
        let lowest = self.lanes.iter().map(|lane| lane.placed).min().unwrap_or(0);
        let candidates: Vec<usize> = (0..self.lanes.len())
            .filter(|l| self.lanes[*l].placed == lowest)
            .collect();
        let chosen = candidates
            .iter()
            .copied()
            .find(|l| !self.lanes[*l].unclaimed.is_empty())
            .unwrap_or_else(|| self.break_tie(&candidates));
        let lane = &mut self.lanes[chosen];
        lane.placed += 1;
        self.left -= 1;
        match lane.unclaimed.pop_front() {
            Some(i) => {
                self.claimed[i] = true;
                self.picked.kept.push((i, Pinned::new()));
            }
            None => self.picked.new.push((lane.az.clone(), Pinned::new())),
        }
    }

    fn break_tie(&mut self, candidates: &[usize]) -> usize {
        if candidates.len() > 1
            && let Some(ids) = self.ties.as_deref_mut()
        {
            let id = ids.next(IdKind::Tie);
            let number = u64::from_str_radix(id.split('-').next().unwrap_or("0"), 16).unwrap_or(0);
            return candidates[(number % candidates.len() as u64) as usize];
        }
        candidates
            .iter()
            .copied()
            .min_by(|a, b| self.lanes[*a].az.cmp(&self.lanes[*b].az))
            .expect("there is at least one lane, and some lane has the lowest count")
    }

    fn finish(mut self, existing: usize) -> Picked {
        self.picked.kept.sort_by_key(|(i, _)| *i);
        self.picked.obsolete = (0..existing).filter(|i| !self.claimed[*i]).collect();
        self.picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(layout: &[(&str, bool)]) -> Vec<Existing> {
        layout
            .iter()
            .enumerate()
            .map(|(i, (az, has_disk))| Existing {
                current: i,
                index: i as u32,
                az: (!az.is_empty()).then(|| AzName::new(*az)),
                ignore: false,
                has_disk: *has_disk,
                addresses: Vec::new(),
            })
            .collect()
    }

    fn place(count: usize, azs: &[&str], layout: &[(&str, bool)]) -> String {
        let azs: Vec<AzName> = azs.iter().map(|az| AzName::new(*az)).collect();
        let azs = (!azs.is_empty()).then_some(azs.as_slice());
        let picked = pick(count, azs, &existing(layout), None);
        let new: Vec<&str> = picked
            .new
            .iter()
            .map(|(az, _)| az.as_ref().map_or("-", |az| az.as_str()))
            .collect();
        let kept: Vec<usize> = picked.kept.iter().map(|(i, _)| *i).collect();
        format!("keep {kept:?} new {new:?} delete {:?}", picked.obsolete)
    }

    #[test]
    fn placement_follows_the_rules_of_2_4() {
        let stateless = [("z1", false), ("z2", false), ("z1", false)];
        for (outcome, expected) in [
            (
                place(3, &["z1", "z2"], &[]),
                r#"keep [] new ["z1", "z2", "z1"] delete []"#,
            ),
            (
                place(3, &["z1", "z2"], &stateless),
                "keep [0, 1, 2] new [] delete []",
            ),
            (
                place(2, &["z1", "z2"], &stateless),
                "keep [0, 1] new [] delete [2]",
            ),
            (
                place(1, &["z1", "z2"], &stateless),
                "keep [0] new [] delete [1, 2]",
            ),
            (
                place(3, &["z2"], &stateless),
                r#"keep [1] new ["z2", "z2"] delete [0, 2]"#,
            ),
            // A new AZ rebalances stateless groups …
            (
                place(3, &["z1", "z2", "z3"], &stateless),
                r#"keep [0, 1] new ["z3"] delete [2]"#,
            ),
            // … and leaves those with disks alone.
            (
                place(
                    3,
                    &["z1", "z2", "z3"],
                    &[("z1", true), ("z2", true), ("z1", true)],
                ),
                "keep [0, 1, 2] new [] delete []",
            ),
            (
                place(
                    2,
                    &["z1", "z2"],
                    &[("z1", true), ("z1", true), ("z2", true)],
                ),
                "keep [0, 1] new [] delete [2]",
            ),
            (
                place(2, &[], &[("", false)]),
                r#"keep [0] new ["-"] delete []"#,
            ),
            (
                place(1, &["z1"], &[("", false)]),
                r#"keep [] new ["z1"] delete [0]"#,
            ),
        ] {
            assert_eq!(outcome, expected);
        }
    }
}
