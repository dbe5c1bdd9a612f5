//! Releases and stemcells over HTTP: upload, list, show, delete (director-api.md §7, §8, §9).
//!
//! A body is streamed to `<data_dir>/uploads/<uuid>` and the task is pinned to this director. Arguments of the
//! tasks: `update_release {path | location, sha1, rebase, fix}`, `update_stemcell {path | location, sha1, fix}`,
//! `delete_release {name, version, force}`, `delete_stemcell {name, version, force}`. The handler removes the file
//! when the task ends; what a crash leaves is removed at the next start.

use axum::extract::{Path, Request, State};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, Uri};
use manifest::yaml::Value as Yaml;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::Api;
use super::answer::{Answer, Refusal, json_ok, no_endpoint, to_task};
use super::request::{Caller, JsonBody, Query, YamlBody, bad_json, content_type};
use crate::auth::Permission;
use crate::configs::parse_manifest;
use crate::error::{Error, code};
use crate::store::tasks::NewTask;
use crate::tasks::enqueue;

pub async fn upload_release(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    headers: HeaderMap,
    uri: Uri,
    request: Request,
) -> Answer {
    caller.require(&api, Permission::UploadReleases)?;
    let (mut args, pinned_to) = source(&api, &headers, uri.path(), request).await?;
    if args.get("location").is_some()
        && let Some(sha1) = query.text("sha1")
    {
        if !args["sha1"].is_null() {
            return Err(Refusal::Text(
                StatusCode::BAD_REQUEST,
                "Sha1 provided in multiple places".into(),
            ));
        }
        args["sha1"] = json!(sha1);
    }
    args["rebase"] = json!(query.flag("rebase"));
    args["fix"] = json!(query.flag("fix"));
    queue(
        &api,
        caller,
        &headers,
        "update_release",
        "create release",
        args,
        pinned_to,
    )
    .await
}

pub async fn upload_stemcell(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    headers: HeaderMap,
    uri: Uri,
    request: Request,
) -> Answer {
    caller.require(&api, Permission::UploadStemcells)?;
    let (mut args, pinned_to) = source(&api, &headers, uri.path(), request).await?;
    if let Some(sha1) = query.text("sha1") {
        args["sha1"] = json!(sha1);
    }
    args["fix"] = json!(query.flag("fix"));
    queue(
        &api,
        caller,
        &headers,
        "update_stemcell",
        "create stemcell",
        args,
        pinned_to,
    )
    .await
}

/// Where the upload comes from: the body itself, or a URL in it.
async fn source(
    api: &Api,
    headers: &HeaderMap,
    path: &str,
    request: Request,
) -> Result<(Value, Option<String>), Refusal> {
    match content_type(headers) {
        "application/x-compressed" => {
            let file = receive(api, request).await?;
            Ok((
                json!({"path": file, "sha1": null}),
                Some(api.services.instance.clone()),
            ))
        }
        "application/json" => {
            let bytes = axum::body::to_bytes(request.into_body(), 64 * 1024)
                .await
                .map_err(|_| Error::new(code::BAD_JSON, "Invalid JSON request body: too long"))?;
            let body: Value = serde_json::from_slice(&bytes).map_err(|error| bad_json(&error))?;
            let Some(location) = body.get("location").and_then(Value::as_str) else {
                return Err(
                    Error::new(code::VALIDATION_MISSING_FIELD, "Missing 'location' field").into(),
                );
            };
            Ok((
                json!({"location": location, "sha1": body.get("sha1")}),
                None,
            ))
        }
        _ => Err(no_endpoint(path)),
    }
}

/// Streams a body to a file of its own; nothing is left of one that breaks off.
async fn receive(api: &Api, request: Request) -> Result<std::path::PathBuf, Error> {
    let folder = api.services.settings.data_dir.join("uploads");
    let failed = |error: std::io::Error| {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                code::NOT_ENOUGH_DISK_SPACE
            }
            _ => code::SYSTEM_ERROR,
        };
        Error::new(code, "The upload could not be written.")
            .hint(format!("Check the space in {}.", folder.display()))
            .caused_by(error)
    };
    fs_err::tokio::create_dir_all(&folder)
        .await
        .map_err(failed)?;
    let path = folder.join(uuid::Uuid::new_v4().to_string());
    let received = async {
        let mut file = tokio::io::BufWriter::with_capacity(
            256 * 1024,
            fs_err::tokio::File::create(&path).await.map_err(failed)?,
        );
        let mut body = request.into_body().into_data_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                Error::bad_request("The upload broke off before its end. Upload again.")
                    .caused_by(error)
            })?;
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)
    }
    .await;
    if received.is_err() {
        let _ = fs_err::tokio::remove_file(&path).await;
    }
    received.map(|()| path)
}

async fn queue(
    api: &Api,
    caller: Caller,
    headers: &HeaderMap,
    kind: &str,
    description: &str,
    args: Value,
    pinned_to: Option<String>,
) -> Answer {
    let task = enqueue(
        &api.services.store,
        NewTask {
            kind: kind.into(),
            description: description.into(),
            user: caller.0.user,
            args,
            pinned_to,
            ..NewTask::default()
        },
    )
    .await?;
    Ok(to_task(api, headers, &task))
}

pub async fn list_releases(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::ReadReleases)?;
    let rows = api.services.store.release_listing().await?;
    let mut list: Vec<Value> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(first) = rows.peek() {
        let name = first.name.clone();
        let mut versions = Vec::new();
        while let Some(row) = rows.next_if(|row| row.name == name) {
            versions.push(row);
        }
        versions.sort_by_key(|row| domain::ReleaseVersion::parse(&row.version).ok());
        let versions: Vec<Value> = versions
            .iter()
            .map(|row| {
                json!({
                    "version": row.version,
                    "commit_hash": row.commit_hash,
                    "uncommitted_changes": row.uncommitted_changes,
                    "currently_deployed": row.currently_deployed,
                    "job_names": row.job_names,
                })
            })
            .collect();
        list.push(json!({"name": name, "release_versions": versions}));
    }
    Ok(json_ok(&list))
}

pub async fn show_release(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
) -> Answer {
    caller.require(&api, Permission::ReadReleases)?;
    let store = &api.services.store;
    let listing = store.release_listing().await?;
    let of_name: Vec<_> = listing.iter().filter(|row| row.name == name).collect();
    if of_name.is_empty() {
        return Err(no_release(&name).into());
    }
    let Some(wanted) = query.text("version") else {
        let versions: Vec<&str> = of_name.iter().map(|row| row.version.as_str()).collect();
        let (jobs, packages) = store.release_summary(&name).await?;
        return Ok(json_ok(
            &json!({"packages": packages, "jobs": jobs, "versions": versions}),
        ));
    };
    let normalised = domain::ReleaseVersion::parse(&wanted)
        .ok()
        .map(|version| version.as_str().to_owned());
    let row = of_name
        .iter()
        .find(|row| row.version == wanted)
        .or_else(|| {
            of_name
                .iter()
                .find(|row| Some(&row.version) == normalised.as_ref())
        })
        .ok_or_else(|| {
            let message = format!("Release version '{name}/{wanted}' doesn't exist");
            Error::new(code::RELEASE_VERSION_NOT_FOUND, message)
        })?;
    let (jobs, packages) = store.release_contents(row.version_id).await?;
    Ok(json_ok(&json!({"jobs": jobs, "packages": packages})))
}

fn no_release(name: &str) -> Error {
    Error::new(
        code::RELEASE_NOT_FOUND,
        format!("Release '{name}' doesn't exist"),
    )
}

pub async fn delete_release(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    if !api
        .services
        .store
        .release_listing()
        .await?
        .iter()
        .any(|row| row.name == name)
    {
        return Err(no_release(&name).into());
    }
    let version = query.text("version");
    let what = version
        .as_ref()
        .map_or_else(|| name.clone(), |version| format!("{name}/{version}"));
    let args = json!({"name": name, "version": version, "force": query.flag("force")});
    queue(
        &api,
        caller,
        &headers,
        "delete_release",
        &format!("delete release: {what}"),
        args,
        None,
    )
    .await
}

pub async fn list_stemcells(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::ReadStemcells)?;
    let rows = api.services.store.stemcell_listing().await?;
    let list: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "operating_system": row.operating_system,
                "version": row.version,
                "cid": row.cid,
                "cpi": row.cpi,
                "deployments": row.deployments.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
                "api_version": row.api_version,
                "id": row.id,
            })
        })
        .collect();
    Ok(json_ok(&list))
}

/// `POST /stemcell_uploads`: must this stemcell be sent?
pub async fn stemcell_needed(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.require(&api, Permission::ReadStemcells)?;
    let missing = |field: &str| {
        Error::new(
            code::VALIDATION_MISSING_FIELD,
            format!("Missing '{field}' field"),
        )
    };
    let stemcell = body.get("stemcell").ok_or_else(|| missing("stemcell"))?;
    let text = |field: &str| {
        stemcell
            .get(field)
            .and_then(Value::as_str)
            .ok_or_else(|| missing(field))
    };
    let (name, version) = (text("name")?, text("version")?);
    let rows = api.services.store.stemcell_listing().await?;
    let known = rows
        .iter()
        .any(|row| row.name == name && row.version == version && row.cid.is_some());
    Ok(json_ok(&json!({"needed": !known})))
}

pub async fn delete_stemcell(
    State(api): State<Api>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let description = format!("delete stemcell: {name}/{version}");
    let args = json!({"name": name, "version": version, "force": query.flag("force")});
    queue(
        &api,
        caller,
        &headers,
        "delete_stemcell",
        &description,
        args,
        None,
    )
    .await
}

/// Which packages of a release manifest need not be sent: their fingerprints.
pub async fn package_matches(
    State(api): State<Api>,
    caller: Caller,
    YamlBody(body): YamlBody,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let manifest = parse_manifest(&body)?;
    let fingerprints = fingerprints(&manifest, "packages")?;
    let store = &api.services.store;
    if let (Some(name), Some(version)) = (text(&manifest, "name"), text(&manifest, "version"))
        && store.release_upload_incomplete(&name, &version).await?
    {
        return Ok(json_ok(&json!([])));
    }
    Ok(json_ok(&store.stored_packages(&fingerprints).await?))
}

/// The same for compiled packages; nothing is promised that an upload could not do without.
pub async fn compiled_package_matches(
    State(api): State<Api>,
    caller: Caller,
    YamlBody(body): YamlBody,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let manifest = parse_manifest(&body)?;
    fingerprints(&manifest, "compiled_packages")?;
    Ok(json_ok(&json!([])))
}

fn text(manifest: &Yaml, key: &str) -> Option<String> {
    manifest.get(key).and_then(manifest::yaml::scalar_text)
}

fn fingerprints(manifest: &Yaml, section: &str) -> Result<Vec<String>, Error> {
    match manifest.get(section) {
        Some(Yaml::Sequence(packages)) => Ok(packages
            .iter()
            .filter_map(|package| text(package, "fingerprint"))
            .collect()),
        _ => Err(Error::new(
            code::BAD_MANIFEST,
            "Manifest doesn't have a usable packages section",
        )),
    }
}
