//! Holds the conversations of the recorded scenarios (tests/vectors/wire) with this director again: the requests of
//! the original CLI are sent to the API in their order, and statuses, bodies, tasks, event lines, results, errors and
//! calls of the CPI have to be the recorded ones.
//!
//! Polls are left out: how often a client asks is not part of the contract. Names that differ from run to run are
//! compared as `same` says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use bosun_director::api::{Api, Server, router, serve};
use bosun_director::config::Listen;
use reqwest::RequestBuilder;
use serde_json::{Value as Json, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bench::Bench;
use crate::recorded::{self, Scenario};
use crate::same::{Same, masked};
use crate::traffic;

/// The HTTP API over a bench, until this is dropped.
pub struct Http {
    url: String,
    client: reqwest::Client,
    _stop: DropGuard,
}

/// A scenario that is held with a director, and how far.
pub struct Replay {
    pub bench: Bench,
    pub scenario: Scenario,
    pub http: Http,
    same: Same,
    /// Steps that were held, or left out with a reason.
    seen: BTreeSet<usize>,
    problems: Vec<String>,
    /// The answer to a request of a step that was begun before its turn.
    begun: Option<Answer>,
}

/// Something done to the bench.
pub type Action<'a> = &'a (dyn Fn(&Bench) + Sync);

/// How to hold one scenario.
#[derive(Default)]
pub struct Plan<'a> {
    /// Done before a step: what the recording did outside of the API.
    pub before: &'a [(usize, Action<'a>)],
    /// Steps that are not held, and why.
    pub left_out: &'a [(&'a [usize], &'a str)],
    /// Where bosun says it differently on purpose, or names a thing otherwise: step, recorded text, text here.
    pub differs: &'a [(usize, &'a str, &'a str)],
    /// Event lines and calls of the CPI that only one of the two directors has: steps, part of the line, why.
    pub only_one: &'a [(&'a [usize], &'a str, &'a str)],
    /// Deployments of other scenarios, which are listed beside this one's.
    pub others: &'a [&'a str],
}

/// What is not compared in a step.
struct Leave<'a> {
    only_one: Vec<&'a str>,
    others: &'a [&'a str],
}

/// The answer to a request of a test's own.
pub struct Answer {
    pub status: u16,
    pub task: Option<i64>,
    pub body: String,
}

/// The recorded director, with the users and the settings of the recordings; tasks of the bench are about `deployment`.
pub async fn bench(deployment: &str) -> Bench {
    let hash = bosun_director::auth::hash_password("test").unwrap();
    let settings = format!(
        "uuid: deadbeef\nenable_snapshots: true\nusers: [{{name: test, password_hash: '{hash}'}}]\n"
    );
    recorded::bench_with(deployment, &settings).await
}

impl Http {
    pub async fn of(bench: &Bench) -> Http {
        let listen = Listen {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            tls: None,
            client_certificates: None,
        };
        let server = Server::bind(&listen).await.unwrap();
        let url = format!("http://{}", server.address());
        let stop = CancellationToken::new();
        let api = Api::new(bench.services.clone()).unwrap();
        tokio::spawn(serve(server, router(api), stop.clone()));
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Http {
            url,
            client,
            _stop: stop.drop_guard(),
        }
    }

    /// A request of a test's own.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = self.request(method, path).basic_auth("test", Some("test"));
        let request = match body.starts_with('{') {
            true => request.header("content-type", "application/json"),
            false => request.header("content-type", "text/yaml"),
        };
        send(request.body(body.to_owned())).await
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method.parse().unwrap(), url)
    }
}

impl Replay {
    pub async fn start(scenario: &str, bench: Bench) -> Replay {
        Replay {
            scenario: Scenario::load(scenario),
            http: Http::of(&bench).await,
            bench,
            same: Same::default(),
            seen: BTreeSet::new(),
            problems: Vec::new(),
            begun: None,
        }
    }

    /// In the recorded director, in which this deployment was made already.
    pub async fn with_deployment(scenario: &str, name: &str, manifest: &str) -> Replay {
        let mut replay = Replay::start(scenario, bench(name).await).await;
        // The ids of the cloud config and of the add-on.
        replay.bind("config 15", "1");
        replay.bind("config 16", "2");
        let answer = replay.http.call("POST", "/deployments", manifest).await;
        replay.bench.succeeded(answer.task.unwrap()).await;
        replay
    }

    /// Binds names that the recording knows from earlier scenarios: instances of a deployment to their recorded UUIDs.
    pub async fn know(mut self, deployment: &str, instances: &[(&str, i32, &str)]) -> Replay {
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
            self.bind(recorded, &uuid);
        }
        self
    }

    /// Binds one name more.
    pub fn bind(&mut self, recorded: &str, ours: &str) {
        self.same.bind(recorded, ours);
    }

    /// What has this recorded name here.
    pub fn ours(&self, recorded: &str) -> String {
        self.same.name("", recorded)
    }

    /// All steps of the scenario, in order.
    pub async fn hold_all(&mut self, plan: &Plan<'_>) {
        let all = self.scenario.steps().len();
        self.hold(0..all, plan).await;
    }

    /// These steps, in order. Panics with everything that differs.
    pub async fn hold(&mut self, steps: Range<usize>, plan: &Plan<'_>) {
        for at in steps {
            self.seen.insert(at);
            for (_, action) in plan.before.iter().filter(|(step, _)| *step == at) {
                action(&self.bench);
            }
            if plan.left_out.iter().any(|(steps, _)| steps.contains(&at)) {
                continue;
            }
            let mut told = self.scenario.steps()[at].to_string();
            for (_, recorded, ours) in plan.differs.iter().filter(|(step, ..)| *step == at) {
                told = replaced(&told, recorded, ours)
                    .unwrap_or_else(|| panic!("step {at} does not say `{recorded}`"));
            }
            let step: Json = serde_json::from_str(&told).unwrap();
            let before = self.problems.len();
            let only_one = plan
                .only_one
                .iter()
                .filter(|(steps, ..)| steps.contains(&at));
            let leave = Leave {
                only_one: only_one.map(|(_, part, _)| *part).collect(),
                others: plan.others,
            };
            self.step(&step, &leave).await;
            for problem in &mut self.problems[before..] {
                *problem = format!("{at} {}: {problem}", step["command"].as_str().unwrap());
            }
        }
        assert!(
            self.problems.is_empty(),
            "{} differences:\n{}",
            self.problems.len(),
            self.problems.join("\n")
        );
    }

    /// Sends the request of a step that ran beside the ones before it.
    pub async fn begin(&mut self, at: usize) {
        let step = &self.scenario.steps()[at];
        let mut exchanges = step["http"].as_array().unwrap().iter();
        let exchange = exchanges
            .rfind(|exchange| exchange["method"] == "POST")
            .unwrap();
        let answer = send(self.asked(exchange)).await;
        let location = exchange["response"]["headers"]["location"].as_str();
        let (theirs, ours) = (task_of(location.unwrap()).unwrap(), answer.task.unwrap());
        self.bind(&format!("task {theirs}"), &ours.to_string());
        self.begun = Some(answer);
    }

    /// The end; panics if a step was forgotten.
    pub async fn finish(self) {
        let all: BTreeSet<usize> = (0..self.scenario.steps().len()).collect();
        assert_eq!(self.seen, all, "steps that were held or left out");
        self.bench.finish().await;
    }

    async fn step(&mut self, step: &Json, leave: &Leave<'_>) {
        let command = step["command"].as_str().unwrap();
        let polls = command.starts_with("raw ") || command.starts_with("bosh task ");
        self.bench.cloud.take_calls();
        for exchange in step["http"].as_array().into_iter().flatten() {
            let path = exchange["path"].as_str().unwrap();
            let is_poll = exchange["method"] == "GET" && path.starts_with("/tasks/");
            if path == "/info" || (is_poll && !polls) {
                continue;
            }
            self.exchange(step, exchange, leave).await;
        }
        let ours = self.bench.cloud.take_calls().into_iter();
        let ours = ours.filter(|call| call.agent_id.is_none());
        let ours = calls(ours.map(|call| (call.method, call.arguments)));
        let recorded = step["cpi"].as_array().into_iter().flatten();
        let recorded = calls(recorded.map(|call| {
            let method = call["stdin"]["method"].as_str().unwrap();
            (method.to_owned(), call["stdin"]["arguments"].clone())
        }));
        self.sets("call of the CPI", recorded, ours, leave);
    }

    /// The recorded request, with our names.
    fn asked(&self, exchange: &Json) -> RequestBuilder {
        let path = self.same.forward(exchange["path"].as_str().unwrap());
        let method = exchange["method"].as_str().unwrap();
        let mut request = self.http.request(method, &path);
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
        request.body(self.same.forward(body))
    }

    async fn exchange(&mut self, step: &Json, exchange: &Json, leave: &Leave<'_>) {
        let (method, path) = (
            exchange["method"].as_str().unwrap(),
            exchange["path"].as_str().unwrap(),
        );
        let recorded = &exchange["response"];
        let begun = match method {
            "POST" => self.begun.take(),
            _ => None,
        };
        let answer = match begun {
            Some(answer) => answer,
            None => send(self.asked(exchange)).await,
        };
        let said = format!("{method} {path}");
        if recorded["status"] != answer.status {
            self.problems.push(format!(
                "{said}: {}, not {}: {}",
                answer.status, recorded["status"], answer.body
            ));
            return;
        }
        if let Some(ours) = answer.task {
            let location = recorded["headers"]["location"].as_str().unwrap_or_default();
            match task_of(location) {
                Some(theirs) => self.task(step, theirs, ours, leave).await,
                None => self
                    .problems
                    .push(format!("{said}: a task, not {recorded}")),
            }
            return;
        }
        let Some(wanted) = recorded["body"].as_str() else {
            if recorded["body"]["binary"] == true && answer.body.is_empty() {
                self.problems.push(format!("{said}: nothing"));
            }
            return;
        };
        match (read(wanted), read(&answer.body)) {
            (Some(mut wanted), Some(found)) => {
                without_others(path.starts_with("/deployments"), &mut wanted, leave.others);
                self.compare(&said, &wanted, &found);
            }
            _ if self.same.text(wanted, &answer.body) => {}
            _ => self.problems.push(format!(
                "{said}: answered `{}`, not `{wanted}`",
                answer.body
            )),
        }
    }

    /// Waits for our task and compares everything that is left of both.
    async fn task(&mut self, step: &Json, theirs: i64, ours: i64, leave: &Leave<'_>) {
        self.bind(&format!("task {theirs}"), &ours.to_string());
        let ended = self.bench.ended(ours).await.unwrap();
        let recorded = &step["task_outputs"][theirs.to_string()];
        if recorded.is_null() {
            self.problems
                .push(format!("nothing is recorded of task {theirs}"));
            return;
        }
        let answer = self.http.call("GET", &format!("/tasks/{ours}"), "").await;
        let task: Json = serde_json::from_str(&answer.body).unwrap();
        self.compare("task", &recorded["task"], &task);
        let lines = recorded["event"].as_str().unwrap_or_default().lines();
        let lines: Vec<Json> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        self.sets("event line", shown(&lines), shown(&ended.events), leave);
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
        self.same.value(said, wanted, found, &mut self.problems);
    }

    fn sets(
        &mut self,
        of: &str,
        mut wanted: BTreeSet<String>,
        mut found: BTreeSet<String>,
        leave: &Leave<'_>,
    ) {
        for set in [&mut wanted, &mut found] {
            set.retain(|line| !leave.only_one.iter().any(|part| line.contains(part)));
        }
        for gone in wanted.difference(&found) {
            self.problems.push(format!("{of} `{gone}` is not there"));
        }
        for new in found.difference(&wanted) {
            self.problems.push(format!("{of} `{new}` is not recorded"));
        }
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let location = answer.headers().get("location");
    Answer {
        status: answer.status().as_u16(),
        task: location.and_then(|url| task_of(url.to_str().ok()?)),
        body: String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned(),
    }
}

fn task_of(location: &str) -> Option<i64> {
    location.rsplit_once("/tasks/")?.1.parse().ok()
}

/// A step that says `ours` for `recorded`, also in bodies and in event lines, which are JSON in JSON: in them quotes
/// are escaped once more, and in their texts twice more. `None` if it does not say it.
fn replaced(step: &str, recorded: &str, ours: &str) -> Option<String> {
    let inside = |text: &str| {
        let text = Json::from(text).to_string();
        text[1..text.len() - 1].to_owned()
    };
    let mut pairs = vec![(recorded.to_owned(), ours.to_owned())];
    while pairs.len() < 3 {
        let (recorded, ours) = &pairs[pairs.len() - 1];
        pairs.push((inside(recorded), inside(ours)));
    }
    pairs.dedup();
    let replace = |told: String, (recorded, ours): &(String, String)| told.replace(recorded, ours);
    let told = pairs.iter().rev().fold(step.to_owned(), replace);
    (told != step).then_some(told)
}

/// A list of deployments, or a thing that names those that use it, without these.
fn without_others(deployments: bool, value: &mut Json, others: &[&str]) {
    match value {
        Json::Array(list) => {
            if deployments {
                list.retain(|item| !others.iter().any(|other| item["name"] == *other));
            }
            for item in list {
                without_others(false, item, others);
            }
        }
        Json::Object(map) => {
            for (key, value) in map {
                without_others(key == "deployments", value, others);
            }
        }
        _ => {}
    }
}

/// Each kind of call once, without ids. Those that make VMs depend on what was compiled before: they are compared
/// by `recorded`.
fn calls(all: impl Iterator<Item = (String, Json)>) -> BTreeSet<String> {
    all.filter(|(method, _)| !["info", "create_vm", "set_vm_metadata"].contains(&method.as_str()))
        .map(|(method, mut arguments)| {
            match method.as_str() {
                // CIDs of VMs are plain numbers there.
                "delete_vm" | "has_vm" | "attach_disk" | "detach_disk" => {
                    arguments[0] = json!("<id>");
                }
                "create_disk" => arguments.as_array_mut().unwrap().truncate(2),
                _ => {}
            }
            format!("{method} {}", masked(arguments))
        })
        .collect()
}

/// Steps of stages and their states, without ids. What an update says between its beginning and its end is compared
/// by `recorded`.
fn shown(lines: &[Json]) -> BTreeSet<String> {
    let all: BTreeMap<String, Vec<String>> = traffic::shown(lines.iter().cloned().map(masked));
    let mut told = BTreeSet::new();
    for (step, mut states) in all {
        states.retain(|state| !state.starts_with("in_progress"));
        states.sort();
        told.insert(format!("{step}: {states:?}"));
    }
    told
}

/// A document, or several one after the other, as in output of tasks.
fn read(text: &str) -> Option<Json> {
    let all: Vec<Json> = serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .ok()?;
    match all.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => Some(Json::Array(all)),
    }
}

/// The objects of a result; a text that is none as it is.
fn objects(text: &str) -> Json {
    match read(text) {
        Some(Json::Array(all)) => Json::Array(all),
        Some(one) => Json::Array(vec![one]),
        None if text.is_empty() => Json::Array(Vec::new()),
        None => Json::from(text),
    }
}
