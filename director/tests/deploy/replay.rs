//! A director's HTTP API over a bench, and recorded steps replayed against it: the same requests get the same
//! answers, tasks, event lines and CPI calls, up to ids, times and how often something is listed.

use std::time::Duration;

use bosun_director::api::{Api, router};
use serde_json::{Value as Json, json};

use crate::bench::Bench;

/// Settings for a bench whose API is used.
pub fn settings() -> String {
    let hash = bosun_director::auth::hash_password("test").unwrap();
    format!(
        "uuid: deadbeef\nenable_snapshots: true\nusers: [{{name: test, password_hash: '{hash}'}}]\n"
    )
}

/// A client of the API.
pub struct Http {
    base: String,
    client: reqwest::Client,
}

/// An answer.
pub struct Answer {
    pub status: u64,
    pub task: Option<i64>,
    pub body: String,
}

impl Http {
    pub async fn of(bench: &Bench) -> Http {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = router(Api::new(bench.services.clone()).unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Http { base, client }
    }

    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let method = method.parse().unwrap();
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .basic_auth("test", Some("test"));
        if !body.is_empty() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        let location = response.headers().get("location");
        let task = location.and_then(|url| url.to_str().ok()?.rsplit('/').next()?.parse().ok());
        Answer {
            status: u64::from(response.status().as_u16()),
            task,
            body: response.text().await.unwrap(),
        }
    }

    /// Sends what the recorded step sent (but polls and listings of deployments) and compares.
    pub async fn replay(&self, bench: &Bench, step: &Json) {
        let command = step["command"].as_str().unwrap();
        bench.cloud.take_calls();
        let outputs = step["task_outputs"].as_object();
        // A blob's recorded id, and ours.
        let mut renamed = (String::from("<none>"), String::new());
        let mut outputs = outputs.into_iter().flat_map(|map| map.values());
        for call in step["http"].as_array().unwrap() {
            let path = call["path"].as_str().unwrap();
            let skipped = ["/tasks/", "/info", "/deployments?"];
            if skipped.iter().any(|start| path.starts_with(start)) || path == "/deployments" {
                continue;
            }
            let body = call["request"]["body"].as_str().unwrap_or_default();
            let answer = self
                .call(
                    call["method"].as_str().unwrap(),
                    &path.replace(&renamed.0, &renamed.1),
                    body,
                )
                .await;
            let recorded = &call["response"];
            assert_eq!(
                json!(answer.status),
                recorded["status"],
                "{command}: {path}: {}",
                answer.body
            );
            match answer.task {
                Some(task) => {
                    let recorded = outputs.next().unwrap();
                    self.compare_task(bench, command, task, recorded).await;
                    let ours = bench.output(task, "result").await.unwrap();
                    renamed = blob(recorded["result"].as_str().unwrap_or_default().as_bytes())
                        .zip(blob(&ours))
                        .unwrap_or(renamed);
                }
                None if recorded["body"].is_object() => assert!(!answer.body.is_empty()),
                None => assert!(
                    same(&answer.body, recorded["body"].as_str().unwrap()),
                    "{command}: {path}:\n{}\n{}",
                    answer.body,
                    recorded["body"]
                ),
            }
        }
        let ours = bench.cloud.take_calls().into_iter();
        let ours = ours.filter(|call| call.agent_id.is_none());
        let ours = ours.map(|call| json!([call.method, call.arguments]));
        let recorded = step["cpi"].as_array().unwrap().iter();
        let recorded =
            recorded.map(|call| json!([call["stdin"]["method"], call["stdin"]["arguments"]]));
        assert_eq!(calls(ours), calls(recorded), "CPI calls of {command}");
    }

    async fn compare_task(&self, bench: &Bench, command: &str, id: i64, recorded: &Json) {
        let ended = bench.ended(id).await.unwrap();
        let shown = self.call("GET", &format!("/tasks/{id}"), "").await.body;
        let shown: Json = serde_json::from_str(&shown).unwrap();
        let task = &recorded["task"];
        for key in ["state", "description", "user", "deployment"] {
            assert_eq!(
                masked(shown[key].clone()),
                masked(task[key].clone()),
                "{command}: {key} of the task: {shown}"
            );
        }
        let lines = recorded["event"].as_str().unwrap_or_default().lines();
        let lines: Vec<Json> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            events(ended.events.into_iter()),
            events(lines.into_iter()),
            "event lines of {command}"
        );
        // Ours say what to do next behind the original's words; an agent's failure is told in the agent's.
        let (ours, theirs) = (text(&shown["result"]), text(&task["result"]));
        let failed_in_agent = theirs.starts_with("Action Failed");
        // The original's answer to `delete-vm` is an accident.
        if !failed_in_agent && theirs != "true" {
            assert!(
                ours.starts_with(theirs.trim_end_matches("...")),
                "{command}: {ours}\n{theirs}"
            );
        }
        let result = bench.output(id, "result").await.unwrap();
        assert_eq!(
            result.is_empty(),
            recorded["result"].as_str().unwrap_or_default().is_empty(),
            "{command}"
        );
    }
}

/// The blob that a result line names.
fn blob(result: &[u8]) -> Option<String> {
    let line: Json = serde_json::from_slice(result).ok()?;
    line["blobstore_id"].as_str().map(str::to_owned)
}

fn text(value: &Json) -> String {
    masked(value.clone())
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Each kind of call once, without ids. Those of compiling are compared with deploys.
fn calls(all: impl Iterator<Item = Json>) -> Vec<String> {
    let mut calls: Vec<String> = all
        .filter(|call| {
            !["info", "create_vm", "set_vm_metadata"].contains(&call[0].as_str().unwrap())
        })
        .map(|mut call| {
            // CIDs of VMs are plain numbers there.
            if call[0] == "delete_vm" {
                call[1][0] = json!("<id>");
            }
            masked(call).to_string()
        })
        .collect();
    calls.sort();
    calls.dedup();
    calls
}

/// Lines without times, and without numbers that depend on which step was faster.
fn events(lines: impl Iterator<Item = Json>) -> Vec<String> {
    let mut lines: Vec<String> = lines
        .map(|mut line| {
            let map = line.as_object_mut().unwrap();
            map.remove("time");
            map.remove("index");
            map.remove("data");
            if let Some(error) = map.get_mut("error") {
                *error = error["code"].clone();
            }
            masked(line).to_string()
        })
        .collect();
    lines.sort();
    lines
}

/// Equal bodies: as JSON with keys in the same order, lists by the kinds of their entries, or as texts.
fn same(ours: &str, recorded: &str) -> bool {
    match (
        serde_json::from_str::<Json>(ours),
        serde_json::from_str::<Json>(recorded),
    ) {
        (Ok(ours), Ok(recorded)) => {
            let (ours, recorded) = (once(masked(ours)), once(masked(recorded)));
            let (code, begins) = (
                recorded.get("code").is_some(),
                |ours: &Json, theirs: &Json| {
                    text(&ours["description"]).starts_with(&text(&theirs["description"]))
                },
            );
            match code {
                true => ours["code"] == recorded["code"] && begins(&ours, &recorded),
                false => format!("{ours}") == format!("{recorded}"),
            }
        }
        _ => masked(json!(ours)) == masked(json!(recorded)),
    }
}

/// Lists with each entry once.
fn once(value: Json) -> Json {
    match value {
        Json::Array(items) => {
            let mut kept: Vec<Json> = Vec::new();
            for item in items.into_iter().map(once) {
                if !kept.contains(&item) {
                    kept.push(item);
                }
            }
            kept.into()
        }
        Json::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, once(value)))
            .collect(),
        other => other,
    }
}

/// Without ids and times.
fn masked(value: Json) -> Json {
    match value {
        Json::String(text) => {
            let ids = regex::Regex::new(
                "(disk-|snap-|vm-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\\b[0-9a-f]{32}\\b|\\b[0-9a-f]{40}\\b|sha256:[0-9a-f]+|stemcell-\\d",
            )
            .unwrap();
            let times = regex::Regex::new("\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d UTC").unwrap();
            let text = ids.replace_all(&text, "<id>");
            Json::String(times.replace_all(&text, "<time>").into_owned())
        }
        Json::Array(items) => items.into_iter().map(masked).collect(),
        Json::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, masked(value)))
            .collect(),
        other => other,
    }
}
