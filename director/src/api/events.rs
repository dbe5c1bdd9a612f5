//! The audit trail over HTTP (director-api.md §19.2).

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Api;
use super::answer::{Answer, Refusal, empty, json_ok};
use super::request::{Caller, JsonBody, Query};
use crate::auth::Permission;
use crate::error::{Error, code};
use crate::store::audit::{AuditFilter, AuditRow, NewAudit};

pub async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    caller.require(&api, Permission::ReadEvents)?;
    let filter = AuditFilter {
        task: query.text("task"),
        deployment: query.text("deployment"),
        instance: query.text("instance"),
        user: query.text("user"),
        action: query.text("action"),
        object_type: query.text("object_type"),
        object_name: query.text("object_name"),
        before_id: query.get("before_id").and_then(|id| id.parse().ok()),
        before: time(query.get("before_time"), "before")?,
        after: time(query.get("after_time"), "after")?,
    };
    let rows = api.services.store.list_audit(&filter).await?;
    Ok(json_ok(&rows.iter().map(event_json).collect::<Vec<_>>()))
}

/// Unix seconds or any common text.
fn time(text: Option<&str>, name: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    parse_time(text).map(Some).ok_or_else(|| {
        Refusal::Text(
            StatusCode::BAD_REQUEST,
            format!("Invalid {name} parameter: '{text}' "),
        )
    })
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(seconds) = text.parse::<i64>() {
        return DateTime::from_timestamp(seconds, 0);
    }
    if let Ok(time) =
        DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text))
    {
        return Some(time.into());
    }
    if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S %z") {
        return Some(time.into());
    }
    let plain = text.trim_end_matches(" UTC").trim_end_matches(" GMT");
    for format in [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S",
        "%a %b %e %H:%M:%S UTC %Y",
        "%a %b %e %H:%M:%S %Y",
    ] {
        if let Ok(time) = chrono::NaiveDateTime::parse_from_str(plain, format) {
            return Some(time.and_utc());
        }
    }
    let day = chrono::NaiveDate::parse_from_str(plain, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc())
}

/// An event as clients see it: empty keys are left out, the context stays.
fn event_json(row: &AuditRow) -> Value {
    let mut event = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            event.insert(key.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| {
        value
            .clone()
            .filter(|value| !value.is_empty())
            .map(Value::String)
    };
    put("id", Some(json!(row.id.to_string())));
    put("parent_id", row.parent_id.map(|id| json!(id.to_string())));
    put("timestamp", Some(json!(row.at.timestamp())));
    put("user", Some(json!(row.username)));
    put("action", Some(json!(row.action)));
    put("object_type", Some(json!(row.object_type)));
    put("object_name", text(&row.object_name));
    put("error", text(&row.error));
    put("task", text(&row.task));
    put("deployment", text(&row.deployment));
    put("instance", text(&row.instance));
    put("context", Some(row.context.clone()));
    Value::Object(event)
}

pub async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let row = match id.parse() {
        Ok(id) => api.services.store.find_audit(id).await?,
        Err(_) => None,
    };
    match row {
        Some(row) => Ok(json_ok(&event_json(&row))),
        None => Err(Refusal::Text(
            StatusCode::NOT_FOUND,
            "Event not found".into(),
        )),
    }
}

pub async fn create(State(api): State<Api>, caller: Caller, JsonBody(body): JsonBody) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let text = |key: &str| match body.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(value @ Value::Number(_)) => Some(value.to_string()),
        _ => None,
    };
    let (Some(action), Some(object_type), Some(object_name)) =
        (text("action"), text("object_type"), text("object_name"))
    else {
        let message = "Action, object_type, object_name are required";
        return Err(Error::new(code::VALIDATION_INVALID_TYPE, message).into());
    };
    let context = match body.get("context") {
        None | Some(Value::Null) => None,
        Some(context @ Value::Object(_)) => Some(context.clone()),
        Some(_) => {
            return Err(Error::new(code::VALIDATION_INVALID_TYPE, "Context must be a hash").into());
        }
    };
    let event = NewAudit {
        at: text("timestamp").and_then(|text| parse_time(&text)),
        user: caller.0.user,
        action,
        object_type,
        object_name: Some(object_name),
        error: text("error"),
        deployment: text("deployment"),
        instance: text("instance"),
        context,
        ..NewAudit::default()
    };
    api.services.store.insert_audit(&event).await?;
    Ok(empty(StatusCode::OK))
}

#[cfg(test)]
mod tests {
    use super::parse_time;

    #[test]
    fn common_time_texts_are_read() {
        let expected = parse_time("1767939805").unwrap();
        for text in [
            "2026-01-09 06:23:25 UTC",
            "2026-01-09T06:23:25Z",
            "2026-01-09 06:23:25",
            "2026-01-09 07:23:25 +0100",
            "Fri Jan  9 06:23:25 UTC 2026",
        ] {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        assert_eq!(parse_time("yesterday-ish"), None);
    }
}
