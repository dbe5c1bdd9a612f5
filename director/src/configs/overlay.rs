//! The manifest with its cloud and runtime configs laid over it: what a diff compares.

use manifest::yaml::{Mapping, Value};

use super::{Selection, parse_config};
use crate::error::Error;

/// Sections of cloud configs.
const CLOUD_LISTS: &[&str] = &["azs", "vm_types", "vm_extensions", "networks", "disk_types"];

/// Lays the configs over the manifest: cloud sections are added, releases and variables united, addons that can
/// apply to the deployment appended, tags merged (the manifest's win). Nothing else is changed or checked.
pub fn overlay(manifest: &Value, configs: &Selection, deployment: &str) -> Result<Value, Error> {
    let mut all = manifest.as_mapping().cloned().unwrap_or_default();
    for row in &configs.cloud {
        let config = parse_config(&row.content)?;
        for key in CLOUD_LISTS {
            append(&mut all, key, config.get(key));
        }
        if let Some(compilation) = config.get("compilation") {
            all.insert("compilation".into(), compilation.clone());
        }
    }
    // Add-ons go onto instance groups: without any, none applies, and no release is needed for one.
    let has_groups = ["instance_groups", "jobs"]
        .iter()
        .any(|key| !list(manifest, key).is_empty());
    let mut tags = Mapping::new();
    for row in &configs.runtime {
        let config = parse_config(&row.content)?;
        let addons: Vec<Value> = list(&config, "addons")
            .into_iter()
            .filter(|addon| has_groups && can_apply(addon, deployment))
            .collect();
        let used: Vec<Value> = addons
            .iter()
            .flat_map(|addon| list(addon, "jobs"))
            .filter_map(|job| job.get("release").cloned())
            .collect();
        let releases: Vec<Value> = list(&config, "releases")
            .into_iter()
            .filter(|release| release.get("name").is_some_and(|name| used.contains(name)))
            .collect();
        let unite = |all: &mut Mapping, key: &str, items: Vec<Value>| {
            let old = all
                .get(key)
                .and_then(Value::as_sequence)
                .cloned()
                .unwrap_or_default();
            let new: Vec<Value> = items
                .into_iter()
                .filter(|item| !old.contains(item))
                .collect();
            if !new.is_empty() {
                append(all, key, Some(&Value::Sequence(new)));
            }
        };
        unite(&mut all, "releases", releases);
        if config.get("releases").is_some() && !all.contains_key("releases") {
            all.insert("releases".into(), Value::Sequence(Vec::new()));
        }
        unite(&mut all, "variables", list(&config, "variables"));
        if !addons.is_empty() {
            append(&mut all, "addons", Some(&Value::Sequence(addons)));
        }
        if let Some(more) = config.get("tags").and_then(Value::as_mapping) {
            tags.extend(more.clone());
        }
    }
    if !tags.is_empty() {
        if let Some(own) = all.get("tags").and_then(Value::as_mapping) {
            tags.extend(own.clone());
        }
        all.insert("tags".into(), Value::Mapping(tags));
    }
    Ok(Value::Mapping(all))
}

fn list(value: &Value, key: &str) -> Vec<Value> {
    value
        .get(key)
        .and_then(Value::as_sequence)
        .cloned()
        .unwrap_or_default()
}

fn append(all: &mut Mapping, key: &str, section: Option<&Value>) {
    let Some(section) = section else { return };
    match (all.get_mut(key), section) {
        (Some(Value::Sequence(items)), Value::Sequence(more)) => items.extend(more.iter().cloned()),
        _ => {
            all.insert(key.into(), section.clone());
        }
    }
}

/// By the deployments that the addon names; its other conditions are about instance groups.
fn can_apply(addon: &Value, deployment: &str) -> bool {
    let named = |filter: &str| -> Option<bool> {
        let names = addon.get(filter)?.get("deployments")?.as_sequence()?;
        Some(names.iter().any(|name| name.as_str() == Some(deployment)))
    };
    let only_deployments = addon
        .get("exclude")
        .and_then(Value::as_mapping)
        .is_some_and(|filter| filter.len() == 1);
    named("include").unwrap_or(true) && !(only_deployments && named("exclude").unwrap_or(false))
}
