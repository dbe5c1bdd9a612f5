//! The form of requests and answers.

use serde_json::{Map, Value, json};
use std::time::Duration;

use super::Planned;
use super::driver::{World, ensure, ensure_kind};
use crate::FaultKind;

pub(super) const CHECKS: &[Planned] = &[
    Planned(
        1,
        "info answers at once, without anything",
        info_answers_at_once,
    ),
    Planned(
        2,
        "answers have result, error and a log of text",
        answers_keep_their_form,
    ),
    Planned(
        4,
        "unknown methods and malformed requests get an error",
        malformed_requests,
    ),
    Planned(
        5,
        "a version above the advertised one is not supported",
        too_high_a_version,
    ),
    Planned(6, "contexts of all callers are accepted", contexts),
];

fn info(world: &World) -> Result<Value, String> {
    world
        .call_with("info", json!([]), world.context(), None)?
        .map_err(|fault| format!("'info' failed: {}", fault.message))
}

fn info_answers_at_once(world: &mut World) -> Result<(), String> {
    // No properties: no credentials.
    let request = json!({"method": "info", "arguments": [], "context": {"director_uuid": "x"}});
    let ran = world.run(request.to_string().as_bytes())?;
    ensure(
        ran.took < Duration::from_secs(1),
        format!("it took {:?}", ran.took),
    )?;
    let info = world.judge("info", &ran)?.map_err(|fault| fault.message)?;
    let formats = info["stemcell_formats"].as_array();
    ensure(
        formats.is_some_and(|formats| !formats.is_empty()),
        "it names no stemcell_formats",
    )?;
    ensure(
        info["api_version"].as_u64().is_some_and(|v| v >= 2),
        "api_version is no integer of at least 2",
    )
}

fn answers_keep_their_form(world: &mut World) -> Result<(), String> {
    // Success and error; the form, the exit status and the closing of pipes are judged with every call.
    info(world)?;
    world.must_fail("has_vm", json!([])).map(drop)
}

fn malformed_requests(world: &mut World) -> Result<(), String> {
    let fault = world.must_fail("no_such_method", json!([]))?;
    ensure_kind(&fault, FaultKind::NotImplemented)?;
    let context = json!({"director_uuid": "x"});
    let malformed = [
        "not json".to_string(),
        String::new(),
        "[]".into(),
        json!({"arguments": [], "context": context}).to_string(),
        json!({"method": 7, "arguments": [], "context": context}).to_string(),
        json!({"method": "has_vm", "arguments": "x", "context": context}).to_string(),
        json!({"method": "has_vm", "context": context}).to_string(),
        json!({"method": "has_vm", "arguments": [], "context": context}).to_string(),
        json!({"method": "has_vm", "arguments": [7], "context": context}).to_string(),
        json!({"method": "has_vm", "arguments": ["a", "b", "c"], "context": context}).to_string(),
    ];
    for request in malformed {
        let ran = world.run(request.as_bytes())?;
        let answer = world
            .judge("has_vm", &ran)
            .map_err(|why| format!("{request}: {why}"))?;
        ensure(
            answer.is_err(),
            format!("{request} was answered without an error"),
        )?;
    }
    Ok(())
}

fn too_high_a_version(world: &mut World) -> Result<(), String> {
    let spoken = info(world)?["api_version"].as_u64().unwrap_or(2) as u32;
    let answer = world.call_with("has_vm", json!(["x"]), world.context(), Some(spoken + 1))?;
    match answer {
        Ok(_) => Err(format!("version {} was accepted", spoken + 1)),
        Err(fault) => ensure_kind(&fault, FaultKind::NotSupported),
    }
}

fn contexts(world: &mut World) -> Result<(), String> {
    let properties = world.profile.properties.clone();
    let with = |more: Value| {
        let mut context: Map<String, Value> = more.as_object().cloned().unwrap_or_default();
        context.extend(properties.clone());
        context
    };
    for context in [
        json!({"director_uuid": "x"}),
        json!({"director_uuid": "x", "vm": {"stemcell": {}}}),
        json!({"director_uuid": "x", "vm": {}, "request_id": "cpi-1", "of_another_time": {"a": [1]}}),
    ] {
        let answer = world.call_with(
            "has_vm",
            json!(["unknown-vm"]),
            with(context.clone()),
            Some(2),
        )?;
        match answer {
            Ok(Value::Bool(false)) => {}
            Ok(other) => return Err(format!("has_vm of an unknown VM with {context}: {other}")),
            Err(fault) => return Err(format!("refused with {context}: {}", fault.message)),
        }
    }
    Ok(())
}
