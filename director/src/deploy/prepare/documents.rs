//! The documents of a deploy: the manifest and the configs it is read against.

use std::collections::BTreeMap;

use manifest::documents::{
    DeploymentManifest, Documents, ReadOptions, Threshold, read_documents, to_json,
};
use manifest::yaml::{self, Dialect};
use serde_json::Value as Json;

use crate::deploy::args::UpdateDeployment;
use crate::deploy::problems;
use crate::error::{Error, code};
use crate::store::configs::ConfigRow;
use crate::store::deployments::{self, Deployment};
use crate::tasks::Context;

/// Documents read, and what of them is recorded.
pub struct Loaded {
    pub documents: Documents,
    pub manifest: Json,
    pub manifest_text: String,
    pub config_ids: Vec<i64>,
}

/// Reads the request's manifest and configs, or for a state change the stored ones.
///
/// # Errors
/// The original's, with all faults found.
pub async fn load(
    ctx: &Context,
    deployment: &Deployment,
    args: &UpdateDeployment,
) -> Result<Loaded, Error> {
    let text = match (&args.manifest, &deployment.manifest_text) {
        (Some(text), _) => text.clone(),
        (None, Some(stored)) => stored.clone(),
        (None, None) => {
            return Err(Error::new(
                code::BAD_MANIFEST,
                "No successful BOSH deployment manifest available",
            )
            .hint("Deploy this deployment with a manifest first."));
        }
    };
    let configs = configs(ctx, deployment, args).await?;
    let mut value = parse("manifest", &text)?;
    if let (None, Some(last)) = (&args.manifest, &deployment.manifest) {
        pin_versions(&mut value, last);
    }
    let mut clouds = Vec::new();
    let mut runtimes = Vec::new();
    for config in &configs {
        let parsed = parse(
            &format!("{} config '{}'", config.kind, config.name),
            &config.content,
        )?;
        if config.kind == "cloud" {
            clouds.push(parsed)
        } else {
            runtimes.push(parsed)
        }
    }
    let manifest = to_json(&value);
    let all: Vec<Json> = [&value]
        .into_iter()
        .chain(&clouds)
        .chain(&runtimes)
        .map(to_json)
        .collect();
    refuse_variables(&all)?;
    let options = ReadOptions {
        canaries: threshold("canaries", args.canaries.as_deref())?,
        max_in_flight: threshold("max_in_flight", args.max_in_flight.as_deref())?,
        ..ReadOptions::default()
    };
    let documents =
        read_documents(&value, &clouds, &runtimes, &options).map_err(problems::error)?;
    Ok(Loaded {
        documents,
        manifest,
        manifest_text: text,
        config_ids: configs.iter().map(|config| config.id).collect(),
    })
}

/// A state change uses the versions of the last deploy, whatever `latest` would be now (§2.1).
fn pin_versions(manifest: &mut yaml::Value, last: &Json) {
    for (section, key) in [("releases", "name"), ("stemcells", "alias")] {
        let entries = manifest.get_mut(section).and_then(|s| s.as_sequence_mut());
        let known = last[section]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for entry in entries.into_iter().flatten() {
            let name = entry.get(key).map(to_json);
            let deployed = known.iter().find(|known| known.get(key) == name.as_ref());
            if let Some(version) = deployed.and_then(|known| known["version"].as_str()) {
                entry["version"] = yaml::Value::String(version.to_owned());
            }
        }
    }
}

/// Writes the versions that were chosen for this deploy into its manifest, to be stored.
pub fn resolve_versions(manifest: &mut Json, chosen: &DeploymentManifest) {
    let releases = chosen
        .releases
        .iter()
        .map(|r| (r.name.to_string(), r.version.clone()));
    set_versions(manifest, "releases", "name", releases.collect());
    let stemcells = chosen
        .stemcells
        .iter()
        .map(|s| (s.alias.clone(), s.version.clone()));
    set_versions(manifest, "stemcells", "alias", stemcells.collect());
}

fn set_versions(manifest: &mut Json, section: &str, key: &str, versions: BTreeMap<String, String>) {
    let entries = manifest.get_mut(section).and_then(Json::as_array_mut);
    for entry in entries.into_iter().flatten() {
        let name = entry[key]
            .as_str()
            .map(str::to_owned)
            .unwrap_or_else(|| entry[key].to_string());
        if let Some(version) = versions.get(&name) {
            entry["version"] = Json::String(version.clone());
        }
    }
}

async fn configs(
    ctx: &Context,
    deployment: &Deployment,
    args: &UpdateDeployment,
) -> Result<Vec<ConfigRow>, Error> {
    let store = &ctx.services.store;
    if args.manifest.is_none() {
        let ids = deployments::config_ids(store.pool(), deployment.id).await?;
        return Ok(store.configs_by_ids(&ids).await?);
    }
    if let Some(context) = &args.context {
        let ids: Vec<i64> = context
            .cloud_config_ids
            .iter()
            .chain(&context.runtime_config_ids)
            .copied()
            .collect();
        return Ok(store.configs_by_ids(&ids).await?);
    }
    let mut configs = store.current_configs("cloud", &deployment.teams).await?;
    configs.extend(store.current_configs("runtime", &deployment.teams).await?);
    Ok(configs)
}

fn parse(what: &str, text: &str) -> Result<yaml::Value, Error> {
    yaml::parse(text, Dialect::Director).map_err(|error| {
        Error::new(
            code::BAD_MANIFEST,
            format!(
                "Incorrect YAML structure of the uploaded {what}: {}",
                error.psych()
            ),
        )
        .caused_by(error)
    })
}

fn threshold(key: &str, text: Option<&str>) -> Result<Option<Threshold>, Error> {
    text.map(|text| Threshold::from_request(key, text).map_err(problems::one))
        .transpose()
}

/// Without a config server no `((variable))` can be filled in.
fn refuse_variables(documents: &[Json]) -> Result<(), Error> {
    let mut names = Vec::new();
    documents
        .iter()
        .for_each(|document| collect(document, &mut names));
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = names
        .iter()
        .map(|name| {
            format!("- Failed to fetch variable '{name}' from config server: Director is not configured with a config server")
        })
        .collect();
    Err(Error::new(code::CONFIG_SERVER_DISABLED, lines.join("\n"))
        .hint("Give the values with the deploy: `-v name=value`, `-l vars.yml` or `--vars-store`."))
}

fn collect(value: &Json, names: &mut Vec<String>) {
    match value {
        Json::String(text) => {
            let mut rest = text.as_str();
            while let Some(start) = rest.find("((") {
                rest = &rest[start + 2..];
                let Some(end) = rest.find("))") else { break };
                let name = rest[..end].trim_start_matches('!');
                let plain =
                    |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '!');
                if !name.is_empty() && name.chars().all(plain) {
                    names.push(name.to_owned());
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Json::Object(map) => map.values().for_each(|item| collect(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_change_keeps_the_versions_of_the_last_deploy() {
        let text = "{name: d, releases: [{name: a, version: 1.latest}], stemcells: [{alias: s, os: o, version: latest}]}";
        let mut value = parse("manifest", text).unwrap();
        let last = json!({
            "releases": [{"name": "a", "version": "1.4"}],
            "stemcells": [{"alias": "s", "version": "2"}],
        });
        pin_versions(&mut value, &last);
        assert_eq!(value["releases"][0]["version"], "1.4");
        assert_eq!(value["stemcells"][0]["version"], "2");
    }

    #[test]
    fn references_are_named_and_shell_arithmetic_is_none() {
        let documents =
            [json!({"a": ["((b))", "x ((!c/d)) y"], "e": "echo $((1 + 2)) ((", "f": 3})];
        let error = refuse_variables(&documents).unwrap_err();
        assert_eq!(error.code, 540_009);
        assert_eq!(error.message.lines().count(), 2, "{}", error.message);
        assert!(refuse_variables(&[json!("$((1 + 2))")]).is_ok());
    }
}
