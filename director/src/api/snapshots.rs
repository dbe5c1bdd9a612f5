//! Snapshots over HTTP (director-api.md §18).

use axum::extract::{Path, State};
use http::HeaderMap;
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, json_ok, queue, time_text};
use super::deployments::find;
use super::request::Caller;
use crate::auth::Access;
use crate::instances::select;
use crate::snapshots;
use crate::store::deployments::Deployment;
use crate::store::tasks::NewTask;

pub async fn list(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    listing(&api, &deployment, None).await
}

pub async fn list_of_instance(
    State(api): State<Api>,
    caller: Caller,
    Path((name, group, id)): Path<(String, String, String)>,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    listing(&api, &deployment, Some((&group, &id))).await
}

async fn listing(api: &Api, deployment: &Deployment, of: Option<(&str, &str)>) -> Answer {
    let (group, id) = of.unzip();
    let rows = snapshots::list(&api.services, deployment, group, id).await?;
    let list: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "job": row.group_name,
                "index": row.index,
                "uuid": row.uuid,
                "snapshot_cid": row.cid,
                "created_at": time_text(row.created_at),
                "clean": row.clean,
            })
        })
        .collect();
    Ok(json_ok(&list))
}

pub async fn take(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let (kind, description) = ("snapshot_deployment", "snapshot deployment");
    let task = of_deployment(caller, deployment, kind, description);
    queue(&api, &headers, task).await
}

pub async fn take_of_instance(
    State(api): State<Api>,
    caller: Caller,
    Path((name, group, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let store = &api.services.store;
    let instance = select::one(store, &name, deployment.id, &group, &id).await?;
    let task = NewTask {
        kind: "create_snapshot".into(),
        description: "create snapshot".into(),
        user: caller.0.user,
        args: json!({"instance": instance.id}),
        teams: deployment.teams,
        ..NewTask::default()
    };
    queue(&api, &headers, task).await
}

pub async fn delete_all(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let (kind, description) = ("delete_deployment_snapshots", "delete deployment snapshots");
    let task = of_deployment(caller, deployment, kind, description);
    queue(&api, &headers, task).await
}

pub async fn delete_one(
    State(api): State<Api>,
    caller: Caller,
    Path((name, cid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    snapshots::find(&api.services, &deployment, &cid).await?;
    let task = NewTask {
        kind: "delete_snapshot".into(),
        description: "delete snapshot".into(),
        user: caller.0.user,
        args: json!({"cids": [cid]}),
        teams: deployment.teams,
        ..NewTask::default()
    };
    queue(&api, &headers, task).await
}

fn of_deployment(caller: Caller, deployment: Deployment, kind: &str, description: &str) -> NewTask {
    NewTask {
        kind: kind.into(),
        description: description.into(),
        user: caller.0.user,
        deployment: Some(deployment.name),
        args: json!({}),
        teams: deployment.teams,
        ..NewTask::default()
    }
}
