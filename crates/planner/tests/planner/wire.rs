//! The same deploys as in recordings of the original: the same instances are created, updated and deleted, in the
//! same order, with the same canaries, addresses and specs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use planner::{DeployOptions, DeploymentPlan, ForeignAddress, SkipDrain, StateChange};
use serde_json::{Value as Json, json};
use serde_yaml::Value as Yaml;

use crate::world::World;

fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/wire")
}

fn yaml(text: &str) -> Yaml {
    manifest::yaml::parse(text, manifest::yaml::Dialect::Director).unwrap()
}

/// The demo release and stemcell that the recordings use.
fn uploads() -> Yaml {
    let release = vectors().join("assets/release");
    let specs = |folder: &str| -> Json {
        let mut all = serde_json::Map::new();
        for entry in std::fs::read_dir(release.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let text = std::fs::read_to_string(entry.path().join("spec")).unwrap();
            let spec = serde_json::to_value(yaml(&text)).unwrap();
            all.insert(entry.file_name().into_string().unwrap(), spec);
        }
        Json::Object(all)
    };
    let uploads = json!({
        "releases": [{"name": "wire-demo", "version": "1", "jobs": specs("jobs"), "packages": specs("packages")}],
        "stemcells": [
            {"name": "demo-stemcell", "os": "demo-os", "version": "1"},
            {"name": "demo-stemcell", "os": "demo-os", "version": "2"},
        ],
    });
    serde_yaml::to_value(uploads).unwrap()
}

struct Recording {
    json: Json,
    /// From instance uuid to index.
    indexes: BTreeMap<String, u32>,
}

impl Recording {
    fn read(name: &str) -> Recording {
        let text = std::fs::read_to_string(vectors().join(format!("{name}.json"))).unwrap();
        let json: Json = serde_json::from_str(&text).unwrap();
        let mut indexes = BTreeMap::new();
        for step in json["steps"].as_array().unwrap() {
            for (_, title) in started(step) {
                if let Some((uuid, index)) = title.split_once('/').and_then(|(_, rest)| {
                    let (uuid, rest) = rest.split_once(" (")?;
                    Some((uuid.to_string(), rest.split(')').next()?.parse().ok()?))
                }) {
                    indexes.insert(uuid, index);
                }
            }
        }
        Recording { json, indexes }
    }

    fn file(&self, name: &str) -> Yaml {
        let own = self.json["files"][name].as_str();
        match own {
            Some(text) => yaml(text),
            // Some were recorded with the documents of another still active.
            None => Recording::read("first-deploy").file(name),
        }
    }

    fn world(&self, manifest: Yaml) -> World {
        let runtime = vec![self.file("addon.yml")];
        World::new(manifest, self.file("cloud.yml"), runtime, &uploads())
    }

    fn steps(&self) -> &[Json] {
        self.json["steps"].as_array().unwrap()
    }
}

/// `(stage, task)` of what a step's tasks started.
fn started(step: &Json) -> Vec<(String, String)> {
    let outputs = step["task_outputs"].as_object().into_iter().flatten();
    outputs
        .filter_map(|(_, output)| output["event"].as_str())
        .flat_map(str::lines)
        .filter_map(|line| serde_json::from_str::<Json>(line).ok())
        .filter(|event| event["state"] == "started")
        .map(|event| {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_string();
            (text("stage"), text("task"))
        })
        .collect()
}

/// What happened, without uuids; things done all at once are sorted.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    compiled: Vec<String>,
    created: BTreeSet<String>,
    deleted: BTreeSet<String>,
    updated: Vec<String>,
}

fn without_uuid(title: &str) -> String {
    let (group, rest) = title.split_once('/').unwrap_or((title, ""));
    let (_, index) = rest.split_once(' ').unwrap_or((rest, ""));
    format!("{group} {index}")
}

impl Outcome {
    fn recorded(step: &Json) -> Outcome {
        let mut outcome = Outcome::default();
        for (stage, task) in started(step) {
            match stage.as_str() {
                "Compiling packages" => {
                    outcome
                        .compiled
                        .push(task.split('/').next().unwrap().to_string());
                }
                "Creating missing vms" => {
                    outcome.created.insert(without_uuid(&task));
                }
                "Deleting unneeded instances" => {
                    outcome.deleted.insert(without_uuid(&task));
                }
                "Updating instance" => outcome.updated.push(without_uuid(&task)),
                _ => {}
            }
        }
        outcome
    }

    fn planned(plan: &DeploymentPlan) -> Outcome {
        let title = |i: &usize| {
            let instance = &plan.instances[*i];
            let canary = if instance.canary { " (canary)" } else { "" };
            format!("{} ({}){canary}", instance.spec.name, instance.spec.index)
        };
        let groups: Vec<_> = plan.batches.iter().flat_map(|b| &b.groups).collect();
        let untitled = |i: &usize| title(i).replace(" (canary)", "");
        Outcome {
            compiled: plan.compile.iter().map(|p| p.name.to_string()).collect(),
            created: plan.create.iter().map(untitled).collect(),
            deleted: plan
                .delete_first
                .iter()
                .chain(groups.iter().flat_map(|g| &g.delete))
                .map(title)
                .collect(),
            updated: groups
                .iter()
                .flat_map(|g| &g.waves)
                .flat_map(|w| w.canaries.iter().chain(&w.rest))
                .map(title)
                .collect(),
        }
    }
}

/// What a recorded command asks for: a manifest to change to, and options. `None`: no converging deploy.
fn request(recording: &Recording, command: &str) -> Option<(Option<Yaml>, DeployOptions)> {
    let words: Vec<&str> = command
        .strip_prefix("bosh -d ")?
        .split(' ')
        .skip(1)
        .collect();
    if words.contains(&"--no-converge") {
        return None;
    }
    let flag = |name: &str| words.contains(&name);
    let mut options = DeployOptions {
        recreate: flag("--recreate"),
        recreate_persistent_disks: flag("--recreate-persistent-disks"),
        dry_run: flag("--dry-run"),
        ..DeployOptions::default()
    };
    let skip = words
        .iter()
        .find_map(|word| word.strip_prefix("--skip-drain"));
    if let Some(groups) = skip {
        options.skip_drain = SkipDrain::parse(groups.strip_prefix('=').unwrap_or("*"));
    }
    let state = match *words.first()? {
        "deploy" => return Some((Some(recording.file(words[1])), options)),
        "stop" if flag("--hard") => "detached",
        "stop" => "stopped",
        "start" => "started",
        "restart" => "restart",
        "recreate" => "recreate",
        _ => return None,
    };
    let target = words.get(1).filter(|word| !word.starts_with('-'));
    let (group, instance) = match target.map(|t| t.split_once('/').unwrap_or((t, ""))) {
        None => (None, None),
        Some((group, "")) => (Some(group), None),
        Some((group, uuid)) => {
            let index = recording
                .indexes
                .get(uuid)
                .map_or(uuid.to_string(), u32::to_string);
            (Some(group), Some(index))
        }
    };
    options.recreate = false;
    options.state_change = Some(StateChange {
        group: group.map(Into::into),
        instance,
        state: serde_yaml::from_str(state).unwrap(),
    });
    Some((None, options))
}

/// Plays a recording; `before` is deployed first where the recording begins with a deployment that is there.
fn play(name: &str, before: Option<(&str, &str)>, steps: usize) {
    let recording = Recording::read(name);
    let mut world = recording.world(Yaml::Null);
    if let Some((file, vm_type)) = before {
        let text = recording.json["files"][file].as_str().unwrap();
        world.manifest = yaml(&text.replace("vm_type: large", vm_type));
        world.deploy(DeployOptions::default()).unwrap();
    }
    let mut played = 0;
    for step in recording.steps() {
        let command = step["command"].as_str().unwrap_or_default();
        let Some((manifest, options)) = request(&recording, command) else {
            continue;
        };
        if played == steps {
            break;
        }
        played += 1;
        if let Some(manifest) = manifest {
            world.manifest = manifest;
        }
        if options.dry_run {
            world.plan(options).unwrap();
            continue;
        }
        let disks_anew = options.recreate_persistent_disks;
        let (plan, report) = world.deploy(options).unwrap();
        let (mut recorded, planned) = (Outcome::recorded(step), Outcome::planned(&plan));
        if disks_anew {
            // Not as the original, which restarts instances without any disk too.
            recorded
                .updated
                .retain(|title| planned.updated.contains(title));
        }
        assert_eq!(planned, recorded, "{name}: {command}\n{report}");
    }
    assert_eq!(played, steps, "{name}: number of deploys");
}

#[test]
fn first_deploys_scalings_and_stemcell_changes_are_the_recorded_ones() {
    play("first-deploy", None, 4);
    play("scale", Some(("before.yml", "")), 4);
    play("two-networks", None, 2);
    play(
        "vm-type-and-stemcell-change",
        Some(("large.yml", "vm_type: small")),
        3,
    );
}

#[test]
fn disk_changes_and_state_changes_are_the_recorded_ones() {
    play("disk-resize", Some(("none.yml", "")), 6);
    play("lifecycle-actions", Some(("shop.yml", "")), 6);
}

/// The recorded arguments of a method, in order.
fn agent_calls<'a>(step: &'a Json, method: &str) -> Vec<&'a Json> {
    let calls = step["nats"].as_array().unwrap().iter();
    calls
        .map(|message| &message["payload"])
        .filter(|payload| payload["method"] == method)
        .map(|payload| &payload["arguments"][0])
        .collect()
}

#[test]
fn apply_specs_have_the_recorded_shape_addresses_and_jobs() {
    let recording = Recording::read("first-deploy");
    let mut world = recording.world(recording.file("shop.yml"));
    let (plan, _, _) = world.plan(DeployOptions::default()).unwrap();
    let step = recording
        .steps()
        .iter()
        .find(|s| s["command"] == "bosh -d shop deploy shop.yml")
        .unwrap();
    let mut compared = 0;
    for recorded in agent_calls(step, "apply")
        .into_iter()
        .filter(|spec| spec.get("packages").is_some())
    {
        let same = |i: &&planner::InstancePlan| {
            recorded["name"] == *i.spec.name.as_str() && recorded["index"] == i.spec.index
        };
        let instance = plan.instances.iter().find(same).unwrap();
        let ours = instance.spec.apply_spec();
        let keys = |value: &Json| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&ours), keys(recorded));
        assert_eq!(keys(&ours["job"]), keys(&recorded["job"]));
        let names = |value: &Json| -> Vec<Json> {
            value["job"]["templates"]
                .as_array()
                .unwrap()
                .iter()
                .map(|t| t["name"].clone())
                .collect()
        };
        assert_eq!(names(&ours), names(recorded));
        for key in [
            "deployment",
            "index",
            "name",
            "az",
            "networks",
            "dns_domain_name",
            "persistent_disk",
        ] {
            assert_eq!(ours[key], recorded[key], "{key}");
        }
        compared += 1;
    }
    assert_eq!(compared, 3);
}

#[test]
fn vms_are_asked_for_with_the_recorded_networks_and_cloud_properties() {
    for (name, manifest, command) in [
        ("first-deploy", "shop.yml", "bosh -d shop deploy shop.yml"),
        ("two-networks", "pair.yml", "bosh -d pair deploy pair.yml"),
        ("two-networks", "pair2.yml", "bosh -d pair deploy pair2.yml"),
    ] {
        let recording = Recording::read(name);
        let mut world = recording.world(recording.file(manifest));
        if name == "two-networks" {
            // Another deployment was there.
            world.current.foreign_addresses = ["10.0.1.10", "10.0.1.11", "10.0.1.12"]
                .map(|ip| ForeignAddress {
                    address: ip.parse().unwrap(),
                    holder: None,
                })
                .to_vec();
        }
        let (plan, _, _) = world.plan(DeployOptions::default()).unwrap();
        let step = recording
            .steps()
            .iter()
            .find(|s| s["command"] == command)
            .unwrap();
        let mut recorded: Vec<String> = step["cpi"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| &call["stdin"])
            .filter(|call| call["method"] == "create_vm")
            .map(|call| json!([call["arguments"][2], call["arguments"][3]]).to_string())
            .collect();
        let created = plan.instances.iter().filter(|i| !i.create.is_empty());
        let mut ours: Vec<String> = created
            .map(|i| {
                // Manifest order, as agents and CPIs got them.
                let mut networks = serde_json::Map::new();
                for network in i.spec.networks.iter().rev() {
                    networks.insert(network.0.to_string(), network.1.clone());
                }
                json!([i.spec.cloud_properties, networks]).to_string()
            })
            .collect();
        if name == "first-deploy" {
            // One worker was enough: one package waits for the other.
            ours.push(
                json!([
                    plan.compilation.cloud_properties,
                    plan.compilation.worker_networks[0].settings
                ])
                .to_string(),
            );
        }
        recorded.sort();
        ours.sort();
        assert_eq!(ours, recorded, "{command}");
    }
}
