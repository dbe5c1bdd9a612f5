//! The detailed listing, a task: every agent is asked at once, 5 seconds long.

use std::time::Duration;

use agent_protocol::{AgentState, Patience};
use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use super::plain::{ips, stamp};
use crate::agents;
use crate::deploy::args::ListVms;
use crate::deploy::find_deployment;
use crate::error::Error;
use crate::store::disks;
use crate::store::disks::Disk;
use crate::store::instances::{self, Instance};
use crate::store::vms::{self, Vm};
use crate::tasks::{Context, Handler};

/// How long an agent may take; after that it is shown as unresponsive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Task type `vms`.
pub struct ListFull;

#[async_trait]
impl Handler for ListFull {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: ListVms = ctx.args()?;
        let deployment = find_deployment(ctx).await?;
        let db = ctx.services.store.pool();
        let rows = instances::list(db, deployment.id, false).await?;
        let vms = vms::list_of_deployment(db, deployment.id).await?;
        let disks = disks::list_of_deployment(db, deployment.id).await?;
        let mut wanted = Vec::new();
        for row in &rows {
            let of_row = || {
                vms.iter()
                    .filter(|vm| vm.instance_id == row.id && vm.cid.is_some())
            };
            match (args.instances, of_row().find(|vm| vm.active)) {
                (true, active) => wanted.push((row, active)),
                (false, Some(_)) => wanted.extend(of_row().map(|vm| (row, Some(vm)))),
                (false, None) => {}
            }
        }
        let lines = join_all(
            wanted
                .into_iter()
                .map(|(row, vm)| line(ctx, row, vm, &disks)),
        )
        .await;
        for line in lines {
            ctx.result_output(format!("{}\n", line?));
        }
        Ok(String::new())
    }
}

async fn line(
    ctx: &Context,
    row: &Instance,
    vm: Option<&Vm>,
    disks: &[Disk],
) -> Result<Json, Error> {
    let state = match vm {
        Some(vm) => Some(ask(ctx, row, vm).await),
        None => None,
    };
    let answered = state.as_ref().and_then(Option::as_ref);
    let held: Vec<&Disk> = disks
        .iter()
        .filter(|disk| disk.instance_id == row.id && disk.active)
        .collect();
    let managed = held
        .iter()
        .find(|disk| disk.name.is_empty())
        .and_then(|disk| disk.cid.clone());
    let spec = |key: &str| row.spec.as_ref().and_then(|spec| spec.get(key)).cloned();
    let stemcell = json!({
        "name": vm.map(|vm| &vm.stemcell_name),
        "version": vm.map(|vm| &vm.stemcell_version),
        "api_version": vm.map(|vm| vm.stemcell_api_version),
    });
    let cloud_properties = match vm {
        Some(vm) => vm.cloud_properties.clone(),
        // What its last VM was made with, or nothing before the first.
        None => spec("cloud_properties").unwrap_or(json!({})),
    };
    Ok(json!({
        "vm_cid": vm.and_then(|vm| vm.cid.as_ref()),
        "active": vm.map(|vm| vm.active),
        "vm_created_at": vm.map(|vm| stamp(vm.created_at)),
        "cloud_properties": cloud_properties,
        "disk_cid": managed,
        "disk_cids": held.iter().filter_map(|disk| disk.cid.as_ref()).collect::<Vec<_>>(),
        "ips": ips(&ctx.services.store, row, vm).await?,
        "agent_id": vm.map(|vm| &vm.agent_id),
        "job_name": row.group_name,
        "index": row.index,
        "job_state": match &state {
            None => Json::Null,
            Some(None) => json!("unresponsive agent"),
            Some(Some(state)) => json!(state.job_state().to_string()),
        },
        "state": row.state,
        "vm_type": spec("vm_type").filter(|name| name != ""),
        "vitals": answered.and_then(|state| state.spec.get("vitals").cloned()),
        "processes": answered.map_or_else(|| json!([]), |state| state.spec.get("processes").cloned().unwrap_or(json!([]))),
        "az": row.az,
        "id": row.uuid,
        "bootstrap": row.bootstrap,
        "ignore": row.ignore,
        "stemcell": stemcell,
    }))
}

/// The agent's words; `None` when it is silent or refuses.
async fn ask(ctx: &Context, row: &Instance, vm: &Vm) -> Option<AgentState> {
    let to = agents::target(row, &vm.agent_id);
    ctx.services
        .agents
        .get_state_within(&to, true, Patience::once(PATIENCE))
        .await
        .ok()
}
