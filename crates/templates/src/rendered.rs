//! What came out, and the hashes over it: `docs/spec/releases-and-templates.md` §16.2 and §16.4.

use serde_json::json;
use sha1::{Digest as _, Sha1};

use crate::request::{ProvidedLink, RenderJob};

/// Source and target of the file that every job of a director gets besides its templates.
const LINKS_FILE: &str = ".bosh/links.json";

/// A rendered template.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// The template's path below `templates/`.
    pub source: String,
    /// Where it goes, below the job's folder.
    pub target: String,
    /// The text, which may hold secrets.
    pub content: Vec<u8>,
}

/// A job with its rendered files.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedJob {
    /// The job's name.
    pub name: String,
    /// The rendered monit file.
    pub monit: Vec<u8>,
    /// In the order of the spec, the generated file last.
    pub files: Vec<RenderedFile>,
}

/// All jobs of an instance.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedInstance {
    /// In manifest order.
    pub jobs: Vec<RenderedJob>,
}

impl RenderedJob {
    /// Puts the worker's texts to the job's targets.
    pub(crate) fn new(job: &RenderJob, monit: Vec<u8>, contents: Vec<Vec<u8>>) -> Self {
        let files = job
            .sources
            .templates
            .iter()
            .zip(contents)
            .map(|(template, content)| RenderedFile {
                source: template.source.clone(),
                target: template.target.clone(),
                content,
            })
            .collect();
        Self {
            name: job.name.clone(),
            monit,
            files,
        }
    }

    /// Adds the generated file.
    pub(crate) fn add_links(&mut self, provides: &[ProvidedLink]) {
        self.files.push(RenderedFile {
            source: LINKS_FILE.to_owned(),
            target: LINKS_FILE.to_owned(),
            content: links_json(provides).into_bytes(),
        });
    }

    fn by_source(&self) -> Vec<&RenderedFile> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by(|a, b| a.source.cmp(&b.source));
        files
    }

    /// SHA-1 over the monit file and all contents by source path.
    pub fn template_hash(&self) -> String {
        let mut hash = Sha1::new();
        hash.update(&self.monit);
        for file in self.by_source() {
            hash.update(&file.content);
        }
        hex::encode(hash.finalize())
    }
}

impl RenderedInstance {
    /// SHA-1 over all jobs by name: monit, name, then content and target of each file by source path.
    pub fn configuration_hash(&self) -> String {
        let mut jobs: Vec<_> = self.jobs.iter().collect();
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        let mut hash = Sha1::new();
        for job in jobs {
            hash.update(&job.monit);
            hash.update(&job.name);
            for file in job.by_source() {
                hash.update(&file.content);
                hash.update(&file.target);
            }
        }
        hex::encode(hash.finalize())
    }
}

fn links_json(provides: &[ProvidedLink]) -> String {
    let mut provides: Vec<_> = provides.iter().collect();
    provides.sort_by(|a, b| a.group.cmp(&b.group));
    let links: Vec<_> = provides
        .iter()
        .map(|link| json!({"name": link.name, "type": link.kind, "group": link.group}))
        .collect();
    let text = serde_json::to_string_pretty(&links).unwrap_or_default();
    text + "\n"
}
