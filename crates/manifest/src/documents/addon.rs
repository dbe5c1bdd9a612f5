//! Addons and their filters (§1.10).

use domain::{AzName, DeploymentName, InstanceGroupName, JobName, NetworkName, ReleaseName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::object::Object;
use super::ruby::{inspect, interpolated};
use super::{Job, Problem, ReleaseEntry};

/// Where an addon is declared; the words in its error texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddonLevel {
    Runtime,
    Deployment,
}

/// One addon. The planner decides which groups get its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Addon {
    pub name: String,
    pub level: AddonLevel,
    pub jobs: Vec<Job>,
    pub properties: Map<String, Json>,
    pub include: Filter,
    pub exclude: Filter,
}

/// `include` or `exclude`: matches when every non-empty list does. An empty `include` matches everything, an
/// empty `exclude` nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Filter {
    pub stemcell_os: Vec<String>,
    pub deployments: Vec<DeploymentName>,
    pub jobs: Vec<FilterJob>,
    pub instance_groups: Vec<InstanceGroupName>,
    pub networks: Vec<NetworkName>,
    pub teams: Vec<String>,
    pub azs: Vec<AzName>,
    pub lifecycle: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterJob {
    pub name: JobName,
    pub release: ReleaseName,
}

impl AddonLevel {
    fn word(self) -> &'static str {
        match self {
            AddonLevel::Runtime => "runtime",
            AddonLevel::Deployment => "deployment",
        }
    }
}

impl Addon {
    /// Reads one addon. `releases` are those listed beside it.
    pub(super) fn read(
        value: &Json,
        path: &str,
        level: AddonLevel,
        releases: &[ReleaseEntry],
    ) -> Result<Addon, Problem> {
        let object = Object::of(value, path)?;
        let name = object.string("name")?;
        let mut jobs = Vec::new();
        for (i, job) in object.array("jobs")?.iter().enumerate() {
            let job_path = format!("{path}/jobs/{i}");
            let job_object = Object::of(job, &job_path)?;
            let job = Job {
                name: JobName::new(job_object.string("name")?),
                release: ReleaseName::new(job_object.string("release")?),
                properties: job_object.optional_hash("properties")?.cloned(),
                provides: job_object.hash("provides")?,
                consumes: job_object.hash("consumes")?,
                custom_provider_definitions: Vec::new(),
            };
            if !releases.iter().any(|r| r.name == job.release) {
                return Err(Problem::new(
                    530002,
                    format!(
                        "Manifest specifies job '{}' which is defined in '{}', but '{}' is not listed in the {} \
                         releases section.",
                        job.name,
                        job.release,
                        job.release,
                        level.word()
                    ),
                )
                .at(job_path)
                .hint("Add the release, with its version, to the 'releases' of the same document"));
            }
            jobs.push(job);
        }
        let properties = object.hash("properties")?;
        Ok(Addon {
            name,
            level,
            jobs,
            properties,
            include: Filter::read(&object, "include", level)?,
            exclude: Filter::read(&object, "exclude", level)?,
        })
    }
}

impl Filter {
    fn read(addon: &Object, key: &str, level: AddonLevel) -> Result<Filter, Problem> {
        let Some(map) = addon.optional_hash(key)? else {
            return Ok(Filter::default());
        };
        let value = Json::Object(map.clone());
        let path = addon.path_of(key);
        let object = Object::of(&value, &path)?;
        let mut filter = Filter::default();
        for stemcell in object.array("stemcell")? {
            match stemcell.get("os").and_then(Json::as_str) {
                Some(os) => filter.stemcell_os.push(os.to_string()),
                None => {
                    return Err(Problem::new(
                        530005,
                        format!(
                            "Stemcell {} in {} config's {key} section must have an os name.",
                            inspect(stemcell),
                            level.word()
                        ),
                    )
                    .at(path));
                }
            }
        }
        for job in object.array("jobs")? {
            let text = |key: &str| job.get(key).and_then(Json::as_str);
            match (text("name"), text("release")) {
                (Some(name), Some(release)) => filter.jobs.push(FilterJob {
                    name: name.into(),
                    release: release.into(),
                }),
                _ => {
                    return Err(Problem::new(
                        530004,
                        format!(
                            "Job {} in {} config's {key} section must have both name and release.",
                            inspect(job),
                            level.word()
                        ),
                    )
                    .at(path));
                }
            }
        }
        filter.deployments = texts(object.array("deployments")?);
        if level == AddonLevel::Deployment && !filter.deployments.is_empty() {
            return Err(Problem::new(
                530006,
                "Deployment filter is not allowed for deployment level addons.",
            )
            .at(path));
        }
        filter.instance_groups = texts(object.array("instance_groups")?);
        filter.networks = texts(object.array("networks")?);
        filter.teams = texts(object.array("teams")?);
        filter.azs = texts(object.array("azs")?);
        filter.lifecycle = object
            .optional_string("lifecycle")?
            .filter(|l| !l.is_empty());
        Ok(filter)
    }

    /// Whether no key is given.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }
}

fn texts<T: From<String>>(items: &[Json]) -> Vec<T> {
    items
        .iter()
        .map(|item| T::from(interpolated(item)))
        .collect()
}
