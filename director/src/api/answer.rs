//! Shapes of answers: JSON, texts, redirects to tasks, errors, "no such endpoint".

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

use super::{Api, request::Caller};
use crate::error::Error;
use crate::store::tasks::{NewTask, Task};
use crate::tasks::enqueue;

/// What a handler returns.
pub type Answer = Result<Response, Refusal>;

/// A request that is not done: the director's error, or a text of its own.
pub enum Refusal {
    Error(Error),
    Text(StatusCode, String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Error(error)
    }
}

impl From<crate::store::Error> for Refusal {
    fn from(error: crate::store::Error) -> Refusal {
        Refusal::Error(error.into())
    }
}

/// `{"code":…,"description":…}` with the status of the code. Causes go to the log, not to the client.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Refusal::Text(status, text) => plain(status, "text/html;charset=utf-8", text),
            Refusal::Error(error) => {
                if error.status.is_server_error() {
                    tracing::error!(error = error.chain(), "request failed");
                }
                let mut response = with_status(error.status, &error.to_json("description"));
                if error.status.is_server_error() {
                    let failed = super::every::Failed(error.code.to_string());
                    response.extensions_mut().insert(failed);
                }
                response
            }
        }
    }
}

pub const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"BOSH Director\"");

/// 200 with a JSON body.
pub fn json_ok(body: &impl Serialize) -> Response {
    with_status(StatusCode::OK, body)
}

pub fn with_status(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => plain(status, "application/json", text),
        Err(error) => {
            tracing::error!(%error, "an answer can't be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Queues a task and answers with the way to it.
pub async fn queue(api: &Api, headers: &HeaderMap, task: NewTask) -> Answer {
    let task = enqueue(&api.services.store, task).await?;
    Ok(to_task(api, headers, &task))
}

pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 302 to the task. The scheme is always that of the API as clients see it; the host is the request's.
pub fn to_task(api: &Api, headers: &HeaderMap, task: &Task) -> Response {
    let public = api.services.settings.public_url();
    let base = match (
        headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok()),
        public.split_once("://"),
    ) {
        (Some(host), Some((scheme, _))) => format!("{scheme}://{host}"),
        _ => public,
    };
    let mut response = plain(StatusCode::FOUND, "text/html;charset=utf-8", Body::empty());
    let location = HeaderValue::from_str(&format!("{base}/tasks/{}", task.id));
    response.headers_mut().insert(
        header::LOCATION,
        location.unwrap_or(HeaderValue::from_static("/tasks")),
    );
    response
}

/// First segments of paths that belong to the API: below them a wrong path is "no such endpoint".
const FAMILIES: &[&str] = &[
    "cleanup",
    "cloud_configs",
    "configs",
    "cpi_configs",
    "deployed_variables",
    "deployment_configs",
    "deployments",
    "director",
    "disks",
    "dynamic_disks",
    "events",
    "info",
    "jobs",
    "link_address",
    "link_consumers",
    "link_providers",
    "links",
    "locks",
    "networks",
    "orphan_disks",
    "orphaned_vms",
    "packages",
    "releases",
    "resources",
    "restore",
    "resurrection",
    "runtime_configs",
    "stemcell_uploads",
    "stemcells",
    "task",
    "tasks",
    "vms",
];

/// Whether the path's first segment is one of the API's.
pub fn belongs_to_the_api(path: &str) -> bool {
    FAMILIES.contains(&path.split('/').nth(1).unwrap_or_default())
}

/// 404 for paths and methods that do not exist.
pub async fn no_such_path(State(_): State<Api>, caller: Option<Caller>, uri: Uri) -> Response {
    if !belongs_to_the_api(uri.path()) {
        return plain(
            StatusCode::NOT_FOUND,
            "text/plain",
            format!("Not Found: {}", uri.path()),
        );
    }
    if caller.is_none() {
        return super::request::not_authorized(uri.path());
    }
    no_endpoint(uri.path()).into_response()
}

/// The route does not match: wrong method, content type or parameters.
pub fn no_endpoint(path: &str) -> Refusal {
    Refusal::Text(
        StatusCode::NOT_FOUND,
        format!("Endpoint '{path}' not found."),
    )
}

/// Times as texts: `2026-01-09 06:23:25 UTC`.
pub fn time_text(time: chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
