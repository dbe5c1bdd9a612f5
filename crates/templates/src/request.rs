//! What is to be rendered.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// One template of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Path below the job's `templates/`; errors name it.
    pub source: String,
    /// Path below the job's folder on the VM.
    pub target: String,
    /// The template's text.
    pub content: Vec<u8>,
}

/// The template texts of one job, shared by all instances that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSources {
    /// The monit file, a template too.
    pub monit: Vec<u8>,
    /// In the order of the job's spec.
    pub templates: Vec<Template>,
    digest: [u8; 32],
}

impl JobSources {
    /// Puts a job's templates together.
    pub fn new(monit: Vec<u8>, templates: Vec<Template>) -> Self {
        let mut hash = Sha256::new();
        let mut piece = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        piece(&monit);
        for template in &templates {
            piece(template.source.as_bytes());
            piece(template.target.as_bytes());
            piece(&template.content);
        }
        let digest = hash.finalize().into();
        Self {
            monit,
            templates,
            digest,
        }
    }
}

/// A link that a job offers in this instance group, for `.bosh/links.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvidedLink {
    /// The link's name.
    pub name: String,
    /// The link's type.
    pub kind: String,
    /// The id of its DNS group, as text.
    pub group: String,
}

/// One job of an instance.
#[derive(Debug, Clone)]
pub struct RenderJob {
    /// The job's name.
    pub name: String,
    /// Name and version of its release, for `spec.release`.
    pub release: Option<(String, String)>,
    /// Its templates.
    pub sources: Arc<JobSources>,
    /// The links it offers.
    pub provides: Vec<ProvidedLink>,
}

/// One instance to render.
#[derive(Clone)]
pub struct RenderRequest {
    /// The instance group, for error texts.
    pub group: String,
    /// The instance's data, not narrowed to a job, with variables resolved: it may hold secrets.
    pub context: Value,
    /// `{azs, networks, groups}` for encoding DNS names; null without.
    pub dns: Value,
    /// In manifest order.
    pub jobs: Vec<RenderJob>,
}

impl RenderRequest {
    /// Names everything that the outcome depends on: requests with the same digest render to the same files.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut piece = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        // Changes whenever the evaluation itself does.
        piece(crate::worker::SCRIPT.as_bytes());
        piece(self.context.to_string().as_bytes());
        piece(self.dns.to_string().as_bytes());
        for job in &self.jobs {
            piece(job.name.as_bytes());
            let (name, version) = job.release.clone().unwrap_or_default();
            piece(name.as_bytes());
            piece(version.as_bytes());
            piece(&job.sources.digest);
            for link in &job.provides {
                piece(format!("{link:?}").as_bytes());
            }
        }
        hex::encode(hash.finalize())
    }

    /// The line for the worker.
    pub(crate) fn to_line(&self) -> String {
        let jobs: Vec<Value> = self.jobs.iter().map(job_json).collect();
        let mut line = json!({"context": self.context, "dns": self.dns, "jobs": jobs}).to_string();
        line.push('\n');
        line
    }
}

fn job_json(job: &RenderJob) -> Value {
    let templates: Vec<Value> = job
        .sources
        .templates
        .iter()
        .map(|template| template_json(&template.source, &template.content))
        .collect();
    let release = job
        .release
        .as_ref()
        .map(|(name, version)| json!({"name": name, "version": version}));
    json!({
        "name": job.name,
        "release": release,
        "monit": template_json("monit", &job.sources.monit),
        "templates": templates,
    })
}

fn template_json(name: &str, content: &[u8]) -> Value {
    match std::str::from_utf8(content) {
        Ok(text) => json!({"name": name, "text": text}),
        Err(_) => json!({"name": name, "base64": STANDARD.encode(content)}),
    }
}
