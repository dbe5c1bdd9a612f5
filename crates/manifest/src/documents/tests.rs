//! Every fault of §0 and §1 that documents alone can show, word for word.
//!
//! Each case of `faults.txt` is an edit of documents that are in order, with what the reader must say first.

use serde_yaml::Value as Yaml;

use super::*;

const MANIFEST: &str = "
name: demo
releases: [{name: app, version: '1'}]
stemcells: [{alias: os, os: jammy, version: '1'}]
update: {canaries: 1, max_in_flight: 2, canary_watch_time: 1000-30000, update_watch_time: 1000}
instance_groups:
- name: web
  instances: 2
  azs: [z1]
  vm_type: small
  stemcell: os
  networks: [{name: main}]
  jobs: [{name: web, release: app}]
- name: old
  instances: 1
  azs: [z1]
  vm_type: small
  stemcell: os
  networks: [{name: main, static_ips: [10.1.0.20]}]
  jobs: []
";

const CLOUD: &str = "
azs: [{name: z1}, {name: z2}]
vm_types: [{name: small}]
vm_extensions: [{name: edge}]
disk_types: [{name: data, disk_size: 10}]
networks:
- name: main
  subnets:
  - {range: 10.1.0.0/24, gateway: 10.1.0.1, az: z1, reserved: [10.1.0.2], static: [10.1.0.20-10.1.0.29]}
- {name: dyn, type: dynamic}
- {name: vip, type: vip}
- {name: pool, type: vip, subnets: [{static: [203.0.113.5]}]}
compilation: {workers: 2, az: z1, network: main, vm_type: small}
";

const RUNTIME: &str = "{releases: [{name: ops, version: '1'}], addons: []}";

/// Which document an edit is for.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Manifest,
    Cloud,
    Runtime,
}

fn yaml(text: &str) -> Yaml {
    crate::yaml::parse(text, crate::yaml::Dialect::Director).unwrap()
}

/// `path = value`, or `path` alone to remove; several edits by ` ;; `.
fn read(document: In, edits: &str) -> Result<Documents, Problems> {
    let mut documents = [yaml(MANIFEST), yaml(CLOUD), yaml(RUNTIME)];
    for edit in edits.split(" ;; ").filter(|e| !e.is_empty()) {
        let operation = match edit.split_once(" = ") {
            // Operations refuse null as a value: a word stands for it.
            Some((path, "null")) => {
                format!("- {{type: replace, path: \"{path}\", value: NO-VALUE}}")
            }
            Some((path, value)) => format!("- {{type: replace, path: \"{path}\", value: {value}}}"),
            None => format!("- {{type: remove, path: \"{edit}\"}}"),
        };
        let operations = crate::ops::parse(&operation, "edit").unwrap();
        crate::ops::apply(&mut documents[document as usize], &operations).unwrap();
    }
    documents.iter_mut().for_each(set_nulls);
    let [manifest, cloud, runtime] = documents;
    read_documents(&manifest, &[cloud], &[runtime], &ReadOptions::default())
}

fn set_nulls(value: &mut Yaml) {
    match value {
        Yaml::String(text) if text == "NO-VALUE" => *value = Yaml::Null,
        Yaml::Sequence(items) => items.iter_mut().for_each(set_nulls),
        Yaml::Mapping(map) => map.iter_mut().for_each(|(_, v)| set_nulls(v)),
        _ => {}
    }
}

#[test]
fn documents_in_order_are_read_whole() {
    let documents = read(In::Manifest, "").unwrap();
    let manifest = &documents.manifest;
    assert_eq!(manifest.instance_groups.len(), 2);
    assert_eq!(
        manifest.instance_groups[0].networks[0].default,
        [DefaultFor::Dns, DefaultFor::Gateway]
    );
    assert_eq!(
        manifest.update.update_watch_time,
        WatchTime {
            min: 1000,
            max: 1000
        }
    );
    assert_eq!(documents.cloud.networks.len(), 4);
}

#[test]
fn every_fault_has_the_originals_code_and_text() {
    let mut wrong = Vec::new();
    let lines = include_str!("faults.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    for line in lines {
        let [document, edits, code, text] = line.splitn(4, " | ").collect::<Vec<_>>()[..] else {
            panic!("not a case: {line}");
        };
        let document = match document {
            "cloud" => In::Cloud,
            "runtime" => In::Runtime,
            _ => In::Manifest,
        };
        match read(document, edits) {
            Ok(_) => wrong.push(format!("{edits}: accepted, but: {text}")),
            Err(problems) => {
                let first = &problems.0[0];
                if first.code.to_string() != code || !first.message.starts_with(text) {
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

#[test]
fn no_cloud_config_at_all_lacks_networks() {
    let problems = read_documents(&yaml(MANIFEST), &[], &[], &ReadOptions::default()).unwrap_err();
    assert_eq!(problems.code(), 40001);
    assert_eq!(
        problems.0[0].message,
        "Required property 'networks' was not specified in object ({})"
    );
}

#[test]
fn named_cloud_configs_become_one_and_compilation_may_come_once() {
    let more = yaml("{azs: [{name: z3}], vm_types: [{name: big}]}");
    let documents = read_documents(
        &yaml(MANIFEST),
        &[yaml(CLOUD), more],
        &[],
        &ReadOptions::default(),
    )
    .unwrap();
    assert_eq!(
        (documents.cloud.azs.len(), documents.cloud.vm_types.len()),
        (3, 2)
    );
    let twice = yaml("compilation: {}");
    let problems = read_documents(
        &yaml(MANIFEST),
        &[yaml(CLOUD), twice],
        &[],
        &ReadOptions::default(),
    )
    .unwrap_err();
    assert_eq!(
        (problems.code(), problems.0[0].message.as_str()),
        (
            570000,
            "Cloud config 'compilation' key cannot be defined in multiple cloud configs."
        )
    );
}

#[test]
fn all_faults_are_collected_in_parse_order_with_their_lines() {
    let text = MANIFEST
        .replace("vm_type: small", "vm_type: huge")
        .replace("version: '1'}]\nupdate", "version: []}]\nupdate");
    let document = crate::yaml::parse_document(&text, crate::yaml::Dialect::Director).unwrap();
    let mut problems = read_documents(
        &document.value,
        &[yaml(CLOUD)],
        &[],
        &ReadOptions::default(),
    )
    .unwrap_err();
    problems.locate(&document.lines);
    let found: Vec<(u32, Option<usize>)> = problems.0.iter().map(|p| (p.code, p.line)).collect();
    assert_eq!(found[0], (40000, Some(4)), "{problems}");
    assert!(
        found.iter().filter(|(code, _)| *code == 140004).count() == 2,
        "{found:?}"
    );
}

#[test]
fn numbers_count_as_texts_and_groups_inherit_the_update_block() {
    let documents = read(
        In::Manifest,
        "/releases/0/version = 12 ;; /instance_groups/0/update? = {canaries: 50%, serial: false}",
    )
    .unwrap();
    assert_eq!(documents.manifest.releases[0].version, "12");
    let update = &documents.manifest.instance_groups[0].update;
    assert_eq!(
        (
            update.canaries.0.as_str(),
            update.max_in_flight.0.as_str(),
            update.serial
        ),
        ("50%", "2", false)
    );
    let overridden = ReadOptions {
        canaries: Some(Threshold::from_request("canaries", "3").unwrap()),
        ..ReadOptions::default()
    };
    let documents = read_documents(&yaml(MANIFEST), &[yaml(CLOUD)], &[], &overridden).unwrap();
    assert_eq!(documents.manifest.instance_groups[1].update.canaries.0, "3");
    assert_eq!(
        Threshold::from_request("canaries", "few")
            .unwrap_err()
            .message,
        "canaries value should be integer or percent"
    );
}
