//! A job archive as the director takes it in: `job.MF`, `monit` and the templates, checked with the original's texts
//! and codes (`docs/spec/releases-and-templates.md` §4 and §12.2).

use std::collections::BTreeMap;
use std::io::Read;

use indexmap::IndexMap;
use serde_json::Value;

use crate::document;
use crate::tarball;

/// Why a job archive can't be taken.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The texts say what each is.
pub enum Error {
    #[error("Extracting job '{job}/{version}' archive failed. Check task debug log for details.")]
    Archive {
        job: String,
        version: String,
        #[source]
        source: std::io::Error,
    },
    #[error("Missing job manifest for '{0}'")]
    MissingManifest(String),
    #[error("Job '{job}' has a manifest that is no YAML map: {reason}")]
    Manifest { job: String, reason: String },
    // compat: the original's spelling.
    #[error("Inconsistent name for job '{job}'(exptected: '{job}', got: '{got}')")]
    InconsistentName { job: String, got: String },
    #[error("Missing template file '{template}' for job '{job}'")]
    MissingTemplate { job: String, template: String },
    #[error("Job '{0}' is missing monit file")]
    MissingMonit(String),
    #[error("Job '{0}' has invalid logs spec format")]
    Logs(String),
    #[error("Job '{0}' has invalid properties spec format")]
    Properties(String),
    #[error("Job '{0}' has invalid package spec format")]
    Packages(String),
    #[error("{0}")]
    Links(String),
}

impl Error {
    /// The director's error code.
    pub fn code(&self) -> u32 {
        match self {
            Self::Archive { .. } => 80000,
            Self::MissingManifest(_) | Self::Manifest { .. } => 80001,
            Self::MissingTemplate { .. } => 80002,
            Self::MissingMonit(_) => 80004,
            Self::Logs(_) => 80005,
            Self::Properties(_) => 80008,
            Self::Packages(_) => 80012,
            Self::Links(text) if text.contains("duplicate") => 80014,
            Self::Links(_) => 80013,
            Self::InconsistentName { .. } => 80016,
        }
    }
}

/// A link that a job offers or needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSpec {
    /// The link's name.
    pub name: String,
    /// The link's type.
    pub kind: String,
    /// Whether the job does without (only of needed links).
    pub optional: bool,
    /// Dotted names of the properties that go with the link (only of offered links).
    pub properties: Vec<String>,
}

/// What `job.MF` says.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// The job's name.
    pub name: String,
    /// Source below `templates/` → target below the job's folder, in the order written.
    pub templates: IndexMap<String, String>,
    /// Packages needed at run time, in the order written.
    pub packages: Vec<String>,
    /// Dotted name → definition (`default` and others), in the order written.
    pub properties: IndexMap<String, Value>,
    /// Links offered.
    pub provides: Vec<LinkSpec>,
    /// Links needed.
    pub consumes: Vec<LinkSpec>,
    /// The whole document, keys in the order written.
    pub document: Value,
}

impl JobSpec {
    /// Reads and checks a job's manifest; `job` is the name the release gave it.
    pub fn parse(job: &str, text: &str) -> Result<Self, Error> {
        let value = document::parse_for_director(text).map_err(|problem| Error::Manifest {
            job: job.to_owned(),
            reason: problem.to_string(),
        })?;
        Self::from_json(job, document::to_json(&value))
    }

    /// The same from the stored JSON.
    pub fn from_json(job: &str, document: Value) -> Result<Self, Error> {
        if !document.is_object() {
            return Err(Error::Manifest {
                job: job.to_owned(),
                reason: "it must be a map".to_owned(),
            });
        }
        let name = member(&document, "name").map(plain).unwrap_or_default();
        if name != job {
            return Err(Error::InconsistentName {
                job: job.to_owned(),
                got: name,
            });
        }
        if member(&document, "logs").is_some_and(|logs| !logs.is_object()) {
            return Err(Error::Logs(name));
        }
        let properties = match member(&document, "properties") {
            None => IndexMap::new(),
            Some(Value::Object(map)) => map.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            Some(_) => return Err(Error::Properties(name)),
        };
        let packages = match member(&document, "packages") {
            None => Vec::new(),
            Some(Value::Array(items)) => items.iter().map(plain).collect(),
            Some(_) => return Err(Error::Packages(name)),
        };
        let templates = member(&document, "templates")
            .and_then(Value::as_object)
            .map(|map| map.iter().map(|(k, v)| (k.clone(), plain(v))).collect())
            .unwrap_or_default();
        Ok(Self {
            templates,
            packages,
            properties,
            provides: links(&name, &document, "provides")?,
            consumes: links(&name, &document, "consumes")?,
            name,
            document,
        })
    }
}

fn member<'a>(document: &'a Value, key: &str) -> Option<&'a Value> {
    document.get(key).filter(|value| !value.is_null())
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn links(job: &str, document: &Value, section: &str) -> Result<Vec<LinkSpec>, Error> {
    let items = match member(document, section) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => {
            return Err(Error::Links(format!(
                "Job '{job}' has invalid spec format: '{section}' must be an array of hashes with name and type"
            )));
        }
    };
    let mut links: Vec<LinkSpec> = Vec::new();
    for item in items {
        if !item.is_object() {
            let title = if section == "provides" {
                "Provides"
            } else {
                "Consumes"
            };
            return Err(Error::Links(format!(
                "{title} section in the release spec must be a list of hashes"
            )));
        }
        let (Some(name), Some(kind)) = (member(item, "name"), member(item, "type")) else {
            return Err(Error::Links(format!(
                "Each {section} item in the {section} section of the release spec must contain 'name' and 'type'"
            )));
        };
        let (name, kind) = (plain(name), plain(kind));
        if section == "provides" && item.get("optional").is_some() {
            return Err(Error::Links(format!(
                "Link '{name}' of type '{kind}' is a provides link, not allowed to have 'optional' key"
            )));
        }
        if links.iter().any(|link| link.name == name) {
            return Err(Error::Links(format!(
                "Job '{job}' specifies duplicate {section} link with name '{name}'"
            )));
        }
        let properties = member(item, "properties")
            .and_then(Value::as_array)
            .map(|names| names.iter().map(plain).collect())
            .unwrap_or_default();
        let optional = item
            .get("optional")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        links.push(LinkSpec {
            name,
            kind,
            optional,
            properties,
        });
    }
    Ok(links)
}

/// A job archive in memory: what rendering needs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobArchive {
    /// What `job.MF` says.
    pub spec: JobSpec,
    /// The `monit` file.
    pub monit: Vec<u8>,
    /// Content of each template by its source path.
    pub templates: BTreeMap<String, Vec<u8>>,
    /// `properties_schema.json`, where the job has one.
    pub properties_schema: Option<Vec<u8>>,
}

impl JobArchive {
    /// Reads and checks a job's archive (gzip or plain tar).
    pub fn read(job: &str, version: &str, archive: impl Read) -> Result<Self, Error> {
        let mut files = tarball::read_files(archive).map_err(|source| Error::Archive {
            job: job.to_owned(),
            version: version.to_owned(),
            source,
        })?;
        let manifest = files
            .remove("job.MF")
            .ok_or_else(|| Error::MissingManifest(job.to_owned()))?;
        let spec = JobSpec::parse(job, &String::from_utf8_lossy(&manifest))?;
        let mut templates = BTreeMap::new();
        for source in spec.templates.keys() {
            let content = files.get(&format!("templates/{source}")).ok_or_else(|| {
                Error::MissingTemplate {
                    job: job.to_owned(),
                    template: source.clone(),
                }
            })?;
            templates.insert(source.clone(), content.clone());
        }
        // compat: a job may have `<name>.monit` files in place of `monit`.
        let monit = files
            .remove("monit")
            .or_else(|| {
                let other: Vec<u8> = files
                    .iter()
                    .filter(|(name, _)| !name.contains('/') && name.ends_with(".monit"))
                    .flat_map(|(_, content)| content.iter().copied())
                    .collect();
                files
                    .keys()
                    .any(|name| !name.contains('/') && name.ends_with(".monit"))
                    .then_some(other)
            })
            .ok_or_else(|| Error::MissingMonit(job.to_owned()))?;
        Ok(Self {
            spec,
            monit,
            templates,
            properties_schema: files.remove("properties_schema.json"),
        })
    }
}
