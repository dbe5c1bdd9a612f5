//! What a deploy shows and says, recorded and here, in one form that can be compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use test_support::Call;

use crate::bench::Ended;

/// By stage and step: states and statuses in order. Steps of one stage may overlap, so they are not ordered.
pub fn shown(lines: impl Iterator<Item = Json>) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines.filter(|line| line.get("stage").is_some()) {
        let task = without_uuids(line["task"].as_str().unwrap());
        let stage = without_uuids(line["stage"].as_str().unwrap());
        let key = format!("{stage} {} {} {task}", line["tags"], line["total"]);
        let state = format!(
            "{} {} {}",
            line["state"].as_str().unwrap(),
            line["progress"],
            line["data"]["status"]
        );
        all.entry(key).or_default().push(state);
    }
    all
}

pub fn events(ended: &Ended) -> BTreeMap<String, Vec<String>> {
    shown(ended.events.iter().cloned())
}

pub fn recorded_events(step: &Json) -> BTreeMap<String, Vec<String>> {
    let outputs = step["task_outputs"].as_object().unwrap();
    let output = outputs.values().next().unwrap();
    let lines = output["event"].as_str().unwrap().lines();
    shown(lines.map(|line| serde_json::from_str(line).unwrap()))
}

fn without_uuids(text: &str) -> String {
    let uuid =
        regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
    uuid.replace_all(text, "<uuid>").into_owned()
}

/// What went to agents and to the CPI, by instance (`web/0`; all compilation VMs as one).
#[derive(Default)]
pub struct Traffic {
    pub agents: BTreeMap<String, Vec<Json>>,
    pub cpi: BTreeMap<String, Vec<Json>>,
}

/// Instances of agents, by what the identity `apply` told them, or by what they say of themselves.
pub fn all_names(scenario: &Json) -> BTreeMap<String, String> {
    let steps = scenario["steps"].as_array().unwrap().iter();
    let mut names = BTreeMap::new();
    for message in steps.flat_map(|step| step["nats"].as_array().into_iter().flatten()) {
        let payload = &message["payload"];
        if payload["method"] == "apply" {
            let agent = message["subject"]
                .as_str()
                .unwrap()
                .trim_start_matches("agent.");
            names.insert(agent.to_owned(), instance_of(&payload["arguments"]));
        }
        let state = &payload["value"];
        if let (Some(agent), Some(_)) = (state["agent_id"].as_str(), state["job"]["name"].as_str())
        {
            names
                .entry(agent.to_owned())
                .or_insert_with(|| instance_of(&json!([state])));
        }
    }
    names
}

fn instance_of(apply: &Json) -> String {
    let group = apply[0]["job"]["name"].as_str().unwrap();
    match group.starts_with("compilation-") {
        true => "compilation".into(),
        false => format!("{group}/{}", apply[0]["index"]),
    }
}

impl Traffic {
    pub fn of_step(step: &Json, names: &BTreeMap<String, String>) -> Traffic {
        let mut traffic = Traffic::default();
        for message in step["nats"].as_array().unwrap() {
            let Some(agent) = message["subject"].as_str().unwrap().strip_prefix("agent.") else {
                continue;
            };
            let (method, arguments) = (
                &message["payload"]["method"],
                &message["payload"]["arguments"],
            );
            // Agents of other deployments hear of DNS records and addresses too.
            let Some(name) = names.get(agent) else {
                continue;
            };
            if method != "get_task" {
                traffic.message(name, method.as_str().unwrap(), arguments);
            }
        }
        let mut vms: BTreeMap<String, String> = BTreeMap::new();
        for call in step["cpi"].as_array().unwrap() {
            let (method, arguments) = (
                call["stdin"]["method"].as_str().unwrap(),
                &call["stdin"]["arguments"],
            );
            if method == "create_vm" {
                let name = names[arguments[0].as_str().unwrap()].clone();
                vms.insert(
                    call["stdout"]["result"][0].as_str().unwrap().to_owned(),
                    name,
                );
            }
            traffic.call(&vms, names, method, arguments);
        }
        traffic
    }

    /// `names` as known from earlier deploys; grows by those that this one made.
    pub fn of_calls(
        calls: Vec<Call>,
        mut names: BTreeMap<String, String>,
    ) -> (Traffic, BTreeMap<String, String>) {
        for call in calls.iter().filter(|call| call.method == "apply") {
            names.insert(call.agent_id.clone().unwrap(), instance_of(&call.arguments));
        }
        let created = calls.iter().filter(|call| call.method == "create_vm");
        let created = created.map(|call| call.arguments[0].as_str().unwrap());
        let vms: BTreeMap<String, String> = created
            .map(|agent| (format!("vm-{agent}"), names[agent].clone()))
            .collect();
        let mut traffic = Traffic::default();
        for call in &calls {
            match &call.agent_id {
                Some(agent) => traffic.message(&names[agent], &call.method, &call.arguments),
                None => traffic.call(&vms, &names, &call.method, &call.arguments),
            }
        }
        (traffic, names)
    }

    fn message(&mut self, instance: &str, method: &str, arguments: &Json) {
        let told = match method {
            "ping" | "sync_dns" | "delete_arp_entries" => return,
            // Looks at what is there, and what follows from it: the recorded agents only pretend to mount.
            "list_disk" | "unmount_disk" => return,
            "get_state" if instance == "compilation" => return,
            "apply" | "prepare" => spec(&arguments[0]),
            "drain" => json!([arguments[0], spec(&arguments[1])]),
            "run_script" => arguments.clone(),
            "update_settings" => {
                json!(arguments[0].as_object().unwrap().keys().collect::<Vec<_>>())
            }
            "compile_package" => {
                let deps: Vec<&String> = arguments[4].as_object().unwrap().keys().collect();
                json!([arguments[2], arguments[3], deps])
            }
            _ => Json::Null,
        };
        self.agents
            .entry(instance.to_owned())
            .or_default()
            .push(json!([method, told]));
    }

    fn call(
        &mut self,
        vms: &BTreeMap<String, String>,
        names: &BTreeMap<String, String>,
        method: &str,
        arguments: &Json,
    ) {
        let first = arguments[0].as_str().unwrap_or_default();
        let (instance, told) = match method {
            "info" | "set_vm_metadata" | "set_disk_metadata" | "snapshot_disk" => return,
            "create_vm" => (
                names.get(first).cloned(),
                json!([arguments[2], arguments[3]]),
            ),
            "create_disk" => (
                Some("disks".to_owned()),
                json!([arguments[0], arguments[1]]),
            ),
            _ => (vms.get(first).cloned(), Json::Null),
        };
        let instance = instance.unwrap_or_else(|| "before".into());
        self.cpi
            .entry(instance)
            .or_default()
            .push(json!([method, told]));
    }
}

/// A spec without digests, blob ids and uuids.
fn spec(spec: &Json) -> Json {
    let mut spec = spec.clone();
    let Some(map) = spec.as_object_mut() else {
        return spec;
    };
    let job = map.get("job").cloned().unwrap_or_default();
    let jobs: Vec<Json> = job["templates"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|job| json!([job["name"], job["version"], job["logs"]]))
        .collect();
    let packages = map
        .get("packages")
        .and_then(Json::as_object)
        .cloned()
        .unwrap_or_default();
    let packages: Vec<Json> = packages
        .values()
        .map(|package| json!([package["name"], package["version"]]))
        .collect();
    // Their order is nobody's business.
    let hashes: Option<BTreeSet<String>> = map
        .get("template_hashes")
        .map(|hashes| hashes.as_object().unwrap().keys().cloned().collect());
    let keys: Vec<String> = map.keys().cloned().collect();
    json!({
        "keys": keys,
        "jobs": jobs,
        "packages": packages,
        "index": map.get("index"),
        "az": map.get("az"),
        "networks": map.get("networks"),
        "persistent_disk": map.get("persistent_disk"),
        "template_hashes": hashes,
    })
}
