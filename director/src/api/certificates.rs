//! `GET /director/certificate_expiry` (director-api.md §19.4).

use std::path::Path;

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, json_ok, with_status};
use super::request::Caller;
use crate::auth::Permission;

pub async fn expiry(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::Read)?;
    let settings = &api.services.settings;
    let mut files: Vec<(&str, &Path)> = Vec::new();
    if let Some(tls) = &settings.listen.tls {
        files.push(("director.ssl.cert", &tls.certificate));
    }
    files.push(("nats.tls.ca", &settings.nats.ca));
    files.push((
        "nats.tls.client_ca.certificate",
        &settings.nats.agent_ca.certificate,
    ));
    files.push((
        "nats.tls.director.certificate",
        &settings.nats.client.certificate,
    ));
    let mut list = Vec::new();
    for (name, path) in files {
        match not_after(path) {
            Ok(time) => list.push(entry(name, time)),
            Err(problem) => {
                let text =
                    format!("Certificate expiry information not available: {name}: {problem}");
                return Ok(with_status(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    &json!({"error": text}),
                ));
            }
        }
    }
    Ok(json_ok(&list))
}

fn entry(name: &str, time: DateTime<Utc>) -> Value {
    // Rounds down, also below zero.
    let days = (time - Utc::now()).num_seconds().div_euclid(86400);
    json!({
        "certificate_path": name,
        "expiry": time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "days_left": days,
    })
}

fn not_after(path: &Path) -> Result<DateTime<Utc>, String> {
    let pem = fs_err::read(path).map_err(|error| error.to_string())?;
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).map_err(|error| error.to_string())?;
    let certificate = block.parse_x509().map_err(|error| error.to_string())?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
        .ok_or_else(|| "no date".into())
}
