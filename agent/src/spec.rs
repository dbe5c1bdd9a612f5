//! The current spec: what `apply` recorded, in the shape that `get_state` reports
//! (`docs/spec/agent-protocol.md` §3.1, §3.2).

use std::collections::BTreeMap;

use agent_protocol::{ApplySpec, RenderedTemplatesArchive};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Context, Result};
use crate::files;
use crate::layout::Layout;

/// spec.json. The default is the state before any `apply`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredSpec {
    properties: Properties,
    /// The jobs.
    pub job: StoredJob,
    /// Package name to package.
    pub packages: BTreeMap<String, StoredPackage>,
    /// Empty: nothing is installed.
    pub configuration_hash: String,
    /// Echoed as they came.
    pub networks: Map<String, Value>,
    resource_pool: Map<String, Value>,
    /// The deployment.
    pub deployment: String,
    /// The instance group.
    pub name: String,
    /// The instance's index.
    pub index: Option<i64>,
    /// The instance's uuid.
    pub id: String,
    /// The availability zone.
    pub az: String,
    /// MB, 0 for none.
    pub persistent_disk: i64,
    rendered_templates_archive: Option<StoredArchive>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Properties {
    logging: Logging,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Logging {
    max_log_file_size: String,
}

/// `job` of the spec.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredJob {
    /// The instance group's name.
    pub name: Option<String>,
    release: String,
    /// The first job, which `run_errand` runs without a name.
    pub template: String,
    version: String,
    templates: Option<Vec<StoredTemplate>>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredTemplate {
    name: String,
    version: String,
}

/// One package of the spec.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredPackage {
    name: String,
    version: String,
    /// Digest of the compiled archive.
    pub sha1: String,
    blobstore_id: String,
    /// Always empty: a signed URL is a credential and of no use later.
    signed_url: String,
    blobstore_headers: Option<Value>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredArchive {
    sha1: String,
    blobstore_id: String,
}

impl StoredSpec {
    /// Reads the current spec.
    pub fn load(layout: &Layout) -> Result<Self> {
        let spec = files::read_json(&layout.spec()).context("Getting current spec")?;
        Ok(spec.unwrap_or_default())
    }

    /// Makes this the current spec.
    pub fn save(&self, layout: &Layout) -> Result<()> {
        files::replace_json(&layout.spec(), self, 0o600).context("Persisting apply spec")
    }

    /// Takes what an agent keeps of a spec.
    pub fn new(spec: &ApplySpec, networks: Map<String, Value>) -> Self {
        let job = spec.job.clone().unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            properties: Properties {
                logging: Logging {
                    max_log_file_size: max_log_file_size(spec),
                },
            },
            job: StoredJob {
                name: job.name,
                release: String::new(),
                template: job.template.unwrap_or_default(),
                version: job.version.unwrap_or_default(),
                templates: job.templates.map(|templates| {
                    let stored = templates.into_iter().map(|template| StoredTemplate {
                        name: template.name,
                        version: template.version,
                    });
                    stored.collect()
                }),
            },
            packages: stored_packages(spec),
            configuration_hash: text(&spec.configuration_hash),
            networks,
            resource_pool: Map::new(),
            deployment: text(&spec.deployment),
            name: text(&spec.name),
            index: spec.index,
            id: text(&spec.id),
            az: text(&spec.az),
            persistent_disk: spec.persistent_disk.unwrap_or_default(),
            rendered_templates_archive: spec
                .rendered_templates_archive
                .as_ref()
                .map(stored_archive),
        }
    }

    /// The names of the installed jobs, in their order; none without an archive of templates.
    pub fn jobs(&self) -> Vec<String> {
        if self.rendered_templates_archive.is_none() {
            return Vec::new();
        }
        self.templates()
    }

    /// The names of all jobs that the spec names.
    pub fn templates(&self) -> Vec<String> {
        let templates = self.job.templates.iter().flatten();
        templates.map(|template| template.name.clone()).collect()
    }
}

fn stored_packages(spec: &ApplySpec) -> BTreeMap<String, StoredPackage> {
    let packages = spec.packages.iter().flatten();
    packages
        .map(|(name, package)| {
            let stored = StoredPackage {
                name: package.name.clone(),
                version: package.version.clone(),
                sha1: package.sha1.clone(),
                blobstore_id: package.blobstore_id.clone(),
                signed_url: String::new(),
                blobstore_headers: None,
            };
            (name.clone(), stored)
        })
        .collect()
}

fn stored_archive(archive: &RenderedTemplatesArchive) -> StoredArchive {
    StoredArchive {
        sha1: archive.sha1.clone(),
        blobstore_id: archive.blobstore_id.clone(),
    }
}

/// `properties.logging.max_log_file_size` or empty.
pub fn max_log_file_size(spec: &ApplySpec) -> String {
    spec.properties
        .as_ref()
        .and_then(|properties| properties.pointer("/logging/max_log_file_size"))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
