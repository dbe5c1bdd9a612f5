//! Deployments over HTTP: list, show, deploy, diff, delete (director-api.md §11).

use axum::extract::{Path, State};
use domain::version::Pattern;
use http::{HeaderMap, StatusCode};
use manifest::documents::canonical_name;
use manifest::yaml::Value as Yaml;
use serde_json::{Map, Value, json};

use super::Api;
use super::answer::{Answer, json_ok, queue};
use super::request::{Caller, Query, YamlBody, context_id};
use crate::auth::{Access, Permission};
use crate::configs::{DeployContext, Selection, overlay, parse_manifest};
use crate::error::{Error, code};
use crate::store::deployments::{self as rows, Deployment};
use crate::store::tasks::NewTask;

/// The deployment, if there is one (404 first) and the caller may have this access to it.
pub async fn find(
    api: &Api,
    caller: &Caller,
    name: &str,
    access: Access,
) -> Result<Deployment, Error> {
    let found = rows::find(api.services.store.pool(), name).await?;
    let deployment = found.ok_or_else(|| {
        Error::new(
            code::DEPLOYMENT_NOT_FOUND,
            format!("Deployment '{name}' doesn't exist"),
        )
    })?;
    caller.require_object(api, access, &deployment.teams)?;
    Ok(deployment)
}

pub async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    caller.require(&api, Permission::ListDeployments)?;
    let store = &api.services.store;
    let uses = rows::uses(store.pool()).await?;
    let locked = store.locked_deployments().await?;
    let mut list = Vec::new();
    for deployment in rows::list(store.pool()).await? {
        if !caller.allows(&api, Access::Read, &deployment.teams) {
            continue;
        }
        let used = uses.get(&deployment.id);
        let mut entry = Map::new();
        entry.insert("name".into(), json!(deployment.name));
        entry.insert("teams".into(), json!(deployment.teams));
        if !query.flag("exclude_configs") {
            let configs = used.map(|used| used.configs.as_slice()).unwrap_or_default();
            entry.insert(
                "cloud_config".into(),
                json!(cloud_config_state(&api, &deployment, configs).await?),
            );
        }
        let pairs = |pairs: Option<&Vec<(String, String)>>| -> Value {
            pairs
                .into_iter()
                .flatten()
                .map(|(name, version)| json!({"name": name, "version": version}))
                .collect()
        };
        if !query.flag("exclude_stemcells") {
            entry.insert("stemcells".into(), pairs(used.map(|used| &used.stemcells)));
        }
        if !query.flag("exclude_releases") {
            entry.insert("releases".into(), pairs(used.map(|used| &used.releases)));
        }
        if !query.flag("exclude_lock") {
            entry.insert("locked".into(), json!(locked.contains(&deployment.name)));
        }
        list.push(Value::Object(entry));
    }
    Ok(json_ok(&list))
}

/// `none`, `latest` or `outdated`.
async fn cloud_config_state(
    api: &Api,
    deployment: &Deployment,
    configs: &[i64],
) -> Result<&'static str, Error> {
    let used = Selection::of_ids(&api.services.store, configs)
        .await?
        .context()
        .cloud_config_ids;
    if used.is_empty() {
        return Ok("none");
    }
    let mut latest = Selection::latest(&api.services.store, &deployment.teams)
        .await?
        .context()
        .cloud_config_ids;
    latest.sort_unstable();
    Ok(if used == latest { "latest" } else { "outdated" })
}

pub async fn show(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Read).await?;
    Ok(json_ok(&json!({"manifest": deployment.manifest_text})))
}

fn name_of(manifest: &Yaml) -> Result<String, Error> {
    match manifest.get("name") {
        Some(Yaml::String(name)) => Ok(name.clone()),
        Some(Yaml::Number(name)) => Ok(name.to_string()),
        _ => Err(Error::new(
            code::VALIDATION_MISSING_FIELD,
            "Deployment manifest must have a 'name' key",
        )),
    }
}

/// `recreate_vms_created_before`, unix seconds; refused without recreate.
pub fn created_before(query: &Query, recreate: bool, wish: &str) -> Result<Option<i64>, Error> {
    let Some(text) = query.text("recreate_vms_created_before") else {
        return Ok(None);
    };
    if !recreate {
        return Err(Error::new(
            code::VALIDATION_INVALID_VALUE,
            format!("Must pass {wish} when specifying recreate_vms_created_before"),
        ));
    }
    let time = chrono::DateTime::parse_from_rfc3339(&text).map_err(|_| {
        let message = format!("Invalid RFC 3339 timestamp for recreate_vms_created_before: {text}");
        Error::new(code::VALIDATION_INVALID_VALUE, message)
    })?;
    Ok(Some(time.timestamp()))
}

pub async fn deploy(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    headers: HeaderMap,
    YamlBody(body): YamlBody,
) -> Answer {
    let store = &api.services.store;
    let manifest = parse_manifest(&body)?;
    let name = name_of(&manifest)?;
    let existing = rows::find(store.pool(), &name).await?;
    let teams = match &existing {
        Some(deployment) => {
            caller.require_object(&api, Access::Admin, &deployment.teams)?;
            deployment.teams.clone()
        }
        None => {
            caller.require(&api, Permission::CreateDeployment)?;
            caller.0.admin_teams(api.uuid())
        }
    };
    let context_id = context_id(&headers)?;
    let recreate = query.flag("recreate");
    let created_before = created_before(&query, recreate, "recreate=true")?;
    let context: Option<DeployContext> = match query.text("context") {
        None => None,
        Some(text) => {
            let context: DeployContext = serde_json::from_str(&text).map_err(|_| {
                Error::new(
                    code::CONTEXT_INVALID_CONFIG_ID,
                    "Context includes invalid config ID",
                )
            })?;
            Selection::of_context(store, &context, &teams).await?;
            Some(context)
        }
    };
    let canonical =
        canonical_name(&name).map_err(|problem| Error::new(problem.code, problem.message))?;
    if existing.is_none() {
        check_name(&name)?;
        if rows::find_by_canonical_name(store.pool(), &canonical)
            .await?
            .is_some()
        {
            return Err(Error::new(
                code::DEPLOYMENT_CANONICAL_NAME_TAKEN,
                format!(
                    "Invalid deployment name '{name}', canonical name already taken ('{canonical}')"
                ),
            )
            .into());
        }
    }
    let deployment = rows::ensure(store.pool(), &name, &canonical, &teams).await?;
    let dry_run = query.flag("dry_run");
    let args = json!({
        "manifest": body,
        "recreate": recreate,
        "recreate_persistent_disks": query.flag("recreate_persistent_disks"),
        "recreate_vms_created_before": created_before,
        "fix": query.flag("fix"),
        "skip_drain": query.text("skip_drain"),
        "canaries": query.text("canaries"),
        "max_in_flight": query.text("max_in_flight"),
        "dry_run": dry_run,
        "force_latest_variables": query.flag("force_latest_variables"),
        "context": context,
        "state_change": null,
    });
    let task = NewTask {
        kind: "update_deployment".into(),
        description: format!(
            "create deployment{}",
            if dry_run { " (dry run)" } else { "" }
        ),
        user: caller.0.user,
        deployment: Some(name),
        args,
        teams: deployment.teams,
        context_id,
        pinned_to: None,
    };
    queue(&api, &headers, task).await
}

fn check_name(name: &str) -> Result<(), Error> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "-_+.".contains(letter);
    if !name.is_empty() && name.chars().all(fine) {
        return Ok(());
    }
    Err(Error::new(
        code::VALIDATION_INVALID_VALUE,
        format!("Invalid deployment name '{name}'"),
    )
    .hint("Use letters, digits, '-', '_', '+' and '.'."))
}

pub async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    let deployment = find(&api, &caller, &name, Access::Admin).await?;
    let task = NewTask {
        kind: "delete_deployment".into(),
        description: format!("delete deployment {name}"),
        user: caller.0.user,
        deployment: Some(name),
        args: json!({"force": query.flag("force")}),
        teams: deployment.teams,
        context_id: context_id(&headers)?,
        pinned_to: None,
    };
    queue(&api, &headers, task).await
}

/// What a deploy of this manifest would change, and the configs it is compared with.
pub async fn diff(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
    YamlBody(body): YamlBody,
) -> Answer {
    let store = &api.services.store;
    let existing = rows::find(store.pool(), &name).await?;
    let teams = match &existing {
        Some(deployment) => {
            caller.require_object(&api, Access::Admin, &deployment.teams)?;
            deployment.teams.clone()
        }
        None => {
            caller.require(&api, Permission::CreateDeployment)?;
            caller.0.admin_teams(api.uuid())
        }
    };
    let mut manifest = parse_manifest(&body)?;
    if existing.is_some()
        && let Some(mapping) = manifest.as_mapping_mut()
    {
        mapping.insert("name".into(), Yaml::String(name.clone()));
    }
    let redact = query.get("redact") != Some("false");
    let answer = match compare(&api, existing.as_ref(), &name, &manifest, &teams, redact).await {
        Ok(answer) => answer,
        Err(error)
            if error.status == StatusCode::INTERNAL_SERVER_ERROR
                && error.code == code::SYSTEM_ERROR =>
        {
            return Err(error.into());
        }
        Err(error) => {
            json!({"diff": [], "error": format!("Unable to diff manifest: {}", error.chain())})
        }
    };
    Ok(json_ok(&answer))
}

async fn compare(
    api: &Api,
    existing: Option<&Deployment>,
    name: &str,
    manifest: &Yaml,
    teams: &[String],
    redact: bool,
) -> Result<Value, Error> {
    let store = &api.services.store;
    let latest = Selection::latest(store, teams).await?;
    let new = overlay(&resolved(api, manifest).await?, &latest, name)?;
    let old = match existing {
        None => Yaml::Mapping(Default::default()),
        Some(deployment) => {
            match &deployment.manifest_text {
                Some(text) => {
                    let ids = rows::config_ids(store.pool(), deployment.id).await?;
                    let configs = Selection::of_ids(store, &ids).await?;
                    overlay(
                        &resolved(api, &parse_manifest(text)?).await?,
                        &configs,
                        name,
                    )?
                }
                // compat: a deployment that never succeeded is compared with its configs alone
                None => overlay(&Yaml::Mapping(Default::default()), &latest, name)?,
            }
        }
    };
    Ok(json!({"context": latest.context(), "diff": manifest::diff::diff(&old, &new, redact)}))
}

/// The manifest with `latest` and `X.latest` of releases and stemcells replaced by what they stand for now.
async fn resolved(api: &Api, manifest: &Yaml) -> Result<Yaml, Error> {
    let mut manifest = manifest.clone();
    for (section, releases) in [("releases", true), ("stemcells", false)] {
        let Some(Yaml::Sequence(entries)) = manifest.get_mut(section) else {
            continue;
        };
        for entry in entries {
            let version = match entry.get("version") {
                Some(Yaml::String(version)) => version.clone(),
                Some(Yaml::Number(version)) => version.to_string(),
                _ => continue,
            };
            let known = if releases {
                let name = entry.get("name").and_then(Yaml::as_str).unwrap_or_default();
                api.services.store.versions_of_release(name).await?
            } else {
                let os = entry.get("os").and_then(Yaml::as_str);
                let name = entry.get("name").and_then(Yaml::as_str);
                api.services.store.versions_of_stemcell(os, name).await?
            };
            let found = Pattern::parse(&version).resolve(known.iter().map(String::as_str));
            let found = if version.ends_with("latest") {
                found.map(str::to_owned)
            } else {
                Some(version)
            };
            if let (Some(found), Some(mapping)) = (found, entry.as_mapping_mut()) {
                mapping.insert("version".into(), Yaml::String(found));
            }
        }
    }
    Ok(manifest)
}
