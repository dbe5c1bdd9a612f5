//! Runtime configs (§1.9).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::object::Object;
use super::top::read_releases;
use super::variables::read_variables;
use super::{Addon, AddonLevel, Problem, Problems, ReleaseEntry, Variable};

/// One runtime config (the newest version of one name).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RuntimeConfig {
    pub releases: Vec<ReleaseEntry>,
    pub addons: Vec<Addon>,
    pub tags: Map<String, Json>,
    pub variables: Vec<Variable>,
}

impl RuntimeConfig {
    /// Reads one runtime config.
    ///
    /// # Errors
    /// All faults, with the codes of §1.9 and §1.10.
    pub fn read(value: &Json) -> Result<RuntimeConfig, Problems> {
        let object = Object::of(value, "")?;
        let mut problems = Problems::default();
        let releases = problems
            .take_all(read_releases(&object, "releases"))
            .unwrap_or_default();
        for release in &releases {
            let v = &release.version;
            if v == "latest" || v.ends_with(".latest") || v.ends_with("_latest") {
                problems.push(
                    Problem::new(
                        530001,
                        format!(
                            "Runtime manifest contains the release '{}' with version as '{v}'. Please specify the \
                             actual version string.",
                            release.name
                        ),
                    )
                    .at("/releases"),
                );
            }
        }
        let mut addons = Vec::new();
        if let Some(items) = problems.take(object.array("addons")) {
            for (i, item) in items.iter().enumerate() {
                let path = format!("/addons/{i}");
                addons.extend(problems.take(Addon::read(
                    item,
                    &path,
                    AddonLevel::Runtime,
                    &releases,
                )));
            }
        }
        let tags = problems.take(object.hash("tags")).unwrap_or_default();
        let variables = problems
            .take(read_variables(object.raw("variables"), "/variables"))
            .unwrap_or_default();
        problems.or(RuntimeConfig {
            releases,
            addons,
            tags,
            variables,
        })
    }
}
