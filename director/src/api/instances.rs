//! Instances and VMs over HTTP: listings, state changes, actions, logs, ssh, errands (director-api.md §12, §13).

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::Api;
use super::answer::{self, Answer, Refusal, empty, json_ok, no_endpoint};
use super::deployments::{created_before, find};
use super::request::{Caller, JsonBody, Query, YamlBody, context_id};
use crate::auth::Access;
use crate::error::{Error, code};
use crate::instances::{self, select};
use crate::store::deployments::Deployment;
use crate::store::instances as rows;
use crate::store::tasks::NewTask;

pub async fn instances(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    listing(&api, caller, &name, &query, &headers, true).await
}

pub async fn vms(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    listing(&api, caller, &name, &query, &headers, false).await
}

async fn listing(
    api: &Api,
    caller: Caller,
    name: &str,
    query: &Query,
    headers: &HeaderMap,
    all_instances: bool,
) -> Answer {
    let deployment = find(api, &caller, name, Access::Read).await?;
    if query.get("format") == Some("full") {
        let args = json!({"instances": all_instances});
        return queue(
            api,
            caller,
            headers,
            deployment,
            "vms",
            "retrieve vm-stats",
            args,
        )
        .await;
    }
    let store = &api.services.store;
    let list = if all_instances {
        instances::instances(store, deployment.id).await?
    } else {
        instances::vms(store, deployment.id).await?
    };
    Ok(json_ok(&list))
}

async fn queue(
    api: &Api,
    caller: Caller,
    headers: &HeaderMap,
    deployment: Deployment,
    kind: &str,
    description: &str,
    args: Value,
) -> Answer {
    let kept = matches!(kind, "update_deployment" | "update_instance" | "run_errand");
    let task = NewTask {
        kind: kind.into(),
        description: description.into(),
        user: caller.0.user,
        deployment: Some(deployment.name),
        args,
        teams: deployment.teams,
        context_id: if kept {
            context_id(headers)?
        } else {
            String::new()
        },
        pinned_to: None,
    };
    answer::queue(api, headers, task).await
}

/// `PUT /deployments/:d/jobs/:group?state=…`
pub async fn change_group(
    State(api): State<Api>,
    caller: Caller,
    Path((name, group)): Path<(String, String)>,
    query: Query,
    headers: HeaderMap,
    YamlBody(body): YamlBody,
) -> Answer {
    change(&api, caller, &name, &group, None, &query, &headers, &body).await
}

/// `PUT /deployments/:d/jobs/:group/:index_or_id?state=…`
pub async fn change_instance(
    State(api): State<Api>,
    caller: Caller,
    Path((name, group, id)): Path<(String, String, String)>,
    query: Query,
    headers: HeaderMap,
    YamlBody(body): YamlBody,
) -> Answer {
    change(
        &api,
        caller,
        &name,
        &group,
        Some(id),
        &query,
        &headers,
        &body,
    )
    .await
}

const STATES: &[&str] = &["started", "stopped", "detached", "restart", "recreate"];

#[allow(clippy::too_many_arguments)] // the parts of one request
async fn change(
    api: &Api,
    caller: Caller,
    name: &str,
    group: &str,
    id: Option<String>,
    query: &Query,
    headers: &HeaderMap,
    body: &str,
) -> Answer {
    let deployment = find(api, &caller, name, Access::Admin).await?;
    context_id(headers)?;
    let state = query.text("state").unwrap_or_default();
    if !STATES.contains(&state.as_str()) {
        return Err(Error::new(
            code::VALIDATION_INVALID_VALUE,
            format!("Invalid state '{state}'"),
        )
        .hint(format!("Use one of {}.", STATES.join(", ")))
        .into());
    }
    if let Some(id) = &id {
        select::one(&api.services.store, name, deployment.id, group, id).await?;
    }
    let before = created_before(query, state == "recreate", "state=recreate")?;
    let of_group = id.is_none();
    let args = json!({
        "manifest": (!body.trim().is_empty()).then_some(body),
        "recreate_vms_created_before": if of_group { before } else { None },
        "fix": query.flag("fix"),
        // Draining is left out for this group only.
        "skip_drain": query.flag("skip_drain").then_some(group),
        "canaries": if of_group { query.text("canaries") } else { None },
        "max_in_flight": if of_group { query.text("max_in_flight") } else { None },
        "dry_run": query.flag("dry_run"),
        "state_change": {
            "group": (group != "*").then_some(group),
            "instance": id,
            "state": state,
        },
    });
    let dry = if query.flag("dry_run") {
        " (dry run)"
    } else {
        ""
    };
    queue(
        api,
        caller,
        headers,
        deployment,
        "update_deployment",
        &format!("create deployment{dry}"),
        args,
    )
    .await
}

/// `GET /deployments/:d/jobs/:group/:index_or_id`
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path((name, group, id)): Path<(String, String, String)>,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let store = &api.services.store;
    let all = rows::list(store.pool(), deployment.id, false).await?;
    let row = all
        .into_iter()
        .find(|row| row.group_name == group && select::is_meant(row, &id))
        .ok_or_else(|| {
            Error::new(
                code::INSTANCE_NOT_FOUND,
                format!("'{name}/{group}/{id}' doesn't exist"),
            )
        })?;
    let disks = crate::store::disks::list_of_deployment(store.pool(), deployment.id).await?;
    let cids: Vec<&String> = disks
        .iter()
        .filter(|disk| disk.instance_id == row.id && disk.active)
        .filter_map(|disk| disk.cid.as_ref())
        .collect();
    Ok(json_ok(&json!({
        "deployment": name,
        "job": row.group_name,
        "index": row.index,
        "id": row.uuid,
        "state": row.state,
        "disks": cids,
    })))
}

/// `POST /deployments/:d/instance_groups/:g/:index_or_id/actions/:action`
pub async fn action(
    State(api): State<Api>,
    caller: Caller,
    Path((name, group, id, action)): Path<(String, String, String, String)>,
    query: Query,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    if !["stop", "start", "restart", "recreate"].contains(&action.as_str()) {
        return Err(no_endpoint(uri.path()));
    }
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    select::one(&api.services.store, &name, deployment.id, &group, &id).await?;
    let args = json!({
        "group": group,
        "instance": id,
        "action": action,
        "skip_drain": query.flag("skip_drain"),
        "hard": query.flag("hard") || action == "recreate",
        "ignore_unresponsive_agent": query.flag("ignore_unresponsive_agent"),
    });
    queue(
        &api,
        caller,
        &headers,
        deployment,
        "update_instance",
        &format!("{action} instance"),
        args,
    )
    .await
}

/// `PUT …/ignore` with `{"ignore": bool}`
pub async fn ignore(
    State(api): State<Api>,
    caller: Caller,
    Path((name, group, id)): Path<(String, String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let store = &api.services.store;
    let row = select::one(store, &name, deployment.id, &group, &id).await?;
    let ignore = body.get("ignore").and_then(Value::as_bool).unwrap_or(false);
    rows::set_ignore(store.pool(), row.id, ignore).await?;
    Ok(empty(StatusCode::OK))
}

/// `GET …/logs?type=…&filters=…`: a task; the blob id is its result.
pub async fn logs(
    State(api): State<Api>,
    caller: Caller,
    Path((name, group, id)): Path<(String, String, String)>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    if group != "*" && id != "*" {
        select::one(&api.services.store, &name, deployment.id, &group, &id).await?;
    }
    let filters: Vec<&str> = query
        .get("filters")
        .unwrap_or_default()
        .split([',', ' '])
        .filter(|filter| !filter.is_empty())
        .collect();
    let args = json!({
        "group": group,
        "instance": id,
        "type": query.text("type").unwrap_or_else(|| "job".into()),
        "filters": filters,
    });
    queue(
        &api,
        caller,
        &headers,
        deployment,
        "fetch_logs",
        "fetch logs",
        args,
    )
    .await
}

/// `POST /deployments/:d/ssh`
pub async fn ssh(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let command = body
        .get("command")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let target = body.get("target").cloned().unwrap_or_else(|| json!({}));
    let texts = |key: &str| -> Vec<String> {
        let list = target
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
    let args = json!({
        "command": command,
        "target": {
            "job": target.get("job").and_then(Value::as_str),
            "ids": texts("ids"),
            "indexes": texts("indexes"),
        },
        "params": body.get("params").cloned().unwrap_or_else(|| json!({})),
    });
    // compat: the target as the original prints it
    let description = format!("ssh: {command}:{}", manifest::documents::inspect(&target));
    queue(
        &api,
        caller,
        &headers,
        deployment,
        "ssh",
        &description,
        args,
    )
    .await
}

/// `GET /deployments/:d/errands`
pub async fn errands(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Read).await?;
    let names = api.services.store.errand_names(deployment.id).await?;
    Ok(json_ok(
        &names
            .iter()
            .map(|name| json!({"name": name}))
            .collect::<Vec<_>>(),
    ))
}

/// `POST /deployments/:d/errands/:name/runs`
pub async fn run_errand(
    State(api): State<Api>,
    caller: Caller,
    Path((name, errand)): Path<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Answer {
    if crate::tasks::dispatch::handler("run_errand").is_none() {
        return Err(no_endpoint(uri.path()));
    }
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let mut args = body.as_object().cloned().unwrap_or_default();
    args.insert("errand".into(), json!(errand));
    let description = format!("run errand {errand} from deployment {name}");
    queue(
        &api,
        caller,
        &headers,
        deployment,
        "run_errand",
        &description,
        Value::Object(args),
    )
    .await
}

/// Gone in the original; clients that still call it are told what to use.
pub async fn resurrection_removed() -> Result<Response, Refusal> {
    Err(Refusal::Text(
        StatusCode::GONE,
        "This endpoint has been removed. Please use https://bosh.io/docs/resurrector/#enable-with-resurrection-config to configure resurrection for the deployment or instance group. If you need to prevent a single instance from being resurrected, consider using https://bosh.io/docs/cli-v2/#ignore.".into(),
    ))
}
