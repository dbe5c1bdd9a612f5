//! The `env` of a new VM: what its agent is told beside networks and disks (manifests-and-planning §2.9).

use agent_protocol::MbusCert;
use manifest::documents::canonical_name;
use serde_json::{Map, Value as Json, json};

use crate::config::Settings;

/// Builds the `env`. It holds the agent's private key: give it to the CPI and keep it nowhere.
pub fn of_vm(
    settings: &Settings,
    deployment: &str,
    group: &str,
    group_env: &Map<String, Json>,
    tags: &Map<String, Json>,
    blobstores: Option<Json>,
    certificate: &MbusCert,
) -> Json {
    let mut bosh = agent_env(settings);
    for (key, value) in group_env
        .get("bosh")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
    {
        bosh.insert(key.clone(), value.clone());
    }
    if !tags.is_empty() {
        bosh.insert("tags".into(), Json::Object(tags.clone()));
    }
    bosh.insert(
        "mbus".into(),
        json!({"urls": [settings.agent_nats_url()], "cert": certificate}),
    );
    if let Some(blobstores) = blobstores {
        bosh.entry("blobstores").or_insert(blobstores);
    }
    let names = groups(&settings.name, deployment, group);
    bosh.insert("group".into(), json!(names.last()));
    bosh.insert("groups".into(), json!(names));
    let mut env = group_env.clone();
    env.insert("bosh".into(), Json::Object(bosh));
    Json::Object(env)
}

/// What every agent of this director is told (`agent.env.bosh`), under the group's own.
pub fn agent_env(settings: &Settings) -> Map<String, Json> {
    let mut bosh = Map::new();
    if !settings.ntp.is_empty() {
        bosh.insert("ntp".into(), json!(settings.ntp));
    }
    bosh
}

/// Six canonical names; the longest, which is `group`, comes last.
fn groups(director: &str, deployment: &str, group: &str) -> Vec<String> {
    let canonical =
        |text: &str| canonical_name(text).unwrap_or_else(|_| text.to_lowercase().replace('_', "-"));
    let (director, deployment, group) =
        (canonical(director), canonical(deployment), canonical(group));
    vec![
        director.clone(),
        deployment.clone(),
        group.clone(),
        format!("{director}-{deployment}"),
        format!("{deployment}-{group}"),
        format!("{director}-{deployment}-{group}"),
    ]
}
