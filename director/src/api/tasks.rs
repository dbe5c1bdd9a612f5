//! Tasks over HTTP: list, show, outputs with ranges, cancel (director-api.md §3).

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, Refusal, empty, json_ok, plain};
use super::request::{Caller, JsonBody, Query};
use crate::auth::{Access, Permission, scopes};
use crate::error::{Error, code};
use crate::store::tasks::{Task, TaskFilter};

/// Types that `verbose=1` (the default) shows.
const SHORT_LIST: &[&str] = &[
    "attach_disk",
    "create_snapshot",
    "delete_deployment",
    "delete_release",
    "delete_snapshot",
    "delete_stemcell",
    "run_errand",
    "snapshot_deployment",
    "update_instance",
    "update_deployment",
    "update_release",
    "update_stemcell",
    "export_release",
];

pub async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    caller.require(&api, Permission::ListTasks)?;
    let verbose = query.get("verbose").unwrap_or("1");
    let filter = TaskFilter {
        states: query
            .text("state")
            .map(|states| states.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        types: if verbose == "1" {
            SHORT_LIST.iter().map(|kind| (*kind).to_owned()).collect()
        } else {
            Vec::new()
        },
        deployment: query.text("deployment"),
        context_id: query.text("context_id"),
        teams: (!caller.is_reader(&api)).then(|| caller.0.teams("admin")),
        // compat: the original reads "x" and "0" as 1
        limit: query
            .get("limit")
            .map(|limit| limit.parse::<i64>().unwrap_or(1).max(1)),
    };
    let tasks = api.services.store.list_tasks(&filter).await?;
    Ok(json_ok(&tasks.iter().map(task_json).collect::<Vec<_>>()))
}

/// A task as clients see it.
pub fn task_json(task: &Task) -> Value {
    let running = task.state == "queued" || task.state == "processing";
    json!({
        "id": task.id,
        "state": task.state,
        "description": task.description,
        "timestamp": (!running).then(|| task.timestamp.timestamp()),
        "started_at": task.started_at.map(|time| time.timestamp()),
        "result": task.result.as_deref().map(short_result),
        "user": task.username,
        "deployment": task.deployment_name,
        "context_id": task.context_id,
    })
}

/// compat: texts longer than 128 characters are cut to 129, then the last word of every line goes with the blanks
/// before it, and `...` is added. A line break counts as a blank, so that lines of one word go as a whole.
fn short_result(result: &str) -> String {
    let result = result.trim();
    if result.chars().count() <= 128 {
        return result.to_owned();
    }
    let cut: String = result.chars().take(129).collect();
    let mut short = String::new();
    for (number, line) in cut.split('\n').enumerate() {
        let blank = line.rfind(|letter: char| letter.is_ascii_whitespace());
        let kept = blank.map(|blank| line[..blank].trim_end());
        match (number, kept) {
            (0, kept) => short.push_str(kept.unwrap_or(line)),
            (_, Some(kept)) if !kept.is_empty() => {
                short.push('\n');
                short.push_str(kept);
            }
            _ => {}
        }
    }
    short + "..."
}

async fn find(api: &Api, id: &str) -> Result<Task, Refusal> {
    let missing = || Error::new(code::TASK_NOT_FOUND, format!("Task {id} not found"));
    let number: i64 = id.parse().map_err(|_| missing())?;
    Ok(api
        .services
        .store
        .find_task(number)
        .await?
        .ok_or_else(missing)?)
}

fn require_access(api: &Api, caller: &Caller, task: &Task) -> Result<(), Error> {
    if caller.allows(api, Access::Read, &task.teams) {
        return Ok(());
    }
    let scopes = scopes::object_scopes(api.uuid(), Access::Read, &task.teams).join(", ");
    Err(Error::new(
        code::UNAUTHORIZED,
        format!("One of the following scopes is required to access this task: {scopes}"),
    ))
}

pub async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Answer {
    caller.require(&api, Permission::ListTasks)?;
    let task = find(&api, &id).await?;
    require_access(&api, &caller, &task)?;
    Ok(json_ok(&task_json(&task)))
}

pub async fn cancel(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Answer {
    let task = find(&api, &id).await?;
    caller.require_object(&api, Access::Admin, &task.teams)?;
    match api.services.store.request_cancel(task.id).await? {
        Some(Ok(())) => Ok(empty(StatusCode::NO_CONTENT)),
        Some(Err(state)) => Err(Refusal::Text(
            StatusCode::BAD_REQUEST,
            format!("Cannot cancel task {}: invalid state ({state})", task.id),
        )),
        None => Err(Error::new(code::TASK_NOT_FOUND, format!("Task {id} not found")).into()),
    }
}

pub async fn cancel_many(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let texts = |key: &str| -> Vec<String> {
        let list = body
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        list.iter()
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .collect()
    };
    let mut states = texts("states");
    if states.is_empty() {
        states.push("queued".into());
    }
    if let Some(odd) = states
        .iter()
        .find(|state| *state != "queued" && *state != "processing")
    {
        return Err(Refusal::Text(
            StatusCode::BAD_REQUEST,
            format!("{odd} is not one of the cancellable states: queued, processing"),
        ));
    }
    let deployment = body.get("deployment").and_then(Value::as_str);
    api.services
        .store
        .request_cancels(&states, &texts("types"), deployment, None)
        .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub async fn output(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    let task = find(&api, &id).await?;
    let kind = query.text("type").unwrap_or_else(|| "debug".into());
    let content_type = match kind.as_str() {
        "event" | "result" | "none" => {
            require_access(&api, &caller, &task)?;
            "text/html;charset=utf-8"
        }
        "debug" | "cpi" => {
            caller.require_object(&api, Access::Admin, &task.teams)?;
            "text/plain;charset=utf-8"
        }
        other => {
            return Err(Error::new(code::UNAUTHORIZED, format!("Unknown type {other}")).into());
        }
    };
    if kind == "none" {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let store = &api.services.store;
    let size = store.output_size(task.id, &kind).await?;
    let Some(size) = size.or_else(|| (kind == "event" || kind == "result").then_some(0)) else {
        return Ok(empty(StatusCode::NO_CONTENT));
    };
    let range = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    match Slice::of(range, size) {
        Slice::All => Ok(plain(
            StatusCode::OK,
            content_type,
            store.read_output(task.id, &kind, 0, size).await?,
        )),
        Slice::Part(from, to) => {
            let bytes = store.read_output(task.id, &kind, from, to).await?;
            let mut response = plain(StatusCode::PARTIAL_CONTENT, content_type, bytes);
            content_range(&mut response, &format!("bytes {from}-{}/{size}", to - 1));
            Ok(response)
        }
        Slice::Beyond => {
            let mut response = plain(
                StatusCode::RANGE_NOT_SATISFIABLE,
                content_type,
                "Byte range unsatisfiable",
            );
            content_range(&mut response, &format!("bytes */{size}"));
            Ok(response)
        }
    }
}

fn content_range(response: &mut Response, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
}

/// What a `Range` header asks of an output.
#[derive(Debug, PartialEq, Eq)]
enum Slice {
    All,
    /// From (inclusive) to (exclusive).
    Part(i64, i64),
    Beyond,
}

impl Slice {
    /// Several ranges, unreadable ones and empty outputs are answered with everything.
    fn of(range: Option<&str>, size: i64) -> Slice {
        let Some(spec) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else {
            return Slice::All;
        };
        if size == 0 || spec.contains(',') {
            return Slice::All;
        }
        let Some((from, to)) = spec.trim().split_once('-') else {
            return Slice::All;
        };
        match (from.trim().parse::<i64>(), to.trim()) {
            (Ok(from), _) if from >= size => Slice::Beyond,
            (Ok(from), "") => Slice::Part(from, size),
            (Ok(from), to) => match to.parse::<i64>() {
                Ok(to) if to >= from => Slice::Part(from, to.saturating_add(1).min(size)),
                _ => Slice::All,
            },
            (Err(_), last) if from.trim().is_empty() => match last.parse::<i64>() {
                Ok(last) if last > 0 => Slice::Part((size - last).max(0), size),
                _ => Slice::All,
            },
            _ => Slice::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_original_reads_them() {
        for (range, size, slice) in [
            (None, 10, Slice::All),
            (Some("bytes=0-"), 10, Slice::Part(0, 10)),
            (Some("bytes=4-"), 10, Slice::Part(4, 10)),
            (Some("bytes=0-79"), 10, Slice::Part(0, 10)),
            (Some("bytes=2-3"), 10, Slice::Part(2, 4)),
            (Some("bytes=-3"), 10, Slice::Part(7, 10)),
            (Some("bytes=10-"), 10, Slice::Beyond),
            (Some("bytes=0-"), 0, Slice::All),
            (Some("bytes=0-1,3-4"), 10, Slice::All),
            (Some("lines=1-2"), 10, Slice::All),
            (Some("bytes=x-"), 10, Slice::All),
        ] {
            assert_eq!(Slice::of(range, size), slice, "{range:?} of {size}");
        }
    }

    #[test]
    fn long_results_lose_the_last_word_of_every_line() {
        let text = "Failed to acquire lock for lock:deployment:turtle uid: f76a9dc7-1b5d-4882-8a4f-cf06ebb16cd6. \
                    Locking task id is 129, description: 'create deployment'";
        assert_eq!(
            short_result(text),
            "Failed to acquire lock for lock:deployment:turtle uid: f76a9dc7-1b5d-4882-8a4f-cf06ebb16cd6. Locking task id is 129,..."
        );
        assert_eq!(short_result("done"), "done");
    }
}
