//! Runs the program against a scripted director and compares standard output, standard error, exit code,
//! requests and external commands with what the original was recorded to do.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use support::{Answer, Director, Request, Tls};

/// Recorded cases that are not compared, and why.
const LEFT_OUT: &[(&str, &str)] = &[];

/// Recorded `/info`, as text: `curl` prints it byte by byte.
const INFO: &str = r#"{"name": "my-bosh", "uuid": "u-u-i-d", "version": "280.0.1 (00000000)", "user": USER, "cpi": "openstack_cpi", "stemcell_os": "ubuntu-jammy", "stemcell_version": "1.9", "features": {"snapshots": {"status": false}, "local_dns": {"status": true}}, "user_authentication": {"type": "basic", "options": {}}}"#;

#[test]
fn every_recorded_case_is_reproduced() {
    let text = include_str!("../../tests/vectors/cli-output.json");
    let vectors: Value = serde_json::from_str(text).expect("valid vectors");
    let fixtures = Arc::new(vectors["fixtures"].clone());
    let tls = Tls::new();
    let only = std::env::var("CASE").ok();
    let mut failures = Vec::new();
    for case in vectors["cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        let skipped = LEFT_OUT.iter().any(|(left_out, _)| *left_out == name);
        if skipped || only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        if let Err(problem) = check(case, name, &fixtures, &tls) {
            failures.push(format!("=== {name}\n{problem}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} cases differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn check(case: &Value, name: &str, fixtures: &Arc<Value>, tls: &Tls) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, cwd, bin, calls) = (
        folder.path().join("home"),
        folder.path().join("cwd"),
        folder.path().join("bin"),
        folder.path().join("calls"),
    );
    for path in [&home, &cwd, &bin, &calls] {
        std::fs::create_dir(path).expect("a folder");
    }
    for program in ["ssh", "scp"] {
        fake_program(&bin, program, &calls);
    }
    if let Some(files) = case["files"].as_object() {
        for (file, content) in files {
            std::fs::write(cwd.join(file), content.as_str().unwrap_or_default()).expect("written");
        }
    }
    let (script_name, script_fixtures) = (name.to_owned(), fixtures.clone());
    let director = Director::start(tls, move |request| {
        answer(&script_name, &script_fixtures, request)
    });

    let mut command = Command::new(env!("CARGO_BIN_EXE_bosun"));
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("HOME", &home)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("BOSH_ENVIRONMENT", &director.url)
        .env("BOSH_CA_CERT", &tls.ca)
        .current_dir(&cwd)
        .args(
            case["args"]
                .as_array()
                .expect("args")
                .iter()
                .filter_map(Value::as_str),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if !matches!(name, "env-anon" | "login") {
        command
            .env("BOSH_CLIENT", "admin")
            .env("BOSH_CLIENT_SECRET", "admin");
    }
    if let Some(variables) = case["env"].as_object() {
        for (key, value) in variables {
            command.env(key, value.as_str().unwrap_or_default());
        }
    }
    let mut child = command.spawn().expect("the program starts");
    let stdin = case["stdin"].as_str().unwrap_or_default().to_owned();
    // The program may end without reading: then nobody minds what was not written.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("the program ends");

    let places = Places {
        url: &director.url,
        cwd: &cwd,
        home: &home,
    };
    let stdout = places.normalize(&String::from_utf8_lossy(&output.stdout));
    let stderr = places.normalize(&String::from_utf8_lossy(&output.stderr));
    let mut problems = Vec::new();
    let mut compare = |what: &str, expected: Value, found: Value| {
        if expected != found {
            problems.push(format!(
                "{what}\n--- expected\n{}\n--- found\n{}",
                readable(&expected),
                readable(&found)
            ));
        }
    };
    compare(
        "exit code",
        case["exit_code"].clone(),
        json!(output.status.code()),
    );
    if let Some(expected) = case["stdout"].as_str() {
        compare("stdout", json!(expected), json!(stdout));
    }
    if let Some(expected) = case["stdout_lines_any_order"].as_array() {
        let mut lines: Vec<&str> = stdout.lines().filter(|line| !line.is_empty()).collect();
        lines.sort_unstable();
        compare("stdout lines", json!(expected), json!(lines));
    }
    if let Some(expected) = case["stderr"].as_str() {
        compare("stderr", json!(expected), json!(stderr));
    }
    let requests: Vec<String> = director
        .requests()
        .iter()
        .map(|request| hide_key(&places.normalize(request)))
        .collect();
    let expected: Vec<String> = case["requests"]
        .as_array()
        .map(|list| {
            list.iter()
                .filter_map(Value::as_str)
                .map(hide_key)
                .collect()
        })
        .unwrap_or_default();
    compare("requests", json!(expected), json!(requests));
    if case["external_commands"].is_array() {
        compare(
            "external commands",
            case["external_commands"].clone(),
            json!(recorded_calls(&calls, &places)),
        );
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

fn readable(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text}\n({text:?})"),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

/// A program that writes its arguments down and says where it came from.
fn fake_program(bin: &Path, name: &str, calls: &Path) {
    let path = bin.join(name);
    let script = format!(
        "#!/bin/sh\nf=$(mktemp {}/XXXXXX)\nprintf '%s\\n' {name} \"$@\" > $f.part && mv $f.part $f\necho out of {name}\necho err of {name} >&2\nexit ${{FAKERC:-0}}\n",
        calls.display()
    );
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
}

fn recorded_calls(calls: &Path, places: &Places) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = std::fs::read_dir(calls)
        .expect("a folder")
        .flatten()
        .map(|entry| std::fs::read_to_string(entry.path()).expect("read"))
        .map(|text| text.lines().map(|line| places.normalize(line)).collect())
        .collect();
    all.sort();
    all
}

/// Volatile texts and their placeholders.
struct Places<'a> {
    url: &'a str,
    cwd: &'a Path,
    home: &'a Path,
}

impl Places<'_> {
    fn normalize(&self, text: &str) -> String {
        let text = text
            .replace(self.url, "https://director:25555")
            .replace(&self.cwd.display().to_string(), "$CWD")
            .replace(&self.home.display().to_string(), "$HOME");
        let patterns = [
            (r"bosh_[0-9a-f]{15}", "bosh_<15 hex>"),
            (r"(ssh-priv-key|ssh-known-hosts)[A-Za-z0-9]+", "$1<n>"),
            (r"-\d{8}-\d{6}-\d+\.tgz", "-<timestamp>.tgz"),
        ];
        patterns.iter().fold(text, |text, (pattern, with)| {
            let pattern = regex::Regex::new(pattern).expect("a valid pattern");
            pattern.replace_all(&text, *with).into_owned()
        })
    }
}

/// Cuts a request at its public key, which is new every time.
fn hide_key(request: &str) -> String {
    match request.split_once("\"public_key\":\"") {
        Some((before, _)) => format!("{before}\"public_key\":\"<key>"),
        None => request.to_owned(),
    }
}

fn answer(case: &str, fixtures: &Value, request: &Request) -> Answer {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let query: BTreeMap<&str, &str> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let fixture = |name: &str| Answer::ok(fixtures[name].to_string());
    match (request.method.as_str(), &parts[..]) {
        ("GET", ["info"]) => {
            let user = if request.authorized {
                "\"admin\""
            } else {
                "null"
            };
            Answer::ok(INFO.replace("USER", user))
        }
        ("GET", ["tasks"]) => {
            let tasks: Vec<&Value> = ["9", "6", "5"]
                .iter()
                .map(|id| &fixtures["tasks"][id])
                .collect();
            Answer::ok(json!(tasks).to_string())
        }
        ("GET", ["tasks", id]) => task(fixtures, id),
        ("GET", ["tasks", id, "output"]) => {
            let kind = query.get("type").copied().unwrap_or("debug");
            output(fixtures, id, kind, request.range)
        }
        ("DELETE", ["task", _]) | ("POST", ["tasks", "cancel"]) => Answer::status(204, ""),
        ("GET", ["deployments"]) => fixture("deployments"),
        ("GET", ["deployments", _]) => Answer::ok(r#"{"manifest": "name: dep\n"}"#),
        ("POST", ["deployments", _, "diff"]) => Answer::ok(
            json!({"context": {"cloud_config_ids": [1]}, "diff": fixtures["diff"]}).to_string(),
        ),
        ("POST", ["deployments"]) if query.get("canaries") == Some(&"6") => Answer::task(6),
        ("POST", ["deployments"]) => Answer::task(5),
        ("GET", ["deployments", _, "problems"]) => fixture("problems"),
        ("PUT", ["deployments", _, "problems"]) if case == "cck-interactive" => {
            Answer::status(404, r#"{"code": 1, "description": "no"}"#)
        }
        ("PUT", ["deployments", _, "problems"]) | ("POST", ["deployments", _, "scans"]) => {
            Answer::task(10)
        }
        ("POST", ["deployments", _, "errands", _, "runs"]) => Answer::task(8),
        ("POST", ["deployments", _, "ssh"]) => Answer::task(11),
        ("GET", ["deployments", _, "jobs", _, _, "logs"]) => Answer::task(12),
        ("GET", ["resources", _]) => Answer::ok("the logs"),
        ("GET", ["events"]) => Answer::ok(events().to_string()),
        ("GET", ["configs"]) if query.get("type") == Some(&"deploy") => Answer::ok("[]"),
        ("GET", [name @ ("configs" | "releases" | "stemcells" | "locks")]) => fixture(name),
        ("GET", ["deployments", _, _])
        | ("PUT" | "POST" | "DELETE", ["deployments", ..])
        | ("POST", ["cleanup"])
        | ("PUT", ["disks", ..])
        | ("DELETE", ["releases", _]) => Answer::task(7),
        _ => Answer::status(
            404,
            format!("{{\"code\": 1, \"description\": \"no {path}\"}}"),
        ),
    }
}

fn task(fixtures: &Value, id: &str) -> Answer {
    if let Some(task) = fixtures["tasks"].get(id) {
        return Answer::ok(task.to_string());
    }
    let result = if id == "12" { "blob-1" } else { "" };
    let id: u32 = id.parse().expect("a number");
    Answer::ok(json!({"id": id, "state": "done", "result": result}).to_string())
}

fn output(fixtures: &Value, id: &str, kind: &str, range: Option<u64>) -> Answer {
    let text = match (id, kind) {
        ("11", "result") => fixtures["ssh_setup_result"].to_string(),
        _ => {
            let text = &fixtures["task_output"][format!("{id} {kind}")];
            text.as_str().unwrap_or_default().to_owned()
        }
    };
    match range {
        Some(start) if start as usize >= text.len() => {
            Answer::status(416, "Byte range unsatisfiable")
        }
        Some(start) => Answer::status(206, &text[start as usize..]),
        None if text.is_empty() => Answer::status(204, ""),
        None => Answer::ok(text),
    }
}

fn events() -> Value {
    json!([
        {"id": "3", "timestamp": 1_700_000_000, "user": "admin", "action": "update",
         "object_type": "deployment", "object_name": "dep", "task": "5", "deployment": "dep",
         "context": {"after": {"releases": ["r/1"]}}},
        {"id": "4", "parent_id": "3", "timestamp": 1_700_000_001, "user": "admin",
         "action": "update", "object_type": "deployment", "object_name": "dep", "task": "5",
         "context": {}, "error": "boom"}
    ])
}
