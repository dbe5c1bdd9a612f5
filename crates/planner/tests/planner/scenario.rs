//! Text scenarios: documents and what is done with them in, rendered plans out. One file, one story.
//!
//! ```text
//! === base               start from scenarios/base.yml (cloud, uploads), with operations applied to the cloud config
//! === deploy [flags]     a manifest, or operations on the one before; plans, prints, carries out
//! === cloud | runtime    operations on the cloud config | the runtime configs from now on (a list)
//! === upload             more releases and stemcells
//! === change GROUP[/INDEX] STATE     start, stop, restart, recreate
//! === rows               what happened outside: a list of {instance, set}
//! ```
//!
//! `X.txt` holds a scenario, `X.out` what it must print; `UPDATE_SCENARIOS=1` writes the latter.

use std::fmt::Write as _;
use std::path::Path;

use planner::{AgentObservation, DeployOptions, SkipDrain, StateChange};
use serde_yaml::Value as Yaml;

use crate::world::World;

#[test]
fn every_scenario_prints_what_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planner/scenarios");
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "txt"))
    {
        count += 1;
        let printed = run(&std::fs::read_to_string(file).unwrap(), file);
        let expected = file.with_extension("out");
        if update {
            std::fs::write(&expected, &printed).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != printed {
            wrong.push(format!("{}\n{printed}", file.display()));
        }
    }
    assert!(count > 0);
    assert!(
        wrong.is_empty(),
        "{} scenarios differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn run(text: &str, file: &Path) -> String {
    let base: Yaml = yaml(&std::fs::read_to_string(file.with_file_name("base.yml")).unwrap());
    let mut world = World::new(
        Yaml::Null,
        base["cloud"].clone(),
        Vec::new(),
        &base["uploads"],
    );
    world.manifest = base["manifest"].clone();
    let mut out = String::new();
    for section in text.split("=== ").skip(1) {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        let words: Vec<&str> = title.split_whitespace().collect();
        let body = without_comments(body);
        match words[0] {
            "base" => {}
            "cloud" => edit(&mut world.cloud, &body),
            "runtime" => {
                world.runtime = yaml(&body).as_sequence().cloned().unwrap_or_default();
            }
            "upload" => world.upload(&yaml(&body)),
            "rows" => rows(&mut world, &body),
            "deploy" => {
                edit(&mut world.manifest, &body);
                let options = flags(&words[1..]);
                step(&mut world, title, options, &mut out);
            }
            "change" => {
                let (group, instance) = match words[1].split_once('/') {
                    Some((group, index)) => (group, Some(index.to_string())),
                    None => (words[1], None),
                };
                let options = DeployOptions {
                    state_change: Some(StateChange {
                        group: (group != "*").then(|| group.into()),
                        instance,
                        state: serde_yaml::from_str(words[2]).unwrap(),
                    }),
                    ..flags(&words[3..])
                };
                step(&mut world, title, options, &mut out);
            }
            other => panic!("{}: what is '{other}'?", file.display()),
        }
    }
    out
}

fn step(world: &mut World, title: &str, options: DeployOptions, out: &mut String) {
    writeln!(out, "=== {title}").unwrap();
    let steps = title.contains("+steps");
    match world.deploy(options) {
        Ok((plan, report)) => {
            out.push_str(&report.to_string());
            if steps {
                for instance in &plan.instances {
                    for (name, list) in [("create", &instance.create), ("update", &instance.update)]
                    {
                        if !list.is_empty() {
                            let kinds: Vec<String> = list.iter().map(|s| s.name()).collect();
                            writeln!(out, "{} {name}: {}", instance.title(), kinds.join(" "))
                                .unwrap();
                        }
                    }
                }
            }
        }
        Err(problems) => {
            for problem in &problems.0 {
                writeln!(out, "error {}: {}", problem.code, problem.message).unwrap();
                if let Some(hint) = &problem.hint {
                    writeln!(out, "  hint: {hint}").unwrap();
                }
            }
        }
    }
}

fn flags(words: &[&str]) -> DeployOptions {
    let mut options = DeployOptions::default();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("--recreate", _) => options.recreate = true,
            ("--recreate-persistent-disks", _) => options.recreate_persistent_disks = true,
            ("--recreate-vms-created-before", at) => {
                options.recreate_vms_created_before = Some(at.parse().unwrap());
            }
            ("--fix", _) => options.fix = true,
            ("--skip-drain", groups) => {
                options.skip_drain = SkipDrain::parse(if groups.is_empty() { "*" } else { groups });
            }
            ("+steps", _) => {}
            (other, _) => panic!("what is '{other}'?"),
        }
    }
    options
}

/// A list is operations; a map replaces the document.
fn edit(document: &mut Yaml, body: &str) {
    if body.trim().is_empty() {
        return;
    }
    if yaml(body).is_sequence() {
        let operations = manifest::ops::parse(body, "scenario").unwrap();
        manifest::ops::apply(document, &operations).unwrap();
    } else {
        *document = yaml(body);
    }
}

/// `[{instance: web/0, set: {ignore: true}}]`: things that happen between deploys.
fn rows(world: &mut World, body: &str) {
    for item in yaml(body).as_sequence().unwrap() {
        let (group, index) = item["instance"].as_str().unwrap().split_once('/').unwrap();
        let index: u32 = index.parse().unwrap();
        let row = world
            .current
            .instances
            .iter_mut()
            .find(|row| row.group == group && row.index == index)
            .unwrap();
        for (key, value) in item["set"].as_mapping().unwrap() {
            match key.as_str().unwrap() {
                "ignore" => row.ignore = value.as_bool().unwrap(),
                "update_completed" => row.update_completed = value.as_bool().unwrap(),
                "az" => row.az = value.as_str().map(Into::into),
                "agent" if value == "unresponsive" => row.agent = AgentObservation::Unresponsive,
                "agent" if value == "answers" => row.agent = AgentObservation::NotAsked,
                "agent" => row.agent = AgentObservation::JobState(value.as_str().unwrap().into()),
                other => panic!("what is '{other}'?"),
            }
        }
    }
}

fn without_comments(body: &str) -> String {
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

fn yaml(text: &str) -> Yaml {
    manifest::yaml::parse(text, manifest::yaml::Dialect::Director).unwrap()
}
