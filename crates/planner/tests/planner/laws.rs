//! The laws of the planner as properties, over histories of random deploys carried out in the model world.
//!
//! The world itself checks at each step that it is possible and at the end that rows and machines agree, that no
//! address is given out twice and that every group has one bootstrap instance.

use std::collections::{BTreeMap, BTreeSet};

use planner::{Action, DeployOptions, DeploymentPlan};
use proptest::prelude::*;
use serde_yaml::Value as Yaml;

use crate::world::World;

/// One deploy of a random history.
#[derive(Debug, Clone)]
struct Edit {
    instances: [u32; 2],
    azs: [usize; 2],
    disk: [bool; 2],
    greeting: u8,
    stemcell: u8,
    large: bool,
    canaries: u32,
    max_in_flight: u32,
    serial: bool,
    recreate: bool,
}

fn edit() -> impl Strategy<Value = Edit> {
    (
        [0..7u32, 0..5u32],
        [0..4usize, 0..4usize],
        any::<[bool; 2]>(),
        0..3u8,
        0..2u8,
        any::<bool>(),
        0..3u32,
        1..4u32,
        any::<bool>(),
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(
                instances,
                azs,
                disk,
                greeting,
                stemcell,
                large,
                canaries,
                max_in_flight,
                serial,
                recreate,
            )| Edit {
                instances,
                azs,
                disk,
                greeting,
                stemcell,
                large,
                canaries,
                max_in_flight,
                serial,
                recreate,
            },
        )
}

const AZS: [&[&str]; 4] = [&["z1"], &["z1", "z2"], &["z1", "z2", "z3"], &["z3", "z2"]];

fn manifest(edit: &Edit) -> Yaml {
    let mut text = format!(
        "name: laws\nreleases: [{{name: r, version: '1'}}]\nstemcells: [{{alias: os, os: o, version: '{}'}}]\n\
         update: {{canaries: {}, max_in_flight: {}, canary_watch_time: 1, update_watch_time: 1, serial: {}}}\n\
         instance_groups:\n",
        edit.stemcell, edit.canaries, edit.max_in_flight, edit.serial
    );
    for (i, name) in ["a", "b"].iter().enumerate() {
        text.push_str(&format!(
            "- {{name: {name}, instances: {}, azs: [{}], vm_type: {}, stemcell: os, persistent_disk: {}, \
             networks: [{{name: main}}], jobs: [{{name: {name}, release: r, properties: {{greeting: {}}}}}]}}\n",
            edit.instances[i],
            AZS[edit.azs[i]].join(", "),
            if edit.large && i == 0 { "large" } else { "small" },
            if edit.disk[i] { 10 } else { 0 },
            if i == 0 { edit.greeting } else { 0 },
        ));
    }
    serde_yaml::from_str(&text).unwrap()
}

fn world() -> World {
    let yaml = |text: &str| -> Yaml { serde_yaml::from_str(text).unwrap() };
    let cloud = "
azs: [{name: z1}, {name: z2}, {name: z3}]
vm_types: [{name: small}, {name: large, cloud_properties: {cores: 4}}]
networks:
- name: main
  subnets:
  - {range: 10.0.1.0/26, gateway: 10.0.1.1, azs: [z1, z2]}
  - {range: 10.0.2.0/26, gateway: 10.0.2.1, azs: [z3]}
compilation: {workers: 1, az: z1, network: main, vm_type: small}";
    let uploads = "
releases:
- name: r
  version: '1'
  packages: {p: {dependencies: [q]}, q: {}}
  jobs:
    a: {packages: [p], properties: {greeting: {}}, provides: [{name: l, type: t}]}
    b: {properties: {greeting: {}}, consumes: [{name: l, type: t}]}
stemcells: [{name: s, os: o, version: '0'}, {name: s, os: o, version: '1'}]";
    World::new(Yaml::Null, yaml(cloud), Vec::new(), &yaml(uploads))
}

fn options(edit: &Edit) -> DeployOptions {
    DeployOptions {
        recreate: edit.recreate,
        ..DeployOptions::default()
    }
}

/// Canaries only in a group's first wave and never more than asked; each changed instance in one wave; at most
/// `max_in_flight` at once.
fn check_waves(plan: &DeploymentPlan, edit: &Edit) {
    let mut seen = BTreeSet::new();
    for batch in &plan.batches {
        assert!(batch.groups.len() == 1 || !edit.serial);
        for group in &batch.groups {
            for (n, wave) in group.waves.iter().enumerate() {
                assert!(n == 0 || wave.canaries.is_empty());
                assert!(wave.canaries.len() <= edit.canaries as usize);
                assert_eq!(wave.max_in_flight, edit.max_in_flight);
                for i in wave.canaries.iter().chain(&wave.rest) {
                    assert!(seen.insert(*i), "an instance is in two waves");
                    assert_eq!(plan.instances[*i].spec.az, wave.az);
                    assert!(
                        plan.instances[*i].action != Action::None,
                        "an untouched instance is in a wave"
                    );
                }
            }
            seen.extend(&group.delete);
        }
    }
    for (i, instance) in plan.instances.iter().enumerate() {
        assert_eq!(
            seen.contains(&i),
            instance.action != Action::None,
            "{}",
            instance.label()
        );
        assert_eq!(instance.action == Action::None, instance.update.is_empty());
    }
}

/// AZ counts differ by at most one where nothing pins: a group that never had a disk.
fn check_balance(world: &World, edit: &Edit, ever_disk: [bool; 2]) {
    for (g, name) in ["a", "b"]
        .iter()
        .enumerate()
        .filter(|(g, _)| !ever_disk[*g])
    {
        let mut counts: BTreeMap<&str, usize> =
            AZS[edit.azs[g]].iter().map(|az| (*az, 0)).collect();
        for row in world
            .current
            .instances
            .iter()
            .filter(|row| row.group == *name)
        {
            *counts
                .get_mut(row.az.as_ref().unwrap().as_str())
                .expect("the AZ is wanted") += 1;
        }
        let (most, least) = (
            counts.values().max().unwrap(),
            counts.values().min().unwrap(),
        );
        assert!(most - least <= 1, "{name}: {counts:?}");
        assert_eq!(counts.values().sum::<usize>(), edit.instances[g] as usize);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_history_of_deploys_obeys_the_laws(edits in prop::collection::vec(edit(), 1..6)) {
        let mut world = world();
        let mut ever_disk = [false; 2];
        for edit in &edits {
            // A group that loses its disks was kept where they were, and is balanced by the deploy after (§2.4):
            // the one case in which a second plan is not empty. Here disks stay.
            let mut edit = edit.clone();
            ever_disk = [ever_disk[0] | edit.disk[0], ever_disk[1] | edit.disk[1]];
            edit.disk = ever_disk;
            let edit = &edit;
            world.manifest = manifest(edit);
            // A provider without instances is still found; the link is just empty.
            let twin = world.ids.clone();
            let (first, report, _) = world.plan(options(edit)).unwrap();
            world.ids = twin.clone();
            let (second, again, _) = world.plan(options(edit)).unwrap();
            prop_assert_eq!(&first, &second, "same input, same plan");
            prop_assert_eq!(report, again);
            world.ids = twin;

            let (plan, _) = world.deploy(options(edit)).unwrap();
            check_waves(&plan, edit);
            check_balance(&world, edit, ever_disk);
            let (plan, report, _) = world.plan(DeployOptions::default()).unwrap();
            prop_assert!(report.is_empty() && !plan.any_change, "what a plan reaches needs no plan:\n{report}");
        }
    }
}
