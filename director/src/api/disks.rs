//! Disks, orphaned VMs, managed networks, and a VM by its CID (director-api.md §17).

use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, Refusal, json_ok, queue, time_text};
use super::deployments::find;
use super::request::{Caller, Query};
use crate::auth::{Access, Permission};
use crate::disks::AttachArgs;
use crate::error::{Error, code};
use crate::store::disks;
use crate::store::orphans::{OrphanDiskRow, OrphanVmRow};
use crate::store::tasks::NewTask;

/// `GET /disks`, `GET /orphan_disks`
pub async fn orphan_disks(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let list = api.services.store.orphan_disks().await?;
    Ok(json_ok(&list.iter().map(disk_json).collect::<Vec<_>>()))
}

pub fn disk_json(disk: &OrphanDiskRow) -> Value {
    json!({
        "disk_cid": disk.cid,
        "size": disk.size,
        "az": disk.az,
        "deployment_name": disk.deployment_name,
        "instance_name": disk.instance_name,
        "cloud_properties": disk.cloud_properties,
        "orphaned_at": time_text(disk.orphaned_at),
    })
}

pub async fn orphaned_vms(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let list = api.services.store.orphan_vms().await?;
    Ok(json_ok(&list.iter().map(vm_json).collect::<Vec<_>>()))
}

pub fn vm_json(vm: &OrphanVmRow) -> Value {
    json!({
        "az": vm.az,
        "cid": vm.cid,
        "deployment_name": vm.deployment_name,
        "instance_name": vm.instance_name,
        "ip_addresses": vm.ip_addresses,
        "orphaned_at": time_text(vm.orphaned_at),
    })
}

/// `DELETE /disks/:cid?orphan=…`: away from its instance, or for good.
pub async fn delete_disk(
    State(api): State<Api>,
    caller: Caller,
    Path(cid): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    if query.get("orphan").is_some_and(|given| given != "false") {
        let args = json!({"cid": cid});
        let task = task(caller, "orphan_disk", "orphan disk", args);
        return queue(&api, &headers, task).await;
    }
    delete_for_good(&api, caller, cid, &headers).await
}

/// `DELETE /orphan_disks/:cid`
pub async fn delete_orphan_disk(
    State(api): State<Api>,
    caller: Caller,
    Path(cid): Path<String>,
    headers: HeaderMap,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    delete_for_good(&api, caller, cid, &headers).await
}

async fn delete_for_good(api: &Api, caller: Caller, cid: String, headers: &HeaderMap) -> Answer {
    let used = disks::find_by_cid(api.services.store.pool(), &cid).await?;
    if used.is_some() {
        return Err(Error::new(
            code::DELETING_PERSISTENT_DISK,
            format!("Deleting persistent disk is not supported: [{cid:?}]"),
        )
        .hint("An instance uses it: orphan it first, `bosh orphan-disk`.")
        .into());
    }
    let args = json!({"cids": [cid]});
    let task = task(caller, "delete_orphan_disks", "delete orphan disks", args);
    queue(api, headers, task).await
}

/// `PUT /disks/:cid/attachments?deployment=…&job=…&instance_id=…&disk_properties=copy`
pub async fn attach(
    State(api): State<Api>,
    caller: Caller,
    Path(cid): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let text = |key: &str| query.text(key).unwrap_or_default();
    let deployment = find(&api, &caller, &text("deployment"), Access::Admin).await?;
    let args = AttachArgs {
        group: text("job"),
        instance: text("instance_id"),
        copy: text("disk_properties") == "copy",
        cid,
    };
    let task = NewTask {
        kind: "attach_disk".into(),
        description: format!(
            "attach disk '{}' to '{}/{}'",
            args.cid, args.group, args.instance
        ),
        user: caller.0.user,
        deployment: Some(deployment.name),
        teams: deployment.teams,
        args: json!(args),
        ..NewTask::default()
    };
    queue(&api, &headers, task).await
}

/// `DELETE /vms/:cid`
pub async fn delete_vm(
    State(api): State<Api>,
    caller: Caller,
    Path(cid): Path<String>,
    headers: HeaderMap,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let description = format!("delete vm {cid}");
    let task = task(caller, "delete_vm", &description, json!({"cid": cid}));
    queue(&api, &headers, task).await
}

/// Managed networks are not made by this director, so none is orphaned.
pub async fn networks(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    caller.require(&api, Permission::Admin)?;
    if query.flag("orphaned") {
        return Ok(json_ok(&json!([])));
    }
    let text = "listing active networks is not implemented";
    Err(Refusal::Text(
        StatusCode::INTERNAL_SERVER_ERROR,
        text.into(),
    ))
}

/// `DELETE /networks/:name`
pub async fn delete_network(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    Err(Error::new(
        code::NETWORK_NOT_FOUND,
        format!("Deleting non-existing network {name}"),
    )
    .into())
}

/// A task that is about no deployment.
fn task(caller: Caller, kind: &str, description: &str, args: Value) -> NewTask {
    NewTask {
        kind: kind.into(),
        description: description.into(),
        user: caller.0.user,
        args,
        ..NewTask::default()
    }
}
