//! `GET /director/certificate_expiry` (director-api.md §19.4).

use std::path::{Path, PathBuf};

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::answer::{Answer, json_ok, with_status};
use super::request::Caller;
use crate::auth::Permission;
use crate::config::Settings;

pub async fn expiry(State(api): State<Api>, caller: Caller) -> Answer {
    caller.require(&api, Permission::Read)?;
    let mut list = Vec::new();
    for (name, pem) in certificates(&api.services.settings) {
        match pem.and_then(|pem| not_after(&pem)) {
            Ok(time) => list.push(entry(&name, time)),
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

/// The certificates of the settings as PEM, under the original's names where it has some.
fn certificates(settings: &Settings) -> Vec<(String, Result<Vec<u8>, String>)> {
    let mut list: Vec<(String, Result<Vec<u8>, String>)> = Vec::new();
    let mut file = |name: &str, path: Option<&Path>| {
        if let Some(path) = path {
            let pem = fs_err::read(path).map_err(|error| error.to_string());
            list.push((name.to_owned(), pem));
        }
    };
    let (listen, nats, metrics) = (&settings.listen, &settings.nats, &settings.metrics);
    let tls = listen.tls.as_ref();
    file(
        "director.ssl.cert",
        tls.map(|tls| tls.certificate.as_path()),
    );
    let clients = listen.client_certificates.as_ref();
    file(
        "listen.client_certificates.ca",
        clients.map(|clients| clients.ca.as_path()),
    );
    file("nats.tls.ca", Some(&nats.ca));
    file(
        "nats.tls.client_ca.certificate",
        Some(&nats.agent_ca.certificate),
    );
    file(
        "nats.tls.director.certificate",
        Some(&nats.client.certificate),
    );
    let database = url::Url::parse(settings.database_url()).ok();
    let parameter = |key: &str| {
        let pairs = database.as_ref()?.query_pairs();
        let mut values = pairs.filter(|(name, _)| name == key);
        values
            .next()
            .map(|(_, value)| PathBuf::from(value.as_ref()))
    };
    file(
        "director.db.tls.cert.ca",
        parameter("sslrootcert").as_deref(),
    );
    file(
        "director.db.tls.cert.certificate",
        parameter("sslcert").as_deref(),
    );
    let uaa = settings.uaa.as_ref();
    file("uaa.ca", uaa.and_then(|uaa| uaa.ca.as_deref()));
    let metrics = metrics.as_ref();
    file(
        "metrics.tls.certificate",
        metrics.map(|metrics| metrics.tls.certificate.as_path()),
    );
    file(
        "metrics.client_ca",
        metrics.map(|metrics| metrics.client_ca.as_path()),
    );
    let blobs = settings.blobstore.options.get("tls");
    if let Some(pem) = blobs.and_then(|tls| tls["cert"]["ca"].as_str()) {
        list.push(("blobstore.tls.cert.ca".into(), Ok(pem.as_bytes().to_vec())));
    }
    list
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

fn not_after(pem: &[u8]) -> Result<DateTime<Utc>, String> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem).map_err(|error| error.to_string())?;
    let certificate = block.parse_x509().map_err(|error| error.to_string())?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
        .ok_or_else(|| "no date".into())
}
