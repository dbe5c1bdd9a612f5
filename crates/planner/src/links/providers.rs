//! Providers (§3.2): jobs' declared and custom ones, and raw disks.

use manifest::documents::{PersistentDisk, Problem, Problems};
use serde_json::{Map, Value as Json, json};

use super::{Place, Written, written};
use crate::place::properties::{look_up_present, store};
use crate::place::{Draft, DraftJob};

/// One thing that can be consumed.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    /// Place of the group among the drafts.
    pub group: usize,
    /// The job's name, or the disk's.
    pub owner: String,
    pub is_disk: bool,
    pub original_name: String,
    /// `as`, or the original one.
    pub name: String,
    pub kind: String,
    pub shared: bool,
    /// Not `nil`.
    pub consumable: bool,
    pub properties: Json,
}

/// All providers of the deployment, in manifest order.
///
/// # Errors
/// Code 100; the faults of one job are one problem, a line each.
pub(crate) fn read_providers(drafts: &[Draft]) -> Result<Vec<Provider>, Problems> {
    let mut problems = Problems::default();
    let mut providers = Vec::new();
    for (group, draft) in drafts.iter().enumerate() {
        for job in &draft.jobs {
            let mut faults = Vec::new();
            read_job(group, draft, job, &mut providers, &mut faults);
            if !faults.is_empty() {
                problems.push(Problem::new(100, faults.join("\n")));
            }
        }
        if let PersistentDisk::Raw(disks) = &draft.group.disk {
            providers.extend(disks.iter().map(|disk| Provider {
                group,
                owner: disk.name.clone(),
                is_disk: true,
                original_name: disk.name.clone(),
                name: disk.name.clone(),
                kind: "disk".into(),
                shared: false,
                consumable: true,
                properties: json!({"name": disk.name}),
            }));
        }
    }
    problems.or(providers)
}

fn read_job(
    group: usize,
    draft: &Draft,
    job: &DraftJob,
    providers: &mut Vec<Provider>,
    faults: &mut Vec<String>,
) {
    let place = Place {
        job: job.job.name.as_str(),
        group: draft.group.name.as_str(),
    };
    let custom = custom_definitions(job, place, faults);
    let declared = job
        .spec
        .provides
        .iter()
        .map(|p| (p.name.as_str(), p.kind.as_str(), p.properties.as_slice()));
    let all = declared.chain(
        custom
            .iter()
            .map(|(name, kind, properties)| (name.as_str(), kind.as_str(), properties.as_slice())),
    );
    for (name, kind, listed) in all {
        let map = match written(job.job.provides.get(name), "Provider", name, place) {
            Ok(Written::Absent) => None,
            Ok(Written::Map(map)) => Some(Some(map)),
            Ok(Written::Nil) => Some(None),
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let alias = map
            .flatten()
            .and_then(|m| m.get("as"))
            .and_then(Json::as_str);
        providers.push(Provider {
            group,
            owner: job.job.name.to_string(),
            is_disk: false,
            original_name: name.to_string(),
            name: alias.unwrap_or(name).to_string(),
            kind: kind.to_string(),
            // compat: anything but true counts as false.
            shared: map.flatten().and_then(|m| m.get("shared")) == Some(&Json::Bool(true)),
            consumable: map != Some(None),
            properties: link_properties(job, listed, faults),
        });
    }
}

fn link_properties(job: &DraftJob, listed: &[String], faults: &mut Vec<String>) -> Json {
    let mut properties = Map::new();
    for name in listed {
        let Some((_, default)) = job
            .spec
            .properties
            .iter()
            .find(|(declared, _)| declared == name)
        else {
            faults.push(format!(
                "Link property {name} in template {} is not defined in release spec",
                job.job.name
            ));
            continue;
        };
        let value = look_up_present(&job.properties, name).unwrap_or(default);
        store(&mut properties, name, value.clone());
    }
    Json::Object(properties)
}

type Custom = (String, String, Vec<String>);

fn custom_definitions(job: &DraftJob, place: Place, faults: &mut Vec<String>) -> Vec<Custom> {
    let mut all: Vec<Custom> = Vec::new();
    for definition in &job.job.custom_provider_definitions {
        let text = |key: &str| {
            definition
                .get(key)
                .and_then(Json::as_str)
                .filter(|t| !t.is_empty())
                .map(str::to_string)
        };
        let (name, kind) = (text("name"), text("type"));
        for (value, word) in [(&name, "Name"), (&kind, "Type")] {
            if value.is_none() {
                faults.push(format!(
                    "{word} for custom link provider definition in manifest in {place} must be a valid non-empty string."
                ));
            }
        }
        let (Some(name), Some(kind)) = (name, kind) else {
            continue;
        };
        if job.spec.provides.iter().any(|p| p.name == name) {
            faults.push(format!(
                "Custom provider '{name}' in {place} is already defined in release '{}'",
                job.job.release
            ));
            continue;
        }
        if all.iter().any(|(known, _, _)| *known == name) {
            faults.push(format!(
                "Custom provider '{name}' in {place} is defined multiple times in manifest."
            ));
            continue;
        }
        let listed = definition.get("properties").and_then(Json::as_array);
        let listed = listed
            .into_iter()
            .flatten()
            .filter_map(|p| p.as_str().map(str::to_string))
            .collect();
        all.push((name, kind, listed));
    }
    all
}
