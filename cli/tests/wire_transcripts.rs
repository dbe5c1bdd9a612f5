//! Replays recorded conversations of the original CLI with the original director: the program is started with
//! the same words, the scripted director gives the recorded answers, and what is printed, the exit code and the
//! requests have to be the recorded ones. Polls of tasks are not compared: how often is not part of the contract.

mod support;

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use support::{Answer, Director, Request, Tls};

/// Recorded steps that are not replayed, by a part of the command, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        " ssh ",
        "needs the hosts of the recording; cli_output covers the requests",
    ),
    (
        " scp ",
        "needs the hosts of the recording; cli_output covers the requests",
    ),
    (
        "upload-release wire-demo",
        "the tarball's bytes are not in the recording",
    ),
    (
        "upload-release --",
        "the tarball's bytes are not in the recording",
    ),
    (
        "upload-stemcell demo-stemcell",
        "the tarball's bytes are not in the recording",
    ),
    (
        "upload-stemcell --fix",
        "the tarball's bytes are not in the recording",
    ),
    (
        "export-release",
        "the download's bytes are not in the recording",
    ),
    (" logs ", "the download's bytes are not in the recording"),
    (
        "--download-logs",
        "the download's bytes are not in the recording",
    ),
    ("--with-heartbeat", "heartbeats depend on the clock"),
    (
        "not-an-archive",
        "the original prints what its tar program says",
    ),
];

/// Steps whose error text is better here than the original's, by a part of that text.
const BETTER_TEXT: &[&str] = &[
    // The original names its own types.
    "cannot unmarshal",
    // A way out follows.
    "Not authorized",
    // The original loses the body of a 401 on its way to a log.
    "status code '401' response ''",
    // Two YAML parsers, two ways to say it.
    "found a tab character",
];

#[test]
fn recorded_conversations_are_held_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/wire");
    let only = std::env::var("STEP").ok();
    let tls = Tls::new();
    let mut failures = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the transcripts")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a transcript");
        let document: Value = serde_json::from_str(&text).expect("a valid transcript");
        for step in document["steps"].as_array().expect("steps") {
            let command = step["command"].as_str().unwrap_or_default();
            // Long texts were cut when they were recorded: what is gone can not be compared.
            let cut = step.to_string().contains("\u{2026}(cut ");
            let replayed = command.starts_with("bosh ")
                && !cut
                && step["exit_code"].as_i64() != Some(-1)
                && !LEFT_OUT.iter().any(|(part, _)| command.contains(part))
                && only.as_deref().is_none_or(|only| command.contains(only));
            if !replayed {
                continue;
            }
            count += 1;
            if let Err(problem) = replay(step, command, &document, &tls) {
                let scenario = document["scenario"].as_str().unwrap_or_default();
                failures.push(format!("=== {scenario}: {command}\n{problem}"));
            }
        }
    }
    assert!(count > 0, "no step was replayed");
    assert!(
        failures.is_empty(),
        "{} of {count} steps differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn replay(step: &Value, command: &str, document: &Value, tls: &Tls) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, cwd) = (folder.path().join("home"), folder.path().join("cwd"));
    for path in [&home, &cwd] {
        std::fs::create_dir(path).expect("a folder");
    }
    for (name, content) in document["files"].as_object().into_iter().flatten() {
        let content = content.as_str().unwrap_or_default();
        std::fs::write(cwd.join(name), content).expect("written");
    }
    // Some manifests are only in the recording as what was sent of them.
    for name in words(command).iter().filter(|word| word.ends_with(".yml")) {
        let sent = exchanges(step).find(|exchange| exchange["method"] == "POST");
        if let (false, Some(exchange)) = (cwd.join(name).exists(), sent) {
            let body = exchange["request"]["body"].as_str().unwrap_or_default();
            std::fs::write(cwd.join(name), body).expect("written");
        }
    }
    let tape = Tape::of(step, document);
    let director = Director::start(tls, move |request| tape.answer(request));
    let (user, password) = user(step);
    let output = Command::new(env!("CARGO_BIN_EXE_bosun"))
        .env_clear()
        .env("HOME", &home)
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .args(["-n", "-e", &director.url])
        .env("BOSH_CA_CERT", &tls.ca)
        .args(["--client", user, "--client-secret", password])
        .args(words(command).iter().skip(1))
        .current_dir(&cwd)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let place = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).replace(&director.url, "https://127.0.0.1:25555")
    };
    let mut problems = Vec::new();
    let mut compare = |what: &str, expected: Value, found: Value| {
        if expected != found {
            problems.push(format!("{what}\n  expected {expected}\n  found    {found}"));
        }
    };
    compare(
        "exit code",
        step["exit_code"].clone(),
        json!(output.status.code()),
    );
    compare(
        "stdout",
        step["stdout"].clone(),
        json!(place(&output.stdout)),
    );
    let stderr = step["stderr"].as_str().unwrap_or_default();
    if !BETTER_TEXT.iter().any(|part| stderr.contains(part)) {
        compare("stderr", json!(stderr), json!(place(&output.stderr)));
    }
    compare(
        "requests",
        json!(recorded_requests(step)),
        json!(compared(director.requests())),
    );
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

/// Who typed the command, and with what password.
fn user(step: &Value) -> (&str, &str) {
    let text = step["as"].as_str().unwrap_or("test");
    text.split_once(':').unwrap_or((text, text))
}

/// Splits a command line at blanks, minding quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' | '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => {
                if let Some(word) = words.last_mut() {
                    word.push(letter);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn exchanges(step: &Value) -> impl Iterator<Item = &Value> {
    step["http"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|exchange| exchange["client"] == client(step))
}

/// Commands that ran in the background while other steps were taken are marked so.
fn client(step: &Value) -> &'static str {
    let list = step["http"].as_array();
    let foreground = list
        .into_iter()
        .flatten()
        .any(|exchange| exchange["client"] == "cli");
    if foreground { "cli" } else { "cli2" }
}

/// What the original asked, in the form of [`Director::requests`].
fn recorded_requests(step: &Value) -> Vec<String> {
    let requests = exchanges(step)
        .map(|exchange| {
            let method = exchange["method"].as_str().unwrap_or_default();
            let path = exchange["path"].as_str().unwrap_or_default();
            let path = path.trim_end_matches('?');
            match method {
                "GET" => format!("GET {path}"),
                _ => {
                    let body = exchange["request"]["body"].as_str().unwrap_or_default();
                    let body: String = body.chars().take(200).collect();
                    format!("{method} {path} {body}")
                }
            }
        })
        .collect();
    let mut requests = compared(requests);
    // The original tries a request again after a 401, with the same credentials.
    requests.dedup();
    requests
}

/// Requests whose number or presence in the recordings varies are left out.
fn compared(requests: Vec<String>) -> Vec<String> {
    requests
        .into_iter()
        .filter(|request| {
            !request.starts_with("GET /info")
                && !request.starts_with("GET /tasks/")
                && !request.contains("type=deploy")
        })
        .collect()
}

/// The recorded answers. Repeated requests get their answers in order, and the last one again.
struct Tape {
    answers: Mutex<BTreeMap<String, VecDeque<Value>>>,
    task_outputs: Value,
}

impl Tape {
    fn of(step: &Value, document: &Value) -> Self {
        let mut answers: BTreeMap<String, VecDeque<Value>> = BTreeMap::new();
        // `/info` was kept once per scenario with and once without credentials.
        let everywhere = document["steps"].as_array().into_iter().flatten();
        let elsewhere = everywhere
            .flat_map(|step| step["http"].as_array().into_iter().flatten())
            .filter(|exchange| exchange["path"] == "/info")
            .filter(|exchange| {
                let authorized = exchange["request"]["headers"]["Authorization"].is_string();
                let body = exchange["response"]["body"].as_str().unwrap_or_default();
                authorized != body.contains("\"user\":null")
            });
        let other = regex::Regex::new(r#""user":"[^"]*""#).expect("a valid pattern");
        for exchange in exchanges(step).chain(elsewhere) {
            let authorized = exchange["request"]["headers"]["Authorization"].is_string();
            let key = key(
                exchange["method"].as_str().unwrap_or_default(),
                exchange["path"].as_str().unwrap_or_default(),
                authorized,
            );
            let list = answers.entry(key).or_default();
            // Nobody needs to wait again for a task that ended long ago.
            if exchange["path"].as_str().is_some_and(is_task) {
                list.clear();
            }
            let mut response = exchange["response"].clone();
            if let (true, Some(body)) = (exchange["path"] == "/info", response["body"].as_str()) {
                let own = format!(r#""user":"{}""#, user(step).0);
                response["body"] = json!(other.replace(body, own));
            }
            list.push_back(response);
        }
        Tape {
            answers: Mutex::new(answers),
            task_outputs: step["task_outputs"].clone(),
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        if let Some((id, kind)) = request
            .target
            .strip_prefix("/tasks/")
            .and_then(|rest| rest.split_once("/output?type="))
            && let Some(text) = self.output(id, kind)
        {
            return slice(&text, request.range);
        }
        let mut answers = self.answers.lock().expect("no panic");
        let key = key(&request.method, &request.target, request.authorized);
        let Some(list) = answers.get_mut(&key) else {
            return match request.target.as_str() {
                "/info" => {
                    Answer::ok(r#"{"user": "test", "user_authentication": {"type": "basic"}}"#)
                }
                path if path.contains("type=deploy") => Answer::ok("[]"),
                path => Answer::status(500, format!("{path} is not in the recording")),
            };
        };
        let response = if list.len() > 1 {
            list.pop_front().unwrap_or_default()
        } else {
            list.front().cloned().unwrap_or_default()
        };
        let body = response["body"].as_str().unwrap_or_default();
        let mut answer = Answer::status(
            response["status"].as_u64().unwrap_or(500) as u16,
            body.as_bytes(),
        );
        let headers = response["headers"].as_object().into_iter().flatten();
        for (_, value) in headers.filter(|(name, _)| name.eq_ignore_ascii_case("location")) {
            let location = value.as_str().unwrap_or_default();
            answer.headers.push(("Location", location.to_owned()));
        }
        answer
    }

    /// A whole output, from the summary of the step's tasks or from the recorded requests.
    fn output(&self, id: &str, kind: &str) -> Option<String> {
        let outputs = self.task_outputs.get(id)?;
        Some(outputs.get(kind)?.as_str()?.to_owned())
    }
}

/// Whether a path is that of a task itself.
fn is_task(path: &str) -> bool {
    path.strip_prefix("/tasks/")
        .is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
}

fn key(method: &str, path: &str, authorized: bool) -> String {
    let who = if path == "/info" && authorized {
        " as user"
    } else {
        ""
    };
    format!("{method} {}{who}", path.trim_end_matches('?'))
}

fn slice(text: &str, range: Option<u64>) -> Answer {
    match range {
        Some(start) if start as usize >= text.len() => Answer::status(416, ""),
        Some(start) => Answer::status(206, &text.as_bytes()[start as usize..]),
        None => Answer::ok(text),
    }
}
