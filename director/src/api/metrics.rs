//! The metrics listener (director-api.md §19.6): whoever's certificate passed the handshake may read.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, Uri};

use super::Api;
use super::answer::{Answer, plain};

/// Prometheus' text format.
const TYPE: &str = "text/plain; version=0.0.4";

/// `/metrics` and `/api_metrics`.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/metrics", get(of_environment))
        .route("/api_metrics", get(of_api))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(api)
}

async fn of_environment(State(api): State<Api>) -> Answer {
    let text = crate::metrics::render(&api.services).await?;
    Ok(plain(StatusCode::OK, TYPE, text))
}

async fn of_api(State(api): State<Api>) -> Response {
    plain(StatusCode::OK, TYPE, api.requests.render())
}

async fn nothing(uri: Uri) -> Response {
    let text = format!("Not Found: {}", uri.path());
    plain(StatusCode::NOT_FOUND, "text/plain", text).into_response()
}
