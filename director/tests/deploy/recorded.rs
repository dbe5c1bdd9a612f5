//! The original director's recorded deploys (tests/vectors/wire): the same manifests, release and stemcell here
//! give the same event lines, the same messages to each agent and the same calls of the CPI for each VM.
//!
//! Left out: what the recording has switched on beside deploys (local DNS, ARP flushing, snapshots), polls and pings,
//! repeated metadata; names that differ from run to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use release_archive::{CreateOptions, ReleaseDir};
use serde_json::{Value as Json, json};

use crate::bench::{Bench, Ended};
use crate::traffic::{Traffic, all_names, events, recorded_events};

fn wire() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/wire")
}

pub struct Scenario(pub Json);

impl Scenario {
    pub fn load(name: &str) -> Scenario {
        let text = fs_err::read_to_string(wire().join(format!("{name}.json"))).unwrap();
        Scenario(serde_json::from_str(&text).unwrap())
    }

    pub fn file(&self, name: &str) -> &str {
        self.0["files"][name].as_str().unwrap()
    }

    pub fn steps(&self) -> &[Json] {
        self.0["steps"].as_array().unwrap()
    }

    /// The step that deploys this file.
    fn deploy(&self, file: &str) -> &Json {
        let command = format!("bosh -d shop deploy {file}");
        self.steps()
            .iter()
            .find(|step| step["command"] == command.as_str())
            .unwrap()
    }
}

/// The recorded release, stemcells (without signed URLs, as it was there) and configs, in an otherwise empty director of the recorded name.
async fn bench(deployment: &str) -> Bench {
    bench_with(deployment, "").await
}

/// The same with more settings.
pub async fn bench_with(deployment: &str, settings: &str) -> Bench {
    let scenario = Scenario::load("first-deploy");
    let bench = Bench::with_settings("TestDirector", deployment, settings)
        .await
        .unwrap();
    let mut sql = bench.sql().await.unwrap();
    for version in ["1", "2"] {
        let cid = format!("stemcell-{version}");
        sqlx::query(
            "insert into stemcells (name, version, operating_system, cid, api_version) values ('demo-stemcell', $1, 'demo-os', $2, 2)",
        )
        .bind(version)
        .bind(&cid)
        .execute(&mut sql)
        .await
        .unwrap();
        bench.cloud.add_stemcell(&cid);
    }
    for (kind, name, file) in [
        ("cloud", "default", "cloud.yml"),
        ("runtime", "addon", "addon.yml"),
    ] {
        sqlx::query("insert into configs (type, name, content) values ($1, $2, $3)")
            .bind(kind)
            .bind(name)
            .bind(as_sent(scenario.file(file)))
            .execute(&mut sql)
            .await
            .unwrap();
    }
    upload(&bench, "1").await;
    bench
}

/// What the shell of the recorded agent says of a package that does not compile, and what the simulated one says.
pub const SHELL_SAYS: &str = "Command exited with 3; Stdout: , Stderr: + echo 'no such header: demo.h'\nno such header: demo.h\n+ exit 3\n";
pub const AGENT_SAYS: &str = "Command exited with 1; Stdout: , Stderr: crashpkg does not compile\n";

/// The recorded release, as it is in this version (the README of the recordings).
pub async fn upload(bench: &Bench, version: &str) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("release");
    copy(&wire().join("assets/release"), &source);
    if version == "2" {
        fs_err::write(source.join("src/site/index.html"), "site 2\n").unwrap();
        let template = source.join("jobs/web/templates/web.yml.erb");
        let text = fs_err::read_to_string(&template).unwrap();
        fs_err::write(template, text + "motd: v2\n").unwrap();
    }
    let options = CreateOptions {
        name: Some("wire-demo".into()),
        version: Some(version.parse().unwrap()),
        force: true,
        ..CreateOptions::default()
    };
    let opened = ReleaseDir::open(&source, folder.path().join("cache"));
    let release = opened.create_release(&options, &mut ()).unwrap();
    let tarball = bench.services.settings.data_dir.join("release.tgz");
    release
        .write_tarball(&tarball, &Default::default())
        .unwrap();
    bench
        .succeed("update_release", json!({"path": tarball}))
        .await;
}

/// A file as the command line sends it: keys in its order.
pub fn as_sent(file: &str) -> String {
    use manifest::yaml::{Dialect, parse, to_cli_string};
    to_cli_string(&parse(file, Dialect::Cli).unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs_err::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Deploys and compares with the recorded step. `new`: the instances are; the original stops even their jobs that
/// are not there yet and tells them their settings twice; here nothing is stopped and their progress counts less.
async fn compare(bench: &Bench, scenario: &Scenario, file: &str, new: bool) {
    bench.cloud.take_calls();
    let ended = bench.deploy(scenario.file(file)).await.unwrap();
    let left_out = if new {
        LeftOut::StopOfNew
    } else {
        LeftOut::Nothing
    };
    compare_with(bench, scenario, scenario.deploy(file), ended, left_out);
}

/// What is not compared.
#[derive(Clone, Copy, PartialEq)]
enum LeftOut {
    Nothing,
    StopOfNew,
    /// The original asks agents for their state where nothing follows from the answer.
    GetState,
}

fn compare_with(bench: &Bench, scenario: &Scenario, step: &Json, ended: Ended, left_out: LeftOut) {
    let command = step["command"].as_str().unwrap();
    let ended = ended
        .done()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    let names = bench.names.lock().unwrap().clone();
    let (mut ours, names) = Traffic::of_calls(bench.cloud.take_calls(), names);
    *bench.names.lock().unwrap() = names;
    let mut recorded = Traffic::of_step(step, &all_names(&scenario.0));
    let (mut lines, mut recorded_lines) = (events(&ended), recorded_events(step));
    if left_out == LeftOut::StopOfNew {
        for lines in [&mut lines, &mut recorded_lines] {
            lines.values_mut().for_each(without_stop_lines);
        }
    }
    for traffic in [&mut ours, &mut recorded] {
        match left_out {
            LeftOut::Nothing => {}
            LeftOut::StopOfNew => {
                traffic.agents.values_mut().for_each(without_stop_messages);
                traffic.agents.retain(|_, messages| !messages.is_empty());
            }
            LeftOut::GetState => {
                let messages = traffic.agents.values_mut();
                messages.for_each(|messages| messages.retain(|message| message[0] != "get_state"));
                traffic.agents.retain(|_, messages| !messages.is_empty());
            }
        }
    }
    assert_eq!(lines, recorded_lines, "event lines of {command}");
    assert_eq!(
        ours.agents, recorded.agents,
        "messages to agents of {command}"
    );
    assert_eq!(ours.cpi, recorded.cpi, "CPI calls of {command}");
}

fn without_stop_lines(states: &mut Vec<String>) {
    states.retain(|state| {
        ![
            "executing pre-stop",
            "executing drain",
            "stopping jobs",
            "executing post-stop",
        ]
        .iter()
        .any(|status| state.contains(status))
    });
    for state in states {
        *state = state
            .split(' ')
            .filter(|word| word.parse::<u32>().is_err())
            .collect::<Vec<_>>()
            .join(" ");
    }
}

fn without_stop_messages(messages: &mut Vec<Json>) {
    let scripts = [json!("pre-stop"), json!("post-stop")];
    messages.retain(|message| {
        let stops = ["prepare", "drain", "stop", "get_state", "update_settings"]
            .iter()
            .any(|method| message[0] == *method);
        !(stops || message[0] == "run_script" && scripts.contains(&message[1][0]))
    });
}

#[tokio::test]
async fn a_first_deploy_and_the_next_ones_are_the_recorded_ones() {
    let scenario = Scenario::load("first-deploy");
    let bench = bench("shop").await;
    compare(&bench, &scenario, "shop.yml", true).await;
    compare(&bench, &scenario, "shop-hello2.yml", false).await;
    bench.finish().await;
}

/// The deployment `shop` is there, as another scenario left it; then these files are deployed.
async fn after(base: (&str, &str), name: &str, files: &[(&str, bool)]) {
    let scenario = Scenario::load(name);
    let bench = bench("shop").await;
    bench.deployed(Scenario::load(base.0).file(base.1)).await;
    *bench.names.lock().unwrap() = Traffic::of_calls(bench.cloud.take_calls(), BTreeMap::new()).1;
    for (file, new) in files {
        compare(&bench, &scenario, file, *new).await;
    }
    bench.finish().await;
}

#[tokio::test]
async fn other_vm_types_and_stemcells_recreate_as_recorded() {
    after(
        ("scale", "down.yml"),
        "vm-type-and-stemcell-change",
        &[("large.yml", false), ("stem2.yml", false)],
    )
    .await;
}

#[tokio::test]
async fn disks_grow_and_go_as_recorded() {
    after(
        ("scale", "down.yml"),
        "disk-resize",
        &[("large.yml", false), ("none.yml", false)],
    )
    .await;
}

#[tokio::test]
async fn groups_grow_and_shrink_as_recorded() {
    after(
        ("first-deploy", "shop.yml"),
        "scale",
        &[("up.yml", true), ("down.yml", false), ("groups.yml", true)],
    )
    .await;
}

#[tokio::test]
async fn single_instances_are_stopped_started_and_recreated_as_recorded() {
    let scenario = Scenario::load("lifecycle-actions");
    let bench = bench("shop").await;
    bench.deployed(scenario.file("shop.yml")).await;
    *bench.names.lock().unwrap() = Traffic::of_calls(bench.cloud.take_calls(), BTreeMap::new()).1;
    let change = |instance: Option<&str>, group: &str, state: &str, skip_drain: Option<&str>| {
        let change = json!({"group": group, "instance": instance, "state": state});
        (
            "update_deployment",
            json!({"state_change": change, "skip_drain": skip_drain}),
        )
    };
    let action = |group: &str, instance: &str, action: &str, hard: bool, skip_drain: bool| {
        let args = json!({"group": group, "instance": instance, "action": action, "hard": hard, "skip_drain": skip_drain});
        ("update_instance", args)
    };
    let steps = [
        (0, change(Some("0"), "web", "stopped", None)),
        (2, change(Some("0"), "web", "started", None)),
        (3, change(Some("0"), "web", "detached", None)),
        (6, change(Some("0"), "web", "started", None)),
        (7, change(None, "db", "restart", Some("db"))),
        (9, action("web", "0", "stop", false, false)),
        (10, action("web", "0", "start", false, false)),
        (11, action("web", "0", "restart", false, true)),
        (12, action("db", "0", "recreate", true, false)),
        (13, action("web", "1", "stop", true, false)),
        (14, action("web", "1", "start", false, false)),
    ];
    for (at, (kind, args)) in steps {
        bench.cloud.take_calls();
        let ended = bench.run(kind, args).await.unwrap();
        // A detached instance is a new one to its agent.
        let left_out = if at == 6 {
            LeftOut::StopOfNew
        } else {
            LeftOut::GetState
        };
        compare_with(&bench, &scenario, &scenario.steps()[at], ended, left_out);
    }
    bench.finish().await;
}

#[tokio::test]
async fn an_errand_group_runs_as_recorded() {
    // There were other deployments in the same network.
    let text = Scenario::load("run-errand")
        .0
        .to_string()
        .replace("10.0.1.16", "10.0.1.11");
    let scenario = Scenario(serde_json::from_str(&text).unwrap());
    let bench = bench("shop").await;
    bench.deployed(scenario.file("shop.yml")).await;
    *bench.names.lock().unwrap() = Traffic::of_calls(bench.cloud.take_calls(), BTreeMap::new()).1;
    let ended = bench
        .run("run_errand", json!({"errand": "smoke"}))
        .await
        .unwrap();
    let step = &scenario.steps()[2];
    compare_with(&bench, &scenario, step, ended, LeftOut::StopOfNew);
    bench.finish().await;
}

#[tokio::test]
async fn a_deployment_is_deleted_as_recorded() {
    let scenario = Scenario::load("delete-vm-and-everything");
    let bench = bench("last").await;
    bench.deployed(scenario.file("last.yml")).await;
    *bench.names.lock().unwrap() = Traffic::of_calls(bench.cloud.take_calls(), BTreeMap::new()).1;
    let ended = bench.run("delete_deployment", json!({})).await.unwrap();
    let step = &scenario.steps()[7];
    compare_with(&bench, &scenario, step, ended, LeftOut::GetState);
    bench.finish().await;
}
