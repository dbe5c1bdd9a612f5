//! Every request, reply, heartbeat and alert that was recorded between the original director and its agents parses
//! into this crate's types and is written back as it was.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use agent_protocol::{
    AgentState, Alert, ApplySpec, CompilePackage, Dependency, ErrandResult, FetchedLogs, Heartbeat,
    PROTOCOL, Process, Reply, Request, Response, SshResult, UpdateSettings, UploadBlob, Vitals,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn messages() -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/wire");
    let mut messages = Vec::new();
    for entry in fs_err::read_dir(&folder).expect("vectors") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|ext| ext != "json") {
            continue;
        }
        let text = fs_err::read_to_string(&path).expect("vector");
        let document: Value = serde_json::from_str(&text).expect("json");
        for step in document["steps"].as_array().expect("steps") {
            for message in step["nats"].as_array().into_iter().flatten() {
                let subject = message["subject"].as_str().expect("subject").to_owned();
                messages.push((subject, message["payload"].clone()));
            }
        }
    }
    messages
}

fn round_trip<T: DeserializeOwned + Serialize>(recorded: &Value) {
    let typed: T = serde_json::from_value(recorded.clone())
        .unwrap_or_else(|error| panic!("{error}: {recorded}"));
    let written = serde_json::to_value(&typed).expect("json");
    assert_eq!(&written, recorded);
    // Not only equal: the keys stand in the same order, so that the bytes are the same.
    assert_eq!(written.to_string(), recorded.to_string());
}

fn check_arguments(method: &str, arguments: &[Value]) {
    match method {
        "apply" | "prepare" => round_trip::<ApplySpec>(&arguments[0]),
        "drain" => {
            round_trip::<agent_protocol::DrainType>(&arguments[0]);
            round_trip::<ApplySpec>(&arguments[1]);
        }
        "update_settings" => round_trip::<UpdateSettings>(&arguments[0]),
        "upload_blob" => round_trip::<UploadBlob>(&arguments[0]),
        "compile_package" => {
            let deps: BTreeMap<String, Dependency> =
                serde_json::from_value(arguments[4].clone()).expect("deps");
            let text = |i: usize| arguments[i].as_str().expect("text").to_owned();
            let request = CompilePackage {
                blobstore_id: text(0),
                digest: text(1),
                name: text(2),
                version: text(3),
                deps,
            };
            assert_eq!(request.to_arguments(), arguments);
        }
        "run_script" if arguments[1] != json!({}) => {
            let states = agent_protocol::NextStates {
                delete_vm: arguments[1]["env"]["BOSH_VM_NEXT_STATE"] == "delete",
                delete_instance: arguments[1]["env"]["BOSH_INSTANCE_NEXT_STATE"] == "delete",
                delete_deployment: arguments[1]["env"]["BOSH_DEPLOYMENT_NEXT_STATE"] == "delete",
            };
            assert_eq!(states.to_options().to_string(), arguments[1].to_string());
        }
        _ => {}
    }
}

fn check_result(method: &str, value: &Value) {
    match method {
        "get_state" => {
            let state: AgentState = serde_json::from_value(value.clone()).expect("state");
            assert_eq!(
                serde_json::to_value(&state).expect("json").to_string(),
                value.to_string()
            );
            for process in value["processes"].as_array().into_iter().flatten() {
                round_trip::<Process>(process);
            }
            if let Some(vitals) = value.get("vitals") {
                round_trip::<Vitals>(vitals);
            }
        }
        "run_errand" => round_trip::<ErrandResult>(value),
        "fetch_logs" => round_trip::<FetchedLogs>(value),
        "ssh" => round_trip::<SshResult>(value),
        "compile_package" => round_trip::<agent_protocol::CompiledPackage>(&value["result"]),
        "info" => round_trip::<agent_protocol::AgentInfo>(value),
        _ => {}
    }
}

#[test]
fn recorded_messages_parse_into_our_types_and_are_written_back_the_same() {
    let messages = messages();
    assert!(messages.len() > 1000, "only {} messages", messages.len());
    let mut asked: HashMap<String, (String, Vec<Value>)> = HashMap::new();
    let mut tasks: HashMap<String, String> = HashMap::new();
    for (subject, payload) in &messages {
        if subject.starts_with("agent.") {
            if payload.get("arguments").is_none() {
                continue; // a message to the test supervisor, not an action
            }
            round_trip::<Request>(payload);
            let request: Request = serde_json::from_value(payload.clone()).expect("request");
            assert_eq!(request.protocol, PROTOCOL);
            check_arguments(&request.method, &request.arguments);
            asked.insert(request.reply_to, (request.method, request.arguments));
        } else if subject.starts_with("director.") {
            round_trip::<Response>(payload);
            let Some((method, arguments)) = asked.get(subject) else {
                continue; // a reply may be recorded before its request
            };
            let reply = Reply::parse(payload.to_string().as_bytes()).expect("a reply");
            let method = match method.as_str() {
                "get_task" => match tasks.get(arguments[0].as_str().expect("task id")) {
                    Some(method) => method.clone(),
                    None => continue,
                },
                method => method.to_owned(),
            };
            match reply {
                Reply::Running(task) => {
                    tasks.insert(task.agent_task_id, method);
                }
                Reply::Done(value) => check_result(&method, &value),
                Reply::Exception(exception) => assert!(!exception.message.is_empty()),
            }
        } else if subject.starts_with("hm.agent.heartbeat.") {
            round_trip::<Heartbeat>(payload);
        } else if subject.starts_with("hm.agent.alert.") {
            round_trip::<Alert>(payload);
        } else if subject.starts_with("hm.agent.shutdown.") {
            assert!(payload.is_null());
        }
    }
}
