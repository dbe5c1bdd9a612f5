//! Reading requests: caller, query, typed bodies, the context id.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header, request::Parts};

use super::Api;
use super::answer::{Refusal, no_endpoint, plain};
use super::serve::CertificateCaller;
use crate::auth::{Access, Identity, Permission, scopes};
use crate::error::{Error, code};

/// A caller with valid credentials. Without them the request ends with 401 before its body is read.
pub struct Caller(pub Identity);

impl Caller {
    async fn of(parts: &Parts, api: &Api) -> Option<Caller> {
        let certificate = parts.extensions.get::<CertificateCaller>();
        let certificate = certificate.and_then(|caller| caller.0.as_ref());
        let header = parts.headers.get(header::AUTHORIZATION);
        api.auth.identify(header, certificate).await.map(Caller)
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Caller, Response> {
        Caller::of(parts, api)
            .await
            .ok_or_else(|| not_authorized(parts.uri.path()))
    }
}

impl OptionalFromRequestParts<Api> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        api: &Api,
    ) -> Result<Option<Caller>, Self::Rejection> {
        Ok(Caller::of(parts, api).await)
    }
}

pub fn not_authorized(path: &str) -> Response {
    let text = format!("Not authorized: '{path}'\n");
    plain(StatusCode::UNAUTHORIZED, "text/html;charset=utf-8", text)
}

impl Caller {
    pub fn require(&self, api: &Api, permission: Permission) -> Result<(), Error> {
        scopes::require(&self.0, api.uuid(), permission)
    }

    pub fn require_object(&self, api: &Api, access: Access, teams: &[String]) -> Result<(), Error> {
        scopes::require_object(&self.0, api.uuid(), access, teams)
    }

    pub fn is_reader(&self, api: &Api) -> bool {
        scopes::is_reader(&self.0, api.uuid())
    }

    pub fn allows(&self, api: &Api, access: Access, teams: &[String]) -> bool {
        scopes::allows(&self.0, api.uuid(), access, teams)
    }
}

/// The query of a request; repeated keys are kept.
#[derive(Default)]
pub struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Query(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        ))
    }
}

impl Query {
    /// The last value of a key, as the original takes it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a key, owned, unless it is empty.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }

    pub fn all(&self, key: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// True only for the exact text `true`.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }
}

/// A body of one of the given types, as text; another type is "no such endpoint".
pub struct YamlBody(pub String);

impl FromRequest<Api> for YamlBody {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Api) -> Result<YamlBody, Response> {
        typed_body(request, api, "text/yaml").await.map(YamlBody)
    }
}

/// A JSON body as text, with errors as `/configs` words them left to the caller.
pub struct JsonText(pub String);

impl FromRequest<Api> for JsonText {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Api) -> Result<JsonText, Response> {
        typed_body(request, api, "application/json")
            .await
            .map(JsonText)
    }
}

/// A JSON body, parsed; malformed: 400, code 710001.
pub struct JsonBody(pub serde_json::Value);

impl FromRequest<Api> for JsonBody {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Api) -> Result<JsonBody, Response> {
        let text = typed_body(request, api, "application/json").await?;
        serde_json::from_str(&text)
            .map(JsonBody)
            .map_err(|error| Refusal::from(bad_json(&error)).into_response())
    }
}

pub fn bad_json(error: &serde_json::Error) -> Error {
    Error::new(
        code::BAD_JSON,
        format!("Invalid JSON request body: {error}"),
    )
}

async fn typed_body(request: Request, api: &Api, wanted: &str) -> Result<String, Response> {
    let path = request.uri().path().to_owned();
    if content_type(request.headers()) != wanted {
        return Err(no_endpoint(&path).into_response());
    }
    let bytes = Bytes::from_request(request, api)
        .await
        .map_err(IntoResponse::into_response)?;
    String::from_utf8(bytes.into()).map_err(|_| {
        Refusal::from(Error::new(
            code::BAD_MANIFEST,
            "The request's body is not UTF-8 text",
        ))
        .into_response()
    })
}

/// The content type without its parameters.
pub fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
}

/// `X-Bosh-Context-Id`, at most 64 characters.
pub fn context_id(headers: &HeaderMap) -> Result<String, Error> {
    let id = headers
        .get("x-bosh-context-id")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if id.chars().count() > 64 {
        return Err(Error::new(
            code::CONTEXT_ID_INVALID,
            "X-Bosh-Context-Id cannot be more than 64 characters in length",
        ));
    }
    Ok(id.to_owned())
}
