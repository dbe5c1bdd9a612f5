//! `GET /info`: what the director is; no credentials needed (director-api.md §6).

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::answer::json_ok;
use super::request::Caller;
use crate::config::Settings;

pub async fn info(State(api): State<Api>, caller: Option<Caller>) -> Response {
    let settings = &api.services.settings;
    json_ok(&json!({
        "name": settings.name,
        "uuid": api.services.director_uuid,
        "version": format!("{} (00000000)", crate::VERSION),
        "user": caller.map(|caller| caller.0.user),
        "cpi": settings.cpi_name(),
        "stemcell_os": "-",
        "stemcell_version": "-",
        "user_authentication": user_authentication(settings),
        "features": {
            "local_dns": {"status": true, "extras": {"domain_name": settings.dns_domain}},
            "snapshots": {"status": false},
            "config_server": {"status": false, "extras": {"urls": []}},
        },
    }))
}

/// How clients get credentials. Certificates are not among it: clients that have one need not ask.
fn user_authentication(settings: &Settings) -> Value {
    match &settings.uaa {
        Some(uaa) => {
            let urls = uaa.all_urls();
            json!({"type": "uaa", "options": {"url": urls[0], "urls": urls}})
        }
        None => json!({"type": "basic", "options": {}}),
    }
}
