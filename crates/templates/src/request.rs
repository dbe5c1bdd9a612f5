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

/// One job as far as the outcome depends on it, for [`input_digest`]: nothing has to be fetched to know this.
#[derive(Debug, Clone, Copy)]
pub struct JobInput<'a> {
    /// The job's name.
    pub name: &'a str,
    /// Name and version of its release.
    pub release: (&'a str, &'a str),
    /// Names its templates: the digest of its archive, or its fingerprint.
    pub templates: &'a str,
    /// The links it offers.
    pub provides: &'a [ProvidedLink],
}

/// Names everything that rendering an instance depends on: the same digest means the same files.
pub fn input_digest<'a>(
    context: &Value,
    dns: &Value,
    jobs: impl IntoIterator<Item = JobInput<'a>>,
) -> String {
    let mut hash = Sha256::new();
    let mut piece = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    // Changes whenever the evaluation itself does.
    piece(crate::worker::SCRIPT.as_bytes());
    piece(context.to_string().as_bytes());
    piece(dns.to_string().as_bytes());
    for job in jobs {
        for text in [job.name, job.release.0, job.release.1, job.templates] {
            piece(text.as_bytes());
        }
        for link in job.provides {
            for text in [&link.name, &link.kind, &link.group] {
                piece(text.as_bytes());
            }
        }
        piece(b"end of job");
    }
    hex::encode(hash.finalize())
}

impl RenderRequest {
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
