//! In which order instances are updated: batches, groups, AZs, canaries, max_in_flight (§5.3).

use std::ops::Range;

use manifest::documents::{InitialAzStrategy, Problems};

use crate::input::PlanningInput;
use crate::placement::{PlacedGroup, Placement};
use crate::plan::{Batch, GroupPlan, InstancePlan, Wave};
use crate::step::Step;

/// The batches. `ranges` are the groups' instances in `instances`, already in update order; canaries are marked
/// in them and get the canary watch time.
pub(super) fn order(
    input: &PlanningInput,
    placement: &Placement,
    ranges: &[Range<usize>],
    deletions: Vec<Vec<usize>>,
    instances: &mut [InstancePlan],
) -> Result<Vec<Batch>, Problems> {
    let mut problems = Problems::default();
    let mut batches: Vec<Batch> = Vec::new();
    let mut previous_serial = None;
    for ((group, range), delete) in placement.groups.iter().zip(ranges).zip(deletions) {
        let changed: Vec<usize> = range
            .clone()
            .filter(|i| !instances[*i].update.is_empty())
            .collect();
        let planned = plan_group(input, group, delete, changed, instances)
            .map_err(|p| p.at(format!("/instance_groups/{}/update", group.name)));
        let Some(plan) = problems.take(planned) else {
            continue;
        };
        // A group with nothing to do still ends a run of parallel groups before it: order is the manifest's.
        let serial = group.update.serial;
        let joins = !serial && previous_serial == Some(false);
        previous_serial = Some(serial);
        match batches.last_mut() {
            Some(batch) if joins => batch.groups.push(plan),
            _ => batches.push(Batch { groups: vec![plan] }),
        }
    }
    for batch in &mut batches {
        batch
            .groups
            .retain(|g| !g.waves.is_empty() || !g.delete.is_empty());
    }
    batches.retain(|batch| !batch.groups.is_empty());
    problems.or(batches)
}

fn plan_group(
    input: &PlanningInput,
    group: &PlacedGroup,
    delete: Vec<usize>,
    changed: Vec<usize>,
    instances: &mut [InstancePlan],
) -> Result<GroupPlan, manifest::documents::Problem> {
    let update = &group.update;
    let one_wave = update.initial_deploy_az_update_strategy == InitialAzStrategy::Parallel
        && !input.current.deployed_before;
    let mut waves: Vec<Wave> = Vec::new();
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for i in changed {
        let same_az =
            |set: &&mut Vec<usize>| one_wave || instances[set[0]].spec.az == instances[i].spec.az;
        match sets.last_mut().filter(same_az) {
            Some(set) => set.push(i),
            None => sets.push(vec![i]),
        }
    }
    for (n, set) in sets.into_iter().enumerate() {
        let canaries = if n == 0 {
            update.canaries.canaries(set.len())?
        } else {
            0
        };
        let max_in_flight = update.max_in_flight.max_in_flight(set.len())?;
        let (canaries, rest) = set.split_at(canaries);
        for i in canaries {
            let instance = &mut instances[*i];
            instance.canary = true;
            for step in &mut instance.update {
                if let Step::WatchRunning { watch } = step {
                    *watch = update.canary_watch_time;
                }
            }
        }
        let az = instances[*canaries
            .first()
            .or(rest.first())
            .expect("a set is never empty")]
        .spec
        .az
        .clone();
        waves.push(Wave {
            az: if one_wave { None } else { az },
            canaries: canaries.to_vec(),
            rest: rest.to_vec(),
            max_in_flight: count(max_in_flight),
        });
    }
    Ok(GroupPlan {
        group: group.name.clone(),
        delete_in_flight: count(update.max_in_flight.max_in_flight(delete.len())?),
        delete,
        waves,
    })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
