//! Faults that show only against uploads and rows, word for word; and what templates see of links.
//!
//! Each case of `problems.txt` edits the documents of `scenarios/base.yml`; the first problem must be as stated.
//! Cases marked `again` are planned on top of a deploy of the unedited base.

use planner::{DeployOptions, ForeignAddress, ForeignProvider};
use serde_json::{Value as Json, json};
use serde_yaml::Value as Yaml;

use crate::world::World;

const UPLOADS: &str = "
releases:
- name: bad
  version: '1'
  packages: {engine: {fingerprint: other}, compiled: {compiled: true}, loop-a: {dependencies: [loop-b]}, loop-b: {dependencies: [loop-a]}}
  jobs:
    clash: {packages: [engine]}
    prebuilt: {packages: [compiled]}
    circle: {packages: [loop-a]}
    lost: {packages: [nowhere]}
    shaped: {properties: {a.b: {default: 1}}}
    undeclared: {provides: [{name: x, type: y, properties: [a.b]}]}
    wants: {consumes: [{name: conn, type: sql}]}
    may: {consumes: [{name: conn, type: nothing, optional: true}]}
    second: {provides: [{name: conn, type: sql}]}
    disky: {consumes: [{name: wal, type: disk}]}
";

fn world() -> World {
    let base: Yaml = serde_yaml::from_str(include_str!("scenarios/base.yml")).unwrap();
    let mut world = World::new(
        base["manifest"].clone(),
        base["cloud"].clone(),
        Vec::new(),
        &base["uploads"],
    );
    world.upload(&serde_yaml::from_str(UPLOADS).unwrap());
    world
        .current
        .deployments
        .extend(["demo".into(), "other".into(), "Old_One".into()]);
    world.current.foreign_addresses = vec![
        ForeignAddress {
            address: "10.1.0.21".parse().unwrap(),
            holder: Some(("db/aa".into(), "other".into())),
        },
        ForeignAddress {
            address: "10.1.0.22".parse().unwrap(),
            holder: None,
        },
    ];
    world.current.foreign_providers = vec![provider("public", true), provider("private", false)];
    edit(
        &mut world.manifest,
        "/releases/- = {name: bad, version: '1'}",
    );
    world
}

fn provider(name: &str, shared: bool) -> ForeignProvider {
    ForeignProvider {
        deployment: "other".into(),
        instance_group: "db".into(),
        job: "pg".into(),
        original_name: "conn".into(),
        name: name.into(),
        kind: "sql".into(),
        shared,
        content: json!({
            "deployment_name": "other", "domain": "bosh", "default_network": "main", "networks": ["main"],
            "instance_group": "db", "properties": {"port": 1}, "use_dns_addresses": false,
            "instances": [{"name": "db", "id": "aa", "index": 0, "bootstrap": true, "az": null,
                "addresses": {"main": "10.1.0.99"}, "dns_addresses": {"main": "aa.db.main.other.bosh"}}],
        }),
    }
}

fn edit(document: &mut Yaml, edits: &str) {
    for edit in edits.split(" ;; ").filter(|e| !e.is_empty()) {
        let operation = match edit.split_once(" = ") {
            Some((path, value)) => format!("- {{type: replace, path: \"{path}\", value: {value}}}"),
            None => format!("- {{type: remove, path: \"{edit}\"}}"),
        };
        let operations = manifest::ops::parse(&operation, "edit").unwrap();
        manifest::ops::apply(document, &operations).unwrap_or_else(|e| panic!("{edit}: {e}"));
    }
}

#[test]
fn every_problem_has_the_originals_code_and_text() {
    let mut wrong = Vec::new();
    let lines = include_str!("problems.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let [when, edits, code, text] = line.splitn(4, " | ").collect::<Vec<_>>()[..] else {
            panic!("not a case: {line}");
        };
        let text = text.replace("\\n", "\n");
        let mut world = world();
        if when == "again" {
            world.deploy(DeployOptions::default()).unwrap();
        }
        let (cloud, ours): (Vec<&str>, Vec<&str>) = edits
            .split(" ;; ")
            .partition(|edit| edit.starts_with("cloud:"));
        for change in cloud {
            edit(&mut world.cloud, change.trim_start_matches("cloud:"));
        }
        edit(&mut world.manifest, &ours.join(" ;; "));
        match world.plan(DeployOptions::default()) {
            Ok((_, report, _)) if code != "0" => wrong.push(format!("{edits}: planned:\n{report}")),
            Ok(_) => {}
            Err(problems) => {
                let first = &problems.0[0];
                if first.code.to_string() != code || !first.message.starts_with(&text) {
                    wrong.push(format!(
                        "{edits}:\n  {} {}\n  {code} {text}",
                        first.code, first.message
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The link of a job, as its templates see it.
fn link(edits: &str, group: &str, job: &str, name: &str) -> Json {
    let mut world = world();
    edit(&mut world.manifest, edits);
    let (_, _, placement) = world.plan(DeployOptions::default()).unwrap();
    let request = placement.render_jobs().find(|r| r.group == group).unwrap();
    request.context["links"][job][name].clone()
}

const FRONT: &str = "/instance_groups/name=front/jobs/name=front/consumes";

#[test]
fn templates_see_of_a_link_what_the_worked_example_says() {
    let content = link("", "front", "front", "backend");
    assert_eq!(
        content,
        json!({
            "deployment_name": "demo", "domain": "bosh", "default_network": "main", "group_name": "store_db-sql",
            "instance_group": "store", "properties": {"port": 5432},
            "use_short_dns_addresses": false, "use_link_dns_names": null,
            "instances": [
                {"name": "store", "id": "00000001-0000-4000-8001-000000000000", "index": 0, "bootstrap": true,
                 "az": "z1", "address": "10.1.0.20"},
                {"name": "store", "id": "00000002-0000-4000-8001-000000000000", "index": 1, "bootstrap": false,
                 "az": "z2", "address": "10.2.0.20"},
            ],
        })
    );
}

#[test]
fn links_may_be_manual_shared_blocked_or_left_out() {
    let manual = link(
        &format!(
            "{FRONT} = {{backend: {{instances: [{{address: a.example}}], properties: {{port: 7}}, address: a.example}}}}"
        ),
        "front",
        "front",
        "backend",
    );
    assert_eq!(
        manual,
        json!({"instances": [{"address": "a.example"}], "properties": {"port": 7}, "address": "a.example",
               "deployment_name": "demo"})
    );
    let shared = link(
        &format!("{FRONT} = {{backend: {{from: public, deployment: other}}}}"),
        "front",
        "front",
        "backend",
    );
    assert_eq!(shared["instances"][0]["address"], "10.1.0.99");
    assert_eq!(shared["deployment_name"], "other");
    let left_out = link(
        "/instance_groups/name=front/jobs/- = {name: may, release: bad}",
        "front",
        "may",
        "conn",
    );
    assert_eq!(left_out, Json::Null);
    let disk = link(
        "/instance_groups/name=store/persistent_disk_type ;; \
         /instance_groups/name=store/persistent_disks? = [{name: wal, type: data}] ;; \
         /instance_groups/name=store/jobs/- = {name: disky, release: bad}",
        "store",
        "disky",
        "wal",
    );
    assert_eq!(
        disk,
        json!({"deployment_name": "demo", "instances": [], "properties": {"name": "wal"}})
    );
}

#[test]
fn the_render_context_has_what_templates_may_ask_for() {
    let mut world = world();
    let (_, _, placement) = world.plan(DeployOptions::default()).unwrap();
    let request = placement.render_jobs().next().unwrap();
    let context = &request.context;
    assert_eq!(context["deployment"], "demo");
    assert_eq!(context["name"], "store");
    assert_eq!(context["job"]["name"], "store");
    assert_eq!(
        (&context["index"], &context["az"], &context["bootstrap"]),
        (&json!(0), &json!("z1"), &json!(true))
    );
    assert_eq!(
        (&context["ip"], &context["address"]),
        (&json!("10.1.0.20"), &json!("10.1.0.20"))
    );
    assert_eq!(context["persistent_disk"], 2048);
    assert_eq!(
        context["networks"]["main"],
        json!({
            "type": "manual", "ip": "10.1.0.20", "prefix": "32", "netmask": "255.255.255.0", "cloud_properties": {},
            "default": ["dns", "gateway"], "gateway": "10.1.0.1",
            "dns_record_name": "00000001-0000-4000-8001-000000000000.store.main.demo.bosh",
        })
    );
    assert_eq!(
        context["properties"]["store"],
        json!({"port": 5432, "admin_password": null})
    );
    assert!(
        !placement.render_jobs().any(|r| r.group == "probe"),
        "an errand group without VMs is not rendered"
    );
}

#[test]
fn two_plans_for_one_director_never_share_an_address() {
    let mut world = world();
    let taken = |ip: &str| ForeignAddress {
        address: ip.parse().unwrap(),
        holder: None,
    };
    world
        .current
        .foreign_addresses
        .extend([taken("10.1.0.10"), taken("10.1.0.12")]);
    let (plan, _, _) = world.plan(DeployOptions::default()).unwrap();
    let front: Vec<String> = plan
        .instances
        .iter()
        .filter(|i| i.spec.name == "front")
        .map(|i| i.addresses[0].address.to_string())
        .collect();
    assert_eq!(front, ["10.1.0.11", "10.1.0.13", "10.2.0.10"]);
    let workers: Vec<String> = plan
        .compilation
        .worker_networks
        .iter()
        .map(|w| w.address.unwrap().to_string())
        .collect();
    assert_eq!(workers, ["10.1.0.14", "10.1.0.15"]);
}
