//! Releases and stemcells over HTTP: upload, list, show, delete (director-api.md §7, §8, §9).
//!
//! A body is streamed to `<data_dir>/uploads/<uuid>` and the task is pinned to this director. Arguments of the
//! tasks: `update_release {path | location, sha1, rebase, fix}`, `update_stemcell {path | location, sha1, fix}`,
//! `delete_release {name, version, force}`, `delete_stemcell {name, version, force}`. The handler removes the file
//! when the task ends; what a crash leaves is removed at the next start.

use axum::extract::{Path, Request, State};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;

use super::Api;
use super::answer::{Answer, Refusal, empty, json_ok, no_endpoint, to_task};
use super::request::{Caller, JsonBody, Query, YamlBody, bad_json, content_type, context_id};
use crate::auth::Permission;
use crate::error::{Error, code};
use crate::releases;
use crate::stemcells;
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
    let (mut args, file) = source(&api, &headers, uri.path(), request).await?;
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
        file,
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
    let (mut args, file) = source(&api, &headers, uri.path(), request).await?;
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
        file,
    )
    .await
}

/// Where the upload comes from: the body itself, or a URL in it.
async fn source(
    api: &Api,
    headers: &HeaderMap,
    path: &str,
    request: Request,
) -> Result<(Value, Option<TempPath>), Refusal> {
    match content_type(headers) {
        "application/x-compressed" => {
            let file = receive(api, request).await?;
            let path: &std::path::Path = &file;
            Ok((json!({"path": path, "sha1": null}), Some(file)))
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

/// Streams a body to a file of its own. The file goes with the returned path, unless a task takes it over: nothing
/// is left of a body that breaks off, of a client that goes away, or of a request that is refused after all.
async fn receive(api: &Api, request: Request) -> Result<TempPath, Error> {
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
    let file = fs_err::tokio::File::create(&path).await.map_err(failed)?;
    let path = TempPath::try_from_path(path).map_err(failed)?;
    let mut file = tokio::io::BufWriter::with_capacity(256 * 1024, file);
    let mut body = request.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            Error::bad_request("The upload broke off before its end. Upload again.")
                .caused_by(error)
        })?;
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    Ok(path)
}

async fn queue(
    api: &Api,
    caller: Caller,
    headers: &HeaderMap,
    kind: &str,
    description: &str,
    args: Value,
    file: Option<TempPath>,
) -> Answer {
    let context_id = context_id(headers)?;
    // Only this director has the file.
    let pinned_to = file.as_ref().map(|_| api.services.instance.clone());
    let task = enqueue(
        &api.services.store,
        NewTask {
            kind: kind.into(),
            description: description.into(),
            user: caller.0.user,
            args,
            pinned_to,
            context_id,
            ..NewTask::default()
        },
    )
    .await?;
    if let Some(file) = file
        && let Err(error) = file.keep()
    {
        tracing::warn!(%error, "an upload's file may be gone before its task runs");
    }
    Ok(to_task(api, headers, &task))
}

pub async fn list_releases(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::ReadReleases)?;
    Ok(json_ok(&releases::list(&api.services).await?))
}

pub async fn show_release(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
) -> Answer {
    caller.require(&api, Permission::ReadReleases)?;
    let shown = match query.text("version") {
        Some(version) => releases::inspect(&api.services, &name, &version).await?,
        None => releases::summary(&api.services, &name).await?,
    };
    Ok(json_ok(&shown))
}

/// `POST /releases/export`
pub async fn export_release(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let args: releases::ExportArgs = serde_json::from_value(body).map_err(|error| {
        Error::bad_request(format!("The request for an export can't be read: {error}"))
    })?;
    let description = format!(
        "export release: '{}/{}' for '{}/{}'",
        args.release_name, args.release_version, args.stemcell_os, args.stemcell_version
    );
    let args = json!(args);
    queue(
        &api,
        caller,
        &headers,
        "export_release",
        &description,
        args,
        None,
    )
    .await
}

/// `GET /jobs?name=…&release_name=…&fingerprint=…`: both refusals have an empty body.
pub async fn show_job(State(api): State<Api>, caller: Caller, query: Query) -> Answer {
    caller.require(&api, Permission::ReadReleases)?;
    let wanted = (
        query.text("name"),
        query.text("release_name"),
        query.text("fingerprint"),
    );
    let (Some(name), Some(release), Some(fingerprint)) = wanted else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    match releases::find_job(&api.services, &release, &name, &fingerprint).await? {
        Some(job) => Ok(json_ok(&job)),
        None => Ok(empty(StatusCode::NOT_FOUND)),
    }
}

pub async fn delete_release(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    releases::find(&api.services, &name).await?;
    let version = query.text("version");
    let args = json!({"name": name, "version": version, "force": query.flag("force")});
    let description = format!("delete release: {name}");
    queue(
        &api,
        caller,
        &headers,
        "delete_release",
        &description,
        args,
        None,
    )
    .await
}

pub async fn list_stemcells(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::ReadStemcells)?;
    Ok(json_ok(&stemcells::list(&api.services).await?))
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
    let needed = stemcells::is_needed(&api.services, text("name")?, text("version")?).await?;
    Ok(json_ok(&json!({"needed": needed})))
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
    Ok(json_ok(&releases::matches(&api.services, &body).await?))
}

/// The same for compiled packages.
pub async fn compiled_package_matches(
    State(api): State<Api>,
    caller: Caller,
    YamlBody(body): YamlBody,
) -> Answer {
    caller.require(&api, Permission::Admin)?;
    Ok(json_ok(
        &releases::matches_compiled(&api.services, &body).await?,
    ))
}
