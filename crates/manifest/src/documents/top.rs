//! The top level of a deployment manifest (§1.2 - §1.4).

use std::collections::BTreeSet;

use domain::{DeploymentName, ReleaseName, StemcellName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use serde_yaml::Value as Yaml;

use super::cloud::merge_cloud_configs;
use super::group_reading::GroupContext;
use super::object::Object;
use super::ruby::{inspect, interpolated};
use super::variables::read_variables;
use super::{
    Addon, AddonLevel, CloudConfig, Features, InstanceGroup, Problem, Problems, ReadOptions,
    RuntimeConfig, UpdateConfig, Variable, canonical_name, to_json,
};

/// A deployment manifest, read against a cloud config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentManifest {
    pub name: DeploymentName,
    pub releases: Vec<ReleaseEntry>,
    pub stemcells: Vec<StemcellEntry>,
    pub update: UpdateConfig,
    pub instance_groups: Vec<InstanceGroup>,
    pub addons: Vec<Addon>,
    pub variables: Vec<Variable>,
    pub features: Features,
    /// The manifest's own; the runtime configs' lie below them.
    pub tags: Map<String, Json>,
    /// Deprecation messages for the event log.
    pub deprecations: Vec<String>,
}

/// One entry of `releases`. `version` is a text as written: `latest` is resolved by the planner's helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseEntry {
    pub name: ReleaseName,
    pub version: String,
    pub exported_from: Vec<OsVersion>,
}

/// A stemcell by operating system and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OsVersion {
    pub os: String,
    pub version: String,
}

/// One entry of `stemcells`. When both `os` and `name` are given, `name` counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemcellEntry {
    pub alias: String,
    pub os: Option<String>,
    pub name: Option<StemcellName>,
    pub version: String,
}

/// Keys of other times and other documents, in the order in which they are looked for.
const REFUSED: [(&str, u32, &str); 8] = [
    ("vm_types", 190014, CLOUD_CONFIG_ONLY),
    ("azs", 190014, CLOUD_CONFIG_ONLY),
    ("disk_types", 190014, CLOUD_CONFIG_ONLY),
    ("compilation", 190014, CLOUD_CONFIG_ONLY),
    (
        "networks",
        140026,
        "Deployment 'networks' are no longer supported. Network definitions must now be provided in a cloud-config.",
    ),
    (
        "disk_pools",
        140027,
        "disk_pools is no longer supported. Disk definitions must now be provided as disk_types in a cloud-config",
    ),
    (
        "jobs",
        140023,
        "Jobs are no longer supported, please use instance groups instead",
    ),
    (
        "resource_pools",
        140028,
        "resource_pools is no longer supported. You must now define resources in a cloud-config",
    ),
];
const CLOUD_CONFIG_ONLY: &str =
    "Deployment manifest contains '<key>' section, but this can only be set in a cloud-config.";

/// All documents of a deploy.
#[derive(Debug, Clone, PartialEq)]
pub struct Documents {
    pub manifest: DeploymentManifest,
    pub cloud: CloudConfig,
    pub runtime: Vec<RuntimeConfig>,
}

/// Reads a deploy's documents: the manifest, the newest version of each named cloud config and of each named
/// runtime config. Faults come in the original's parse order (§1.2).
///
/// # Errors
/// All faults found. Nothing is read against a cloud config that is itself faulty.
pub fn read_documents(
    manifest: &Yaml,
    clouds: &[Yaml],
    runtimes: &[Yaml],
    options: &ReadOptions,
) -> Result<Documents, Problems> {
    let manifest = to_json(manifest);
    check_request(&manifest)?;
    DeploymentManifest::check_keys(&manifest)?;
    let clouds: Vec<Json> = clouds.iter().map(to_json).collect();
    let cloud = merge_cloud_configs(&clouds)
        .map_err(Problems::from)
        .and_then(|merged| CloudConfig::read(&merged, options))
        .map_err(|problems| problems.within("cloud-config"))?;
    let mut problems = Problems::default();
    let manifest = problems.take_all(DeploymentManifest::read(&manifest, &cloud, options));
    let mut runtime: Vec<RuntimeConfig> = Vec::new();
    for config in runtimes {
        let read = RuntimeConfig::read(&to_json(config)).map_err(|p| p.within("runtime-config"));
        let Some(config) = problems.take_all(read) else {
            continue;
        };
        if !config.tags.is_empty() && runtime.iter().any(|r| !r.tags.is_empty()) {
            problems.push(Problem::new(
                530006,
                "Runtime config 'tags' key cannot be defined in multiple runtime configs.",
            ));
        }
        runtime.push(config);
    }
    if let Some(manifest) = &manifest {
        let mut names: BTreeSet<&str> =
            manifest.variables.iter().map(|v| v.name.as_str()).collect();
        for variable in runtime.iter().flat_map(|r| &r.variables) {
            if !names.insert(&variable.name) {
                problems.push(Problem::new(
                    190022,
                    format!("Duplicate variable name '{}'", variable.name),
                ));
            }
        }
        if manifest.stemcells.is_empty() {
            problems.push(Problem::new(190019, "'stemcells' needs to be specified"));
        }
    }
    match manifest {
        Some(manifest) => problems.or(Documents {
            manifest,
            cloud,
            runtime,
        }),
        None => Err(problems),
    }
}

/// What is checked before a deploy becomes a task (§1.1): it is a map with a name.
///
/// # Errors
/// 440001 and 40001.
pub fn check_request(manifest: &Json) -> Result<DeploymentName, Problem> {
    match manifest {
        Json::Null => Err(Problem::new(440001, "Manifest should not be empty")),
        Json::Object(map) => match map.get("name") {
            None | Some(Json::Null) => Err(Problem::new(
                40001,
                "Deployment manifest must have a 'name' key",
            )),
            Some(name) => Ok(DeploymentName::new(interpolated(name))),
        },
        _ => Err(Problem::new(440001, "Manifest should be a hash")),
    }
}

impl DeploymentManifest {
    /// Refuses sections that were moved to the cloud config or died with version 1.
    pub(super) fn check_keys(value: &Json) -> Result<(), Problems> {
        let object = Object::of(value, "")?;
        let mut problems = Problems::default();
        for (key, code, text) in REFUSED {
            if object.has(key) {
                problems
                    .push(Problem::new(code, text.replace("<key>", key)).at(object.path_of(key)));
            }
        }
        problems.or(())
    }

    /// Reads a manifest whose references are looked up in `cloud`.
    ///
    /// # Errors
    /// All faults, in parse order.
    pub fn read(
        value: &Json,
        cloud: &CloudConfig,
        options: &ReadOptions,
    ) -> Result<DeploymentManifest, Problems> {
        let object = Object::of(value, "")?;
        let mut problems = Problems::default();
        let mut deprecations = Vec::new();
        let name = problems.take(object.string("name").map(DeploymentName::new));
        if let Some(name) = &name {
            problems.take(canonical_name(name.as_str()));
        }
        let stemcells = problems
            .take_all(read_stemcells(&object))
            .unwrap_or_default();
        let properties = problems.take(object.hash("properties")).unwrap_or_default();
        if !properties.is_empty() {
            deprecations.push(
                "Global 'properties' are deprecated. Please define 'properties' at the job level."
                    .to_string(),
            );
        }
        let releases = problems
            .take_all(read_manifest_releases(&object))
            .unwrap_or_default();
        let update = match object.raw("update") {
            None => {
                problems.push(object.missing("update"));
                None
            }
            Some(update) => problems.take_all(UpdateConfig::read(update, "/update", options)),
        };
        let variables = problems
            .take(read_variables(object.raw("variables"), "/variables"))
            .unwrap_or_default();
        let features = problems
            .take(Features::read(object.raw("features"), "/features", options))
            .unwrap_or_default();
        let mut groups: Vec<InstanceGroup> = Vec::new();
        let mut canonical = BTreeSet::new();
        for (i, item) in problems
            .take(object.array("instance_groups"))
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let path = format!("/instance_groups/{i}");
            let context = GroupContext {
                cloud,
                options,
                stemcells: &stemcells,
                releases: &releases,
                update: update.as_ref(),
                properties: &properties,
                features,
            };
            let Some(group) = problems.take_all(InstanceGroup::read(item, &path, &context)) else {
                continue;
            };
            match canonical_name(group.name.as_str()) {
                Err(problem) => problems.push(problem.at(path)),
                Ok(name) if !canonical.insert(name.clone()) => problems.push(
                    Problem::new(
                        190006,
                        format!(
                            "Invalid instance group name '{}', canonical name already taken",
                            group.name
                        ),
                    )
                    .at(path),
                ),
                Ok(_) => groups.push(group),
            }
        }
        let mut addons = Vec::new();
        for (i, item) in problems
            .take(object.array("addons"))
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let path = format!("/addons/{i}");
            addons.extend(problems.take(Addon::read(
                item,
                &path,
                AddonLevel::Deployment,
                &releases,
            )));
        }
        let tags = problems.take(object.hash("tags")).unwrap_or_default();
        match (name, update) {
            (Some(name), Some(update)) => problems.or(DeploymentManifest {
                name,
                releases,
                stemcells,
                update,
                instance_groups: groups,
                addons,
                variables,
                features,
                tags,
                deprecations,
            }),
            _ => Err(problems),
        }
    }
}

fn read_manifest_releases(object: &Object) -> Result<Vec<ReleaseEntry>, Problems> {
    if !object.has("release") {
        return read_releases_required(object);
    }
    if object.has("releases") {
        return Err(Problem::new(
            190001,
            "Deployment manifest contains both 'release' and 'releases' sections, please use one of the two.",
        )
        .at("/releases")
        .into());
    }
    let release = Json::Object(
        object
            .optional_hash("release")?
            .cloned()
            .unwrap_or_default(),
    );
    Ok(vec![read_release(&release, "/release")?])
}

fn read_releases_required(object: &Object) -> Result<Vec<ReleaseEntry>, Problems> {
    object.required_array("releases")?;
    read_releases(object, "releases")
}

/// Reads a list of releases; duplicates are refused.
pub(super) fn read_releases(object: &Object, key: &str) -> Result<Vec<ReleaseEntry>, Problems> {
    let mut problems = Problems::default();
    let mut releases: Vec<ReleaseEntry> = Vec::new();
    for (i, item) in object.array(key)?.iter().enumerate() {
        let path = format!("{}/{i}", object.path_of(key));
        let Some(release) = problems.take(read_release(item, &path)) else {
            continue;
        };
        if releases.iter().any(|r| r.name == release.name) {
            problems.push(
                Problem::new(190002, format!("Duplicate release name '{}'", release.name)).at(path),
            );
        }
        releases.push(release);
    }
    problems.or(releases)
}

fn read_release(item: &Json, path: &str) -> Result<ReleaseEntry, Problem> {
    let object = Object::of(item, path)?;
    let mut exported_from = Vec::new();
    for (i, item) in object.array("exported_from")?.iter().enumerate() {
        let path = format!("{path}/exported_from/{i}");
        let object = Object::of(item, &path)?;
        exported_from.push(OsVersion {
            os: object.string("os")?,
            version: object.string("version")?,
        });
    }
    Ok(ReleaseEntry {
        name: ReleaseName::new(object.string("name")?),
        version: object.string("version")?,
        exported_from,
    })
}

fn read_stemcells(object: &Object) -> Result<Vec<StemcellEntry>, Problems> {
    let mut problems = Problems::default();
    let mut stemcells: Vec<StemcellEntry> = Vec::new();
    for (i, item) in object.array("stemcells")?.iter().enumerate() {
        let path = format!("/stemcells/{i}");
        let Some(stemcell) = problems.take(read_stemcell(item, &path)) else {
            continue;
        };
        if stemcells.iter().any(|s| s.alias == stemcell.alias) {
            problems.push(
                Problem::new(
                    50005,
                    format!("Duplicate stemcell alias '{}'", stemcell.alias),
                )
                .at(path),
            );
        }
        stemcells.push(stemcell);
    }
    problems.or(stemcells)
}

fn read_stemcell(item: &Json, path: &str) -> Result<StemcellEntry, Problem> {
    let object = Object::of(item, path)?;
    let alias = object.string("alias")?;
    let name = object.optional_string("name")?;
    let os = object.optional_string("os")?;
    if name.is_none() && os.is_none() {
        return Err(Problem::new(
            40001,
            format!(
                "Required property 'os' or 'name' was not specified in object ({})",
                inspect(item)
            ),
        )
        .at(path));
    }
    Ok(StemcellEntry {
        alias,
        // compat: with both given, the name counts.
        os: os.filter(|_| name.is_none()),
        name: name.map(StemcellName::new),
        version: object.string("version")?,
    })
}
