//! Cleaning up, dry and real (director-api.md §19.3).

use axum::extract::State;
use http::HeaderMap;
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, json_ok, queue};
use super::disks::{disk_json, vm_json};
use super::request::{Caller, JsonBody, Query};
use crate::auth::Permission;
use crate::cleanup::{self, Config};
use crate::stemcells;
use crate::store::tasks::NewTask;

/// `POST /cleanup`
pub async fn run(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let wish = |key: &str| body["config"][key] == true;
    let config = Config {
        remove_all: wish("remove_all"),
        keep_orphaned_disks: wish("keep_orphaned_disks"),
    };
    let description = match config.remove_all {
        true => "clean up all",
        false => "clean up",
    };
    let task = NewTask {
        kind: "delete_artifacts".into(),
        description: description.into(),
        user: caller.0.user,
        args: json!(config),
        ..NewTask::default()
    };
    queue(&api, &headers, task).await
}

/// `GET /cleanup/dryrun`
pub async fn dry_run(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let config = Config {
        remove_all: query.flag("remove_all"),
        keep_orphaned_disks: query.flag("keep_orphaned_disks"),
    };
    let plan = cleanup::plan(&api.services, config).await?;
    let list = |values: Vec<Value>| Value::Array(values);
    let releases = plan
        .releases
        .iter()
        .map(|(name, versions)| json!({"name": name, "versions": versions}));
    let packages = plan.compiled_packages.iter().map(|package| {
        json!({
            "package_name": package.name,
            "stemcell_os": package.stemcell_os,
            "stemcell_version": package.stemcell_version,
        })
    });
    let stemcells = plan
        .stemcells
        .iter()
        .map(|row| stemcells::to_json(row, Vec::new()));
    Ok(json_ok(&json!({
        "releases": list(releases.collect()),
        "stemcells": list(stemcells.collect()),
        "compiled_packages": list(packages.collect()),
        "orphaned_disks": list(plan.orphaned_disks.iter().map(disk_json).collect()),
        "orphaned_vms": list(plan.orphaned_vms.iter().map(vm_json).collect()),
        "exported_releases": plan.exported_releases,
        "dns_blobs": plan.dns_blobs.iter().map(|(_, blob)| blob).collect::<Vec<_>>(),
    })))
}
