//! Holds the conversations of the recorded scenarios (tests/vectors/wire) with this director again: the requests of
//! the original CLI are sent to the API in their order, and statuses, bodies, tasks, results and errors have to be the
//! recorded ones.
//!
//! What differs from run to run (ids, CIDs, UUIDs) is bound when it is first met and has to stay the same from then on;
//! times and vital signs are not compared. Polls are left out: how often a client asks is not part of the contract.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use bosun_director::api::{Api, Server, router, serve};
use bosun_director::config::Listen;
use regex::Regex;
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use crate::bench::Bench;
use crate::traffic;

/// A director that listens, over a bench.
pub struct Replay {
    pub bench: Bench,
    url: String,
    http: reqwest::Client,
    same: Same,
    stop: CancellationToken,
    problems: Vec<String>,
}

/// Something done to the bench.
pub type Action<'a> = &'a (dyn Fn(&Bench) + Sync);

/// How to hold one scenario.
#[derive(Default)]
pub struct Plan<'a> {
    /// Done before a step: what the recording did outside of the API.
    pub before: &'a [(usize, Action<'a>)],
    /// Steps that are not held, and why.
    pub left_out: &'a [(usize, &'a str)],
    /// Where bosun says it differently on purpose: step, recorded text, text here.
    pub differs: &'a [(usize, &'a str, &'a str)],
}

impl Replay {
    pub async fn start(bench: Bench) -> Replay {
        let listen = Listen {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            tls: None,
            client_certificates: None,
        };
        let server = Server::bind(&listen).await.unwrap();
        let url = format!("http://{}", server.address());
        let stop = CancellationToken::new();
        tokio::spawn(serve(
            server,
            router(Api::new(bench.services.clone()).unwrap()),
            stop.clone(),
        ));
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Replay {
            bench,
            url,
            http,
            same: Same::default(),
            stop,
            problems: Vec::new(),
        }
    }

    /// Deploys a manifest and waits: what was there before the scenario.
    pub async fn deploy(&mut self, manifest: &str) {
        let request = self.http.post(format!("{}/deployments", self.url));
        let answer = request
            .basic_auth("test", Some("test"))
            .header("content-type", "text/yaml")
            .body(manifest.to_owned())
            .send()
            .await
            .unwrap();
        let id = task_of(answer.headers()["location"].to_str().unwrap()).unwrap();
        self.bench.ended(id).await.unwrap().done().unwrap();
    }

    /// Binds names that the recording knows from earlier scenarios: `group/index` of a deployment to the recorded UUID.
    pub async fn know(&mut self, deployment: &str, instances: &[(&str, i32, &str)]) {
        let mut sql = self.bench.sql().await.unwrap();
        for (group, index, recorded) in instances {
            let uuid: String = sqlx::query_scalar(
                "select i.uuid from instances i join deployments d on d.id = i.deployment_id
                 where d.name = $1 and i.group_name = $2 and i.index = $3",
            )
            .bind(deployment)
            .bind(group)
            .bind(index)
            .fetch_one(&mut sql)
            .await
            .unwrap();
            self.same.names.insert((*recorded).to_owned(), uuid);
        }
    }

    /// Binds one name more.
    pub fn bind(&mut self, recorded: &str, ours: &str) {
        self.same.names.insert(recorded.into(), ours.into());
    }

    /// All steps of the scenario, in order.
    pub async fn hold(&mut self, scenario: &Json, plan: &Plan<'_>) {
        let steps = scenario["steps"].as_array().unwrap();
        for (at, step) in steps.iter().enumerate() {
            for (_, action) in plan.before.iter().filter(|(step, _)| *step == at) {
                action(&self.bench);
            }
            if plan.left_out.iter().any(|(step, _)| *step == at) {
                continue;
            }
            let text = step.to_string();
            let mut told = text.clone();
            for (_, recorded, ours) in plan.differs.iter().filter(|(step, ..)| *step == at) {
                let inside = |text: &str| Json::from(text).to_string().trim_matches('"').to_owned();
                // Bodies are JSON in JSON: their quotes are escaped twice.
                told = told.replace(&inside(&inside(recorded)), &inside(&inside(ours)));
                told = told.replace(&inside(recorded), &inside(ours));
                assert_ne!(told, text, "step {at} does not say `{recorded}`");
            }
            let step: Json = serde_json::from_str(&told).unwrap();
            let before = self.problems.len();
            self.step(&step).await;
            for problem in &mut self.problems[before..] {
                *problem = format!("{at} {}: {problem}", step["command"].as_str().unwrap());
            }
        }
    }

    /// Panics with everything that differed.
    pub async fn finish(self) {
        self.stop.cancel();
        self.bench.finish().await;
        assert!(
            self.problems.is_empty(),
            "{} differences:\n{}",
            self.problems.len(),
            self.problems.join("\n")
        );
    }

    async fn step(&mut self, step: &Json) {
        let command = step["command"].as_str().unwrap();
        let polls = command.starts_with("raw ") || command.starts_with("bosh task ");
        for exchange in step["http"].as_array().into_iter().flatten() {
            let path = exchange["path"].as_str().unwrap();
            let is_poll = exchange["method"] == "GET" && path.starts_with("/tasks/");
            if path == "/info" || (is_poll && !polls) {
                continue;
            }
            self.exchange(step, exchange).await;
        }
    }

    async fn exchange(&mut self, step: &Json, exchange: &Json) {
        let (method, path) = (
            exchange["method"].as_str().unwrap(),
            exchange["path"].as_str().unwrap(),
        );
        let recorded = &exchange["response"];
        let url = format!("{}{}", self.url, self.same.forward(path));
        let mut request = self.http.request(method.parse().unwrap(), url);
        let headers = exchange["request"]["headers"].as_object().unwrap();
        if headers.contains_key("Authorization") {
            request = request.basic_auth("test", Some("test"));
        }
        for name in ["Content-Type", "Range", "X-Bosh-Context-Id"] {
            if let Some(value) = headers.get(name).and_then(Json::as_str) {
                request = request.header(name, value);
            }
        }
        let body = exchange["request"]["body"].as_str().unwrap_or_default();
        let answer = request.body(self.same.forward(body)).send().await.unwrap();
        let status = u64::from(answer.status().as_u16());
        let location = answer.headers().get("location").cloned();
        let body = answer.bytes().await.unwrap();
        let said = format!("{method} {path}");
        if Some(status) != recorded["status"].as_u64() {
            let text = String::from_utf8_lossy(&body);
            let wanted = &recorded["status"];
            self.problems
                .push(format!("{said}: {status}, not {wanted}: {text}"));
            return;
        }
        if let Some(location) = location {
            let theirs = recorded["headers"]["location"].as_str().unwrap_or_default();
            if let (Some(ours), Some(theirs)) =
                (task_of(location.to_str().unwrap()), task_of(theirs))
            {
                self.task(step, theirs, ours).await;
            }
            return;
        }
        let Some(wanted) = recorded["body"].as_str() else {
            return; // binary
        };
        let text = String::from_utf8_lossy(&body);
        match (serde_json::from_str(wanted), serde_json::from_str(&text)) {
            (Ok(wanted), Ok(found)) => self.compare(&said, &wanted, &found),
            _ if self.same.text(wanted, &text) => {}
            _ => self
                .problems
                .push(format!("{said}: answered `{text}`, not `{wanted}`")),
        }
    }

    /// Waits for our task and compares everything that is left of both.
    async fn task(&mut self, step: &Json, theirs: i64, ours: i64) {
        self.same
            .names
            .insert(format!("task {theirs}"), ours.to_string());
        let ended = self.bench.ended(ours).await.unwrap();
        let recorded = &step["task_outputs"][theirs.to_string()];
        if recorded.is_null() {
            return;
        }
        let request = self.http.get(format!("{}/tasks/{ours}", self.url));
        let answer = request
            .basic_auth("test", Some("test"))
            .send()
            .await
            .unwrap();
        let task: Json = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        self.compare("task", &recorded["task"], &task);
        let lines = recorded["event"].as_str().unwrap_or_default().lines();
        let lines: Vec<Json> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let stages = |lines: &[Json]| -> BTreeSet<String> {
            traffic::shown(lines.iter().cloned()).into_keys().collect()
        };
        let (wanted, found) = (stages(&lines), stages(&ended.events));
        for gone in wanted.difference(&found) {
            self.problems
                .push(format!("event line `{gone}` is not there"));
        }
        for new in found.difference(&wanted) {
            self.problems
                .push(format!("event line `{new}` is not recorded"));
        }
        let messages = |lines: &[Json]| -> Vec<Json> {
            let told = |line: &&Json| line.get("error").is_some() || line.get("message").is_some();
            lines.iter().filter(told).cloned().collect()
        };
        let (wanted, found) = (messages(&lines), messages(&ended.events));
        self.compare("event messages", &Json::from(wanted), &Json::from(found));
        if step["command"].as_str().unwrap().contains("--dry-run") {
            return; // tells its plan where the original says nothing
        }
        let result = self.bench.output(ours, "result").await.unwrap();
        let result = String::from_utf8(result).unwrap();
        let wanted = recorded["result"].as_str().unwrap_or_default();
        self.compare("result", &objects(wanted), &objects(&result));
    }

    fn compare(&mut self, said: &str, wanted: &Json, found: &Json) {
        let mut problems = Vec::new();
        self.same.value(said, wanted, found, &mut problems);
        self.problems.extend(problems);
    }
}

/// Instances in an order that does not depend on who was first; any other list as it is.
fn in_order(list: &[Json]) -> Vec<&Json> {
    let mut all: Vec<&Json> = list.iter().collect();
    all.sort_by_key(|object| {
        let name = ["job_name", "job"].iter().find_map(|key| object.get(*key));
        let group = object.pointer("/instance/group");
        let name = name.or(group).map(Json::to_string);
        (name, object.get("index").and_then(Json::as_i64))
    });
    all
}

/// The objects of a result.
fn objects(text: &str) -> Json {
    let mut all: Vec<Json> = serde_json::Deserializer::from_str(text)
        .into_iter()
        .map(|object| object.unwrap_or_else(|_| Json::from(text)))
        .collect();
    if let [Json::Array(list)] = all.as_slice() {
        all = list.clone();
    }
    Json::Array(all)
}

/// `config `, `task ` or another word for what the id at this place is an id of.
fn kind_of(at: &str) -> String {
    let (parent, key) = at.rsplit_once('.').unwrap_or(("", at));
    let thing = parent.rsplit('.').next().unwrap_or_default();
    if key.contains("config_ids") || thing == "config" {
        "config ".into()
    } else if thing == "task" || thing.contains("/tasks") {
        "task ".into()
    } else {
        format!("{} ", thing.split('[').next().unwrap_or_default())
    }
}

fn task_of(location: &str) -> Option<i64> {
    location.rsplit_once("/tasks/")?.1.parse().ok()
}

/// Which name of ours stands for which recorded one.
#[derive(Default)]
struct Same {
    names: HashMap<String, String>,
}

/// When: not compared, but there or not there as recorded.
const TIMES: &[&str] = &[
    "time",
    "timestamp",
    "started_at",
    "created_at",
    "vm_created_at",
    "orphaned_at",
];
/// What the simulated agents have to say, not the director; stemcells, which are older than the recorded ones; and
/// what bosun adds.
const OF_AGENTS: &[&str] = &[
    "vitals",
    "processes",
    "host_public_key",
    "ip",
    "sha1",
    "stdout",
    "stderr",
    "hint",
    "api_version",
];
/// Names that differ from run to run.
const NAMES: &[&str] = &[
    "id",
    "cid",
    "vm_cid",
    "disk_cid",
    "disk_cids",
    "disks",
    "agent_id",
    "blobstore_id",
    "snapshot_cid",
    "cloud_config_ids",
    "runtime_config_ids",
];

impl Same {
    fn bind(&mut self, recorded: &str, ours: &str) -> bool {
        let known = self.names.entry(recorded.to_owned());
        known.or_insert_with(|| ours.to_owned()) == ours
    }

    /// A text of the recording with our names in it.
    fn forward(&self, text: &str) -> String {
        let name = Regex::new(r"[0-9A-Za-z]+-[0-9A-Za-z-]+|[0-9a-f]{32}").unwrap();
        let text = name.replace_all(text, |found: &regex::Captures<'_>| self.name("", &found[0]));
        let task = Regex::new(r"^/tasks?/(\d+)").unwrap();
        let text = task.replace(&text, |found: &regex::Captures<'_>| {
            found[0].replace(&found[1], &self.name("task ", &found[1]))
        });
        let config = Regex::new(r"%5B(\d+)%5D").unwrap();
        config
            .replace_all(&text, |found: &regex::Captures<'_>| {
                format!("%5B{}%5D", self.name("config ", &found[1]))
            })
            .into_owned()
    }

    /// Our name for a recorded one of a kind.
    fn name(&self, kind: &str, recorded: &str) -> String {
        self.names
            .get(&format!("{kind}{recorded}"))
            .cloned()
            .unwrap_or_else(|| recorded.to_owned())
    }

    fn text(&mut self, recorded: &str, ours: &str) -> bool {
        let volatile = Regex::new(
            r"VM '[^']*'|cpi-\d+|(?:vm-|disk-|snap-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}",
        )
        .unwrap();
        let (names, our_names): (Vec<_>, Vec<_>) = (
            volatile.find_iter(recorded).map(|m| m.as_str()).collect(),
            volatile.find_iter(ours).map(|m| m.as_str()).collect(),
        );
        let rest = |text: &str| volatile.replace_all(text, "<name>").into_owned();
        let (mut rest, our_rest) = (rest(recorded), rest(ours));
        if rest != our_rest {
            // Task ids are plain numbers.
            let number = Regex::new(r"\d+").unwrap();
            rest = number
                .replace_all(&rest, |found: &regex::Captures<'_>| {
                    self.name("task ", &found[0])
                })
                .into_owned();
        }
        rest == our_rest
            && names
                .iter()
                .zip(our_names)
                .all(|(recorded, ours)| recorded.starts_with("cpi-") || self.bind(recorded, ours))
    }

    fn value(&mut self, at: &str, recorded: &Json, ours: &Json, problems: &mut Vec<String>) {
        let key = at.rsplit('.').next().unwrap_or(at);
        let key = key.split('[').next().unwrap_or(key);
        let both = recorded.is_null() == ours.is_null();
        let equal = match (recorded, ours) {
            _ if OF_AGENTS.contains(&key) => true,
            _ if TIMES.contains(&key) => both,
            (Json::Object(wanted), Json::Object(found)) => {
                let names = |map: &serde_json::Map<String, Json>| -> Vec<String> {
                    map.keys().filter(|key| *key != "hint").cloned().collect()
                };
                if names(wanted) != names(found) {
                    problems.push(format!(
                        "{at}: keys {:?}, not {:?}",
                        names(found),
                        names(wanted)
                    ));
                }
                for (key, value) in wanted {
                    if let Some(ours) = found.get(key) {
                        self.value(&format!("{at}.{key}"), value, ours, problems);
                    }
                }
                return;
            }
            (Json::Array(wanted), Json::Array(found)) if wanted.len() == found.len() => {
                let (wanted, found) = (in_order(wanted), in_order(found));
                for (index, (wanted, found)) in wanted.into_iter().zip(found).enumerate() {
                    self.value(&format!("{at}[{index}]"), wanted, found, problems);
                }
                return;
            }
            _ if NAMES.contains(&key) && both => {
                let plain = |value: &Json| match value.as_str() {
                    Some(text) => text.to_owned(),
                    None => value.to_string(),
                };
                // Plain numbers count each kind of thing on its own.
                let kind = match recorded {
                    Json::Number(_) => kind_of(at),
                    _ => String::new(),
                };
                recorded.is_null() || self.bind(&format!("{kind}{}", plain(recorded)), &plain(ours))
            }
            (Json::String(wanted), Json::String(found)) => self.text(wanted, found),
            _ => recorded == ours,
        };
        if !equal {
            problems.push(format!("{at}: {ours}, not {recorded}"));
        }
    }
}
