//! The typed endpoints for cloud, runtime and cpi configs (director-api.md §10.4): the same rows, other shapes.

use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, Refusal, empty, json_ok, time_text};
use super::request::{Caller, Query, YamlBody};
use crate::auth::Permission;
use crate::configs::{normalise_runtime, parse_manifest};
use crate::error::Error;
use crate::store::audit::NewAudit;

/// What differs between the three.
struct Kind {
    name: &'static str,
    /// `object_type` of its events.
    event: &'static str,
    read: Permission,
    redacted: bool,
}

const CLOUD: Kind = Kind {
    name: "cloud",
    event: "cloud-config",
    read: Permission::Read,
    redacted: false,
};
const RUNTIME: Kind = Kind {
    name: "runtime",
    event: "runtime-config",
    read: Permission::Read,
    redacted: true,
};
const CPI: Kind = Kind {
    name: "cpi",
    event: "cpi-config",
    read: Permission::Admin,
    redacted: true,
};

pub async fn list_cloud(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    list(&CLOUD, &api, &caller, &query).await
}
pub async fn list_runtime(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    list(&RUNTIME, &api, &caller, &query).await
}
pub async fn list_cpi(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    list(&CPI, &api, &caller, &query).await
}
pub async fn put_cloud(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    YamlBody(body): YamlBody,
) -> Answer {
    put(&CLOUD, &api, &caller, &query, &body).await
}
pub async fn put_runtime(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    YamlBody(body): YamlBody,
) -> Answer {
    put(&RUNTIME, &api, &caller, &query, &body).await
}
pub async fn put_cpi(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    YamlBody(body): YamlBody,
) -> Answer {
    put(&CPI, &api, &caller, &query, &body).await
}
pub async fn diff_cloud(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    YamlBody(body): YamlBody,
) -> Answer {
    compare(&CLOUD, &api, &caller, &query, &body).await
}
pub async fn diff_runtime(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    YamlBody(body): YamlBody,
) -> Answer {
    compare(&RUNTIME, &api, &caller, &query, &body).await
}
pub async fn diff_cpi(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    YamlBody(body): YamlBody,
) -> Answer {
    compare(&CPI, &api, &caller, &query, &body).await
}

fn name(query: &Query) -> String {
    query.text("name").unwrap_or_else(|| "default".into())
}

async fn list(kind: &Kind, api: &Api, caller: &Caller, query: &Query) -> Answer {
    caller.require(api, kind.read)?;
    let limit = match query.get("limit") {
        None | Some("") => {
            return Err(Refusal::Text(
                StatusCode::BAD_REQUEST,
                "limit is required".into(),
            ));
        }
        Some(text) => text.parse::<i64>().map_err(|_| {
            Refusal::Text(
                StatusCode::BAD_REQUEST,
                format!("limit is invalid: '{text}' is not an integer"),
            )
        })?,
    };
    let rows = api
        .services
        .store
        .config_history(kind.name, &name(query), limit.max(0))
        .await?;
    let list: Vec<Value> = rows
        .iter()
        .map(|row| json!({"properties": row.content, "created_at": time_text(row.created_at)}))
        .collect();
    Ok(json_ok(&list))
}

async fn put(kind: &Kind, api: &Api, caller: &Caller, query: &Query, body: &str) -> Answer {
    caller.require(api, Permission::Admin)?;
    let name = name(query);
    let result = store(kind, api, &name, body).await;
    // An unchanged config is an update too in the original's trail.
    let event = NewAudit {
        user: caller.0.user.clone(),
        action: "update".into(),
        object_type: kind.event.into(),
        object_name: (kind.name != "cpi").then_some(name),
        error: result.as_ref().err().map(|error| error.message.clone()),
        ..NewAudit::default()
    };
    api.services.store.insert_audit(&event).await?;
    result?;
    Ok(empty(StatusCode::CREATED))
}

async fn store(kind: &Kind, api: &Api, name: &str, body: &str) -> Result<(), Error> {
    let content = content(kind, body)?;
    let stored = api
        .services
        .store
        .put_config(kind.name, name, &content, None, None)
        .await?;
    debug_assert!(stored.is_ok(), "no id was expected");
    Ok(())
}

fn content(kind: &Kind, body: &str) -> Result<String, Error> {
    let value = parse_manifest(body)?;
    Ok(if kind.name == "runtime" {
        normalise_runtime(value)
    } else {
        body.to_owned()
    })
}

async fn compare(kind: &Kind, api: &Api, caller: &Caller, query: &Query, body: &str) -> Answer {
    caller.require(api, Permission::Admin)?;
    let new = parse_manifest(&content(kind, body)?)?;
    let current = api
        .services
        .store
        .current_config(kind.name, &name(query))
        .await?;
    let old = match current.map(|row| parse_manifest(&row.content)).transpose() {
        Ok(old) => old.unwrap_or_default(),
        Err(error) => {
            let text = format!("Unable to diff {} config: {}", kind.name, error.message);
            return Ok(json_ok(&json!({"diff": [], "error": text})));
        }
    };
    let redact = kind.redacted && query.get("redact") != Some("false");
    Ok(json_ok(
        &json!({"diff": manifest::diff::diff(&old, &new, redact)}),
    ))
}
