//! Small reads: locks, resurrection switch, and lists that are empty until their rooms exist.

use axum::extract::{Path, State};
use http::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, empty, json_ok};
use super::deployments::find;
use super::request::{Caller, JsonBody};
use crate::auth::{Access, Permission};

/// `GET /locks` (director-api.md §19.1)
pub async fn locks(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::Read)?;
    let list: Vec<Value> = api
        .services
        .store
        .list_locks()
        .await?
        .iter()
        .map(|lock| {
            // lock:<type>:<resource>[:<resource>…]
            let mut parts = lock.name.split(':').skip(1);
            json!({
                "type": parts.next().unwrap_or_default(),
                "resource": parts.collect::<Vec<_>>(),
                "timeout": format!("{}.{:06}", lock.expires_at.timestamp(), lock.expires_at.timestamp_subsec_micros()),
                "task_id": lock.task_id.map(|id| id.to_string()).unwrap_or_default(),
            })
        })
        .collect();
    Ok(json_ok(&list))
}

/// Attribute that holds the director-wide switch.
const PAUSED: &str = "resurrection_paused";

pub async fn resurrection(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let paused = api.services.store.attribute(PAUSED).await?;
    Ok(json_ok(
        &json!({"resurrection": paused.as_deref() != Some("true")}),
    ))
}

pub async fn set_resurrection(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let paused = body
        .get("resurrection_paused")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    api.services
        .store
        .set_attribute(PAUSED, if paused { "true" } else { "false" })
        .await?;
    Ok(empty(StatusCode::OK))
}

/// `GET /deployments/:d/variables`: variables of all kept sets.
pub async fn variables(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let rows = api.services.store.variables_of(deployment.id).await?;
    let list: Vec<Value> = rows
        .iter()
        .map(|(id, name)| json!({"id": id, "name": name}))
        .collect();
    Ok(json_ok(&list))
}

pub async fn deployed_variables(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer {
    caller.require(&api, Permission::ListDeployments)?;
    let rows = api.services.store.deployments_with_variable(&name).await?;
    let list: Vec<Value> = rows
        .iter()
        .filter(|(_, teams, _)| caller.allows(&api, Access::Read, teams))
        .map(|(name, _, version)| json!({"name": name, "version": version}))
        .collect();
    Ok(json_ok(&json!({"deployments": list})))
}

/// Certificates among the variables: none are known without a config server.
pub async fn empty_deployment_list(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer {
    find(&api, &caller, &name, Access::Read).await?;
    Ok(json_ok(&json!([])))
}

/// Problems found by scans and still open, oldest first (director-api.md §14).
pub async fn problems(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let rows = api.services.store.open_problems(deployment.id).await?;
    let list: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id,
                "type": row.kind,
                "data": row.data,
                "description": row.description,
                "resolutions": [{"name": "ignore", "plan": "Skip for now"}],
                "instance_group": null,
            })
        })
        .collect();
    Ok(json_ok(&list))
}
