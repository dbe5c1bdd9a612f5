//! Rendering jobs with `create-env`'s rules, in real Ruby (spec releases-and-templates §17).

use super::releases::Job;
use crate::error::{Error, Result, Within};
use serde_json::{Map, Value, json};
use std::path::{Component, Path};
use std::sync::Arc;
use templates::{
    Evaluator, JobError, JobSources, Options, Pool, RenderJob, RenderRequest, RenderedInstance,
    Template,
};
use uuid::Uuid;

type Properties = Map<String, Value>;

/// What templates may know. No `Debug`: properties hold credentials.
pub struct Knowledge<'a> {
    pub deployment: &'a str,
    /// The VM's address, if known.
    pub address: &'a str,
    pub global: &'a Properties,
    /// The instance group's, or those of `cloud_provider`.
    pub group: &'a Properties,
    /// By job: they replace the other two.
    pub own: &'a dyn Fn(&str) -> Option<Properties>,
}

/// Renders all templates of all jobs.
pub async fn render(jobs: &[Job], knowledge: &Knowledge<'_>) -> Result<RenderedInstance> {
    let mut contexts = Map::new();
    let mut to_render = Vec::new();
    for job in jobs {
        contexts.insert(job.name.clone(), context(job, knowledge));
        let mut templates = Vec::new();
        for (source, target) in &job.archive.spec.templates {
            if !is_local(target) {
                return Err(Error::message(format!(
                    "Invalid template destination '{target}': must be a safe local path"
                ))
                .within(rendering(job)));
            }
            templates.push(Template {
                source: source.clone(),
                target: target.clone(),
                content: job
                    .archive
                    .templates
                    .get(source)
                    .cloned()
                    .unwrap_or_default(),
            });
        }
        let sources = JobSources {
            monit: job.archive.monit.clone(),
            templates,
        };
        to_render.push(RenderJob {
            name: job.name.clone(),
            release: None,
            sources: Arc::new(sources),
            provides: Vec::new(),
        });
    }
    let pool = Pool::new(Options {
        workers: 1,
        evaluator: Evaluator::CreateEnv,
        ..Options::default()
    });
    let request = RenderRequest {
        group: knowledge.deployment.to_owned(),
        context: Value::Object(contexts),
        dns: Value::Null,
        jobs: to_render,
    };
    pool.render(&request)
        .await
        .map_err(|error| told(error, jobs))
}

fn rendering(job: &Job) -> String {
    format!(
        "Rendering templates for job '{}/{}'",
        job.name, job.fingerprint
    )
}

/// The original stops at the first error.
fn told(error: templates::Error, jobs: &[Job]) -> Error {
    let ruby = "Running ruby to render templates";
    let templates::Error::Templates(errors) = error else {
        return Error::from_chain(&error).within(ruby);
    };
    let first = errors.jobs.into_iter().next();
    let (name, text) = match first {
        Some(JobError::Templates { job, errors }) => (Some(job), errors.join("\n")),
        Some(JobError::Monit(text) | JobError::Other(text)) => (None, text),
        None => (None, String::new()),
    };
    let error = Error::message(text).within(ruby);
    match jobs.iter().find(|job| Some(&job.name) == name.as_ref()) {
        Some(job) => error.within(rendering(job)),
        None => error.within("Rendering monit file"),
    }
}

fn context(job: &Job, knowledge: &Knowledge<'_>) -> Value {
    let defaults: Properties = job
        .archive
        .spec
        .properties
        .iter()
        .map(|(name, definition)| {
            let default = definition.get("default").cloned();
            (name.clone(), default.unwrap_or(Value::Null))
        })
        .collect();
    let mut context = json!({
        "index": 0,
        "id": Uuid::new_v4(),
        "az": "unknown",
        "bootstrap": true,
        "job": {"name": job.name},
        "deployment": knowledge.deployment,
        "networks": {"default": {"ip": "", "netmask": "", "gateway": ""}},
        "global_properties": knowledge.global,
        "cluster_properties": knowledge.group,
        "job_properties": (knowledge.own)(&job.name),
        "default_properties": defaults,
    });
    if !knowledge.address.is_empty() {
        context["address"] = knowledge.address.into();
    }
    context
}

/// Whether a path stays below the folder it is joined to.
pub fn is_local(path: &str) -> bool {
    let mut depth = 0;
    for part in Path::new(path).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    !path.is_empty()
}

/// Puts rendered jobs on this machine, a folder each, programs executable.
pub fn install(rendered: &RenderedInstance, job: &str, folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    fs_err::create_dir_all(folder)?;
    // The CPI's configuration holds credentials.
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    let Some(rendered) = rendered.jobs.iter().find(|rendered| rendered.name == job) else {
        return Ok(());
    };
    let files = rendered
        .files
        .iter()
        .map(|file| (file.target.as_str(), &file.content))
        .chain([("monit", &rendered.monit)]);
    for (target, content) in files {
        let path = folder.join(target);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::write(&path, content).within(|| format!("Installing job '{job}'"))?;
        if path.parent() == Some(&folder.join("bin")) {
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}
