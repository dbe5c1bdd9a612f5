//! Blobs over HTTP: downloads by id for people, and signed URLs for agents (director-api.md §7.4,
//! operations.md §12).

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use blobstore::signed::{self, Query as Signature};
use blobstore::{Error as BlobError, Method, Object};
use domain::BlobId;
use futures_util::TryStreamExt as _;
use http::{HeaderValue, StatusCode, Uri, header};

use super::Api;
use super::answer::{Answer, Refusal, empty, plain};
use super::request::Caller;
use crate::auth::Permission;
use crate::error::{Error, code};

/// `GET /resources/:id`
pub async fn resource(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Answer {
    caller.require(&api, Permission::Admin)?;
    let object = api
        .services
        .blobs
        .get(&BlobId::new(&id))
        .await
        .map_err(|error| refused(&id, error))?;
    Ok(stream(object, "application/x-gzip"))
}

/// `GET /packages/blobs/:id`: a package's source, or what it was compiled to.
pub async fn package(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Answer {
    caller.require(&api, Permission::Read)?;
    if !crate::store::blobs::is_package(api.services.store.pool(), &id).await? {
        let text = format!("Package with blobstore id: {id} does not exist");
        return Err(Refusal::Text(StatusCode::BAD_REQUEST, text));
    }
    let object = api
        .services
        .blobs
        .get(&BlobId::new(&id))
        .await
        .map_err(|error| refused(&id, error))?;
    Ok(stream(object, "application/x-gzip"))
}

fn refused(id: &str, error: BlobError) -> Error {
    if error.is_not_found() {
        return Error::new(
            code::RESOURCE_NOT_FOUND,
            format!("Resource '{id}' not found in the blobstore"),
        );
    }
    Error::new(
        code::RESOURCE_ERROR,
        format!("Blobstore error accessing resource '{id}': {error}"),
    )
    .caused_by(error)
}

fn stream(object: Object, content_type: &'static str) -> Response {
    let mut response = plain(
        StatusCode::OK,
        content_type,
        Body::from_stream(object.content),
    );
    if let Some(length) = object
        .size
        .and_then(|size| HeaderValue::from_str(&size.to_string()).ok())
    {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
    }
    response
}

/// The blob that a signed path names, if the signature permits the method on it now.
fn permitted(
    api: &Api,
    method: Method,
    path: &str,
    query: Option<&str>,
) -> Result<BlobId, Refusal> {
    let refused = || {
        Refusal::Text(
            StatusCode::FORBIDDEN,
            "The URL's signature is not valid, or no longer".into(),
        )
    };
    let secret = api.services.blob_secret.as_ref().ok_or_else(refused)?;
    let id = BlobId::new(path.rsplit('/').next().unwrap_or_default());
    let signature = query.and_then(Signature::parse).ok_or_else(refused)?;
    if signed::path(&id) != path || !signed::verify(secret, method, &id, &signature) {
        return Err(refused());
    }
    Ok(id)
}

/// `GET /signed/<2 hex>/<id>?st=…&ts=…&e=…`, and HEAD.
pub async fn signed_get(
    State(api): State<Api>,
    Path(path): Path<String>,
    uri: Uri,
    method: http::Method,
) -> Answer {
    let wanted = if method == http::Method::HEAD {
        Method::Head
    } else {
        Method::Get
    };
    let id = permitted(&api, wanted, &path, uri.query())?;
    match api.services.blobs.get(&id).await {
        Ok(object) => Ok(stream(object, "application/octet-stream")),
        Err(error) if error.is_not_found() => {
            Err(Refusal::Text(StatusCode::NOT_FOUND, "Not Found".into()))
        }
        Err(error) => Err(refused(id.as_str(), error).into()),
    }
}

/// `PUT /signed/…`: stores the body, whole or not at all.
pub async fn signed_put(
    State(api): State<Api>,
    Path(path): Path<String>,
    uri: Uri,
    request: Request,
) -> Answer {
    let id = permitted(&api, Method::Put, &path, uri.query())?;
    let size = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let content = request
        .into_body()
        .into_data_stream()
        .map_err(std::io::Error::other);
    api.services
        .blobs
        .put(&id, size, Box::pin(content))
        .await
        .map_err(|error| refused(id.as_str(), error))?;
    Ok(empty(StatusCode::CREATED))
}
