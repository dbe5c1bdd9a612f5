//! Generic configs over HTTP (director-api.md §10.2, §10.3, §10.5).

use axum::extract::{Path, State};
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, Refusal, empty, json_ok, no_endpoint, time_text, with_status};
use super::request::{Caller, JsonBody, JsonText, Query, bad_json};
use crate::auth::{Access, Permission};
use crate::configs::parse_config;
use crate::error::{Error, code};
use crate::store::audit::NewAudit;
use crate::store::configs::ConfigRow;

/// A config as clients see it: the id is text.
fn config_json(row: &ConfigRow) -> Value {
    json!({
        "content": row.content,
        "id": row.id.to_string(),
        "type": row.kind,
        "name": row.name,
        "team": row.team,
        "created_at": time_text(row.created_at),
        "current": row.current,
    })
}

fn bad_request(message: impl Into<String>) -> Refusal {
    Error::new(code::BAD_CONFIG_REQUEST, message).into()
}

fn not_found(id: &str) -> Refusal {
    Error::new(code::CONFIG_NOT_FOUND, format!("Config {id} not found")).into()
}

fn teams_of(row: &ConfigRow) -> Vec<String> {
    row.team.iter().cloned().collect()
}

pub async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    caller.require(&api, Permission::ListConfigs)?;
    let limit = match query.text("limit") {
        None => None,
        Some(text) => match text.parse::<i64>() {
            Err(_) => return Err(bad_request("'limit' must be a number")),
            Ok(limit) if limit < 1 => return Err(bad_request("'limit' must be larger than zero")),
            Ok(limit) => Some(limit),
        },
    };
    let latest = match query.get("latest").filter(|text| !text.is_empty()) {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(bad_request("'latest' must be 'true' or 'false'")),
    };
    let limit = limit.or(latest.then_some(1));
    let (kind, name) = (query.text("type"), query.text("name"));
    let rows = api
        .services
        .store
        .list_configs(kind.as_deref(), name.as_deref(), limit)
        .await?;
    let visible = rows
        .iter()
        .filter(|row| caller.allows(&api, Access::Read, &teams_of(row)));
    Ok(json_ok(&visible.map(config_json).collect::<Vec<_>>()))
}

pub async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Answer {
    let row = find(&api, &id).await?;
    caller.require_object(&api, Access::Read, &teams_of(&row))?;
    Ok(json_ok(&config_json(&row)))
}

async fn find(api: &Api, id: &str) -> Result<ConfigRow, Refusal> {
    let number: i64 = id.parse().map_err(|_| not_found(id))?;
    api.services
        .store
        .find_config(number)
        .await?
        .ok_or_else(|| not_found(id))
}

pub async fn put(State(api): State<Api>, caller: Caller, JsonText(body): JsonText) -> Answer {
    caller.require(&api, Permission::UpdateConfigs)?;
    let body = parse(&body)?;
    let (kind, name) = (required(&body, "type")?, required(&body, "name")?);
    let record = async |error: Option<String>| -> Result<(), Error> {
        let event = NewAudit {
            user: caller.0.user.clone(),
            action: "create".into(),
            object_type: format!("config/{kind}"),
            object_name: Some(name.clone()),
            error,
            ..NewAudit::default()
        };
        api.services.store.insert_audit(&event).await?;
        Ok(())
    };
    let content = match body.get("content") {
        Some(Value::String(content)) => content.clone(),
        None | Some(Value::Null) => {
            let message = "Config must be valid YAML: no implicit conversion of nil into String";
            return Err(Error::new(code::BAD_CONFIG, message).into());
        }
        Some(_) => return Err(bad_request("'content' must be a string")),
    };
    if let Err(error) = parse_config(&content) {
        record(Some(error.message.clone())).await?;
        return Err(error.into());
    }
    let store = &api.services.store;
    let current = store.current_config(&kind, &name).await?;
    if let Some(current) = &current {
        caller.require_object(&api, Access::Admin, &teams_of(current))?;
    }
    let team = match &current {
        Some(current) => current.team.clone(),
        None => caller.0.admin_teams(api.uuid()).into_iter().next(),
    };
    let expected = match body.get("expected_latest_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(other) => Some(other.to_string()),
    };
    match store
        .put_config(&kind, &name, &content, team.as_deref(), expected.as_deref())
        .await?
    {
        Ok((row, new)) => {
            if new {
                record(None).await?;
            }
            Ok(with_status(StatusCode::CREATED, &config_json(&row)))
        }
        Err(latest) => Ok(with_status(
            StatusCode::PRECONDITION_FAILED,
            &json!({
                "latest_id": latest,
                "expected_latest_id": expected,
                "description": format!("Latest Id: '{latest}' does not match expected latest id"),
            }),
        )),
    }
}

fn parse(text: &str) -> Result<Value, Refusal> {
    // compat: the original names the first character that is no JSON
    let value: Value =
        serde_json::from_str(text).map_err(|error| match text.trim_start().chars().next() {
            Some(first)
                if error.column() <= 1 && !first.is_ascii_digit() && !"{[\"-".contains(first) =>
            {
                Error::new(
                    code::BAD_JSON,
                    format!(
                        "Invalid JSON request body: unexpected character: '{}' at line 1 column 1",
                        text.trim()
                    ),
                )
            }
            _ => bad_json(&error),
        })?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(bad_request("JSON object expected"))
    }
}

fn required(body: &Value, key: &str) -> Result<String, Refusal> {
    match body.get(key) {
        None | Some(Value::Null) => Err(bad_request(format!("'{key}' is required"))),
        Some(Value::String(text)) if text.is_empty() => {
            Err(bad_request(format!("'{key}' is required")))
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(bad_request(format!("'{key}' must be a string"))),
    }
}

pub async fn delete_one(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Answer {
    caller.require(&api, Permission::UpdateConfigs)?;
    let row = find(&api, &id).await?;
    caller.require_object(&api, Access::Admin, &teams_of(&row))?;
    if !api.services.store.delete_config(row.id).await? {
        return Err(not_found(&id));
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

pub async fn delete_all(State(api): State<Api>, caller: Caller, query: Query, uri: Uri) -> Answer {
    caller.require(&api, Permission::UpdateConfigs)?;
    let Some(kind) = query.text("type") else {
        return Err(bad_request("'type' is required"));
    };
    let Some(name) = query.text("name") else {
        return Err(bad_request("'name' is required"));
    };
    let store = &api.services.store;
    if let Some(current) = store.current_config(&kind, &name).await? {
        caller.require_object(&api, Access::Admin, &teams_of(&current))?;
    }
    if store.delete_configs(&kind, &name).await? == 0 {
        return Err(no_endpoint(uri.path()));
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

const DIFF_FORMATS: &str = "The following request formats are allowed:\n\
    1. {\"from\":<config>,\"to\":<config>} where <config> is either {\"id\":\"<id>\"} or {\"content\":\"<content>\"}\n\
    2. {\"type\":\"<type>\",\"name\":\"<name>\",\"content\":\"<content>\"}";

pub async fn diff(State(api): State<Api>, caller: Caller, JsonBody(body): JsonBody) -> Answer {
    caller.require(&api, Permission::ListConfigs)?;
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let mut answer = serde_json::Map::new();
    let (from, to) = if let (Some(from), Some(to)) = (body.get("from"), body.get("to")) {
        let side = async |side: &Value| -> Result<String, Refusal> {
            match (text(side, "id"), text(side, "content")) {
                (Some(id), None) => {
                    let row = find(&api, &id).await?;
                    caller.require_object(&api, Access::Admin, &teams_of(&row))?;
                    Ok(row.content)
                }
                (None, Some(content)) => Ok(content),
                _ => Err(bad_request(DIFF_FORMATS)),
            }
        };
        (side(from).await?, side(to).await?)
    } else if let (Some(kind), Some(name), Some(content)) = (
        text(&body, "type"),
        text(&body, "name"),
        body.get("content").and_then(Value::as_str),
    ) {
        let current = api.services.store.current_config(&kind, &name).await?;
        let teams = current.as_ref().map(teams_of).unwrap_or_default();
        caller.require_object(&api, Access::Admin, &teams)?;
        let id = current
            .as_ref()
            .map_or_else(|| "0".to_owned(), |row| row.id.to_string());
        answer.insert("from".into(), json!({"id": id}));
        (
            current.map_or_else(|| "{}".to_owned(), |row| row.content),
            content.to_owned(),
        )
    } else {
        return Err(bad_request(DIFF_FORMATS));
    };
    match (parse_config(&from), parse_config(&to)) {
        (Ok(from), Ok(to)) => {
            answer.insert(
                "diff".into(),
                json!(manifest::diff::diff(&from, &to, false)),
            );
            Ok(json_ok(&answer))
        }
        (Err(error), _) | (_, Err(error)) => {
            let text = format!(
                "Unable to diff config content: #<Bosh::Director::BadConfig: {}>",
                error.message
            );
            Ok(with_status(
                StatusCode::BAD_REQUEST,
                &json!({"diff": [], "error": text}),
            ))
        }
    }
}

/// `GET /deployment_configs?deployment[]=NAME`
pub async fn of_deployments(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    caller.require(&api, Permission::ListDeployments)?;
    let names = query.all("deployment[]");
    let rows = api.services.store.deployment_configs(&names).await?;
    let list: Vec<Value> = rows
        .iter()
        .filter(|row| caller.allows(&api, Access::Read, &row.teams))
        .map(|row| {
            json!({
                "id": row.deployment_id,
                "deployment": row.deployment,
                "config": {"id": row.config_id, "type": row.kind, "name": row.name},
            })
        })
        .collect();
    Ok(json_ok(&list))
}
