//! Listings from rows alone.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value as Json, json};

use crate::error::Error;
use crate::store::instances::Instance;
use crate::store::vms::Vm;
use crate::store::{Store, addresses, instances as rows, vms as vm_rows};

/// `GET /deployments/:d/instances`: every instance, with nulls where it has no VM.
pub async fn instances(store: &Store, deployment_id: i64) -> Result<Vec<Json>, Error> {
    let vms = vm_rows::list_of_deployment(store.pool(), deployment_id).await?;
    let mut lines = Vec::new();
    for row in rows::list(store.pool(), deployment_id, false).await? {
        let vm = vms.iter().find(|vm| vm.instance_id == row.id && vm.active);
        let mut line = common(&row, vm);
        line["ips"] = json!(ips(store, &row, vm).await?);
        line["vm_created_at"] = json!(vm.map(|vm| stamp(vm.created_at)));
        line["expects_vm"] = json!(row.lifecycle == "service" && row.state != "detached");
        lines.push(line);
    }
    Ok(lines)
}

/// `GET /deployments/:d/vms`: one entry per VM, compilation VMs included.
pub async fn vms(store: &Store, deployment_id: i64) -> Result<Vec<Json>, Error> {
    let vms = vm_rows::list_of_deployment(store.pool(), deployment_id).await?;
    let mut lines = Vec::new();
    for row in rows::list(store.pool(), deployment_id, true).await? {
        for vm in vms
            .iter()
            .filter(|vm| vm.instance_id == row.id && vm.cid.is_some())
        {
            let mut line = common(&row, Some(vm));
            line["ips"] = json!(ips(store, &row, Some(vm)).await?);
            line["vm_created_at"] = json!(stamp(vm.created_at));
            line["active"] = json!(vm.active);
            line["permanent_nats_credentials"] = json!(vm.permanent_nats_credentials);
            lines.push(line);
        }
    }
    Ok(lines)
}

fn common(row: &Instance, vm: Option<&Vm>) -> Json {
    json!({
        "agent_id": vm.map(|vm| &vm.agent_id),
        "cid": vm.and_then(|vm| vm.cid.as_ref()),
        "job": row.group_name,
        "index": row.index,
        "id": row.uuid,
        "az": row.az,
    })
}

/// Addresses of a VM: its rows, else what the agent reported for dynamic networks.
pub(super) async fn ips(
    store: &Store,
    row: &Instance,
    vm: Option<&Vm>,
) -> Result<Vec<String>, Error> {
    let Some(vm) = vm else { return Ok(Vec::new()) };
    let held = addresses::list_of_vm(store.pool(), vm.id).await?;
    if !held.is_empty() {
        return Ok(held);
    }
    let networks = row
        .spec
        .as_ref()
        .and_then(|spec| spec.get("networks"))
        .and_then(Json::as_object);
    Ok(networks
        .into_iter()
        .flat_map(|networks| networks.values())
        .filter_map(|network| network.get("ip").and_then(Json::as_str))
        .map(str::to_owned)
        .collect())
}

pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
