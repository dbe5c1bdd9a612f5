//! Rendering for a plan: what each instance's templates render to, by Ruby only where the input has changed
//! (docs/spec/releases-and-templates.md §16).
//!
//! Deploys call [`render`] between the planner's two phases and ask the result for hashes, and for the archives of
//! those instances that are really updated. Hashes are remembered by input ([`crate::store::rendered_hashes`]), so a
//! deploy without changes fetches no blob and starts no Ruby.

mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::InstanceUuid;
use futures_util::{StreamExt as _, stream};
use planner::{Placement, RenderInstance};
use templates::{JobInput, ProvidedLink, RenderErrors, RenderJob, RenderRequest};

use crate::error::Error;
use crate::services::Services;
use crate::store::rendered_hashes::{self, RenderedHashes};
use sources::Sources;

/// How many instances are handed to the pool at once: enough to keep its workers busy.
const AHEAD: usize = 16;

/// What the instances of a placement render to.
pub struct Rendered {
    services: Arc<Services>,
    sources: Arc<Sources>,
    instances: BTreeMap<InstanceUuid, Instance>,
}

struct Instance {
    input: Input,
    hashes: planner::RenderedInstance,
    /// The rendered files, unless the hashes were known.
    files: Option<templates::RenderedInstance>,
}

/// One instance with all that rendering it needs.
struct Input {
    instance: RenderInstance,
    provides: Vec<Vec<ProvidedLink>>,
    digest: String,
}

impl Input {
    fn new(placement: &Placement, instance: RenderInstance) -> Input {
        let group = placement
            .groups
            .iter()
            .find(|group| group.name == instance.group);
        let provides: Vec<Vec<ProvidedLink>> = instance
            .jobs
            .iter()
            .map(|job| {
                let placed = group
                    .and_then(|group| group.jobs.iter().find(|placed| placed.job.name == job.name));
                let links = placed.into_iter().flat_map(|placed| &placed.provides);
                links
                    .map(|(name, kind, group)| ProvidedLink {
                        name: name.clone(),
                        kind: kind.clone(),
                        group: group.clone(),
                    })
                    .collect()
            })
            .collect();
        let jobs = instance
            .jobs
            .iter()
            .zip(&provides)
            .map(|(job, provides)| JobInput {
                name: job.name.as_str(),
                release: (job.release.as_str(), &job.release_version),
                templates: &job.sha1,
                provides,
            });
        let digest = templates::input_digest(&instance.context, &instance.dns, jobs);
        Input {
            instance,
            provides,
            digest,
        }
    }

    async fn request(&self, sources: &Sources) -> Result<RenderRequest, Error> {
        let mut jobs = Vec::new();
        for (job, provides) in self.instance.jobs.iter().zip(&self.provides) {
            jobs.push(RenderJob {
                name: job.name.as_str().to_owned(),
                release: Some((job.release.as_str().to_owned(), job.release_version.clone())),
                sources: sources.of(job).await?,
                provides: provides.clone(),
            });
        }
        Ok(RenderRequest {
            group: self.instance.group.as_str().to_owned(),
            context: self.instance.context.clone(),
            dns: self.instance.dns.clone(),
            jobs,
        })
    }
}

/// Why one instance was not rendered.
enum Failure {
    /// Its templates are wrong: reported together with those of other groups.
    Templates(RenderErrors),
    Other(Error),
}

/// Renders the instances, contexts with all variables resolved. `keep` records the hashes: not in a dry run.
///
/// # Errors
/// All failing groups together, each with its first failing instance, in the original's nested form.
pub async fn render(
    services: &Arc<Services>,
    placement: &Placement,
    instances: impl IntoIterator<Item = RenderInstance>,
    keep: bool,
) -> Result<Rendered, Error> {
    let inputs: Vec<Input> = instances
        .into_iter()
        .map(|instance| Input::new(placement, instance))
        .collect();
    let known = known(services, &inputs).await?;
    let sources = Arc::new(Sources::new(services.clone()));

    let done: Vec<(Input, Result<Outcome, Failure>)> = stream::iter(inputs)
        .map(|input| {
            let known = known.get(input.instance.uuid.as_str()).cloned();
            let (services, sources) = (services.clone(), sources.clone());
            async move {
                let outcome = one(&services, &sources, &input, known).await;
                (input, outcome)
            }
        })
        .buffered(AHEAD)
        .collect()
        .await;

    let mut rendered = BTreeMap::new();
    let mut failed: Vec<RenderErrors> = Vec::new();
    for (input, outcome) in done {
        match outcome {
            Ok((hashes, files)) => {
                rendered.insert(
                    input.instance.uuid.clone(),
                    Instance {
                        input,
                        hashes,
                        files,
                    },
                );
            }
            // Of one group only the first instance counts.
            Err(Failure::Templates(errors))
                if failed.iter().any(|known| known.group == errors.group) => {}
            Err(Failure::Templates(errors)) => failed.push(errors),
            Err(Failure::Other(error)) => return Err(error),
        }
    }
    if !failed.is_empty() {
        return Err(Error::unclassified(templates::deployment_errors(&failed)));
    }
    let rendered = Rendered {
        services: services.clone(),
        sources,
        instances: rendered,
    };
    if keep {
        rendered.remember().await?;
    }
    Ok(rendered)
}

/// Hashes, and the files if they were rendered now.
type Outcome = (
    planner::RenderedInstance,
    Option<templates::RenderedInstance>,
);

/// Hashes of instances whose input is the one they were rendered from last.
async fn known(
    services: &Services,
    inputs: &[Input],
) -> Result<BTreeMap<String, RenderedHashes>, Error> {
    let uuids: Vec<String> = inputs
        .iter()
        .map(|input| input.instance.uuid.to_string())
        .collect();
    let digests: BTreeMap<&str, &str> = inputs
        .iter()
        .map(|input| (input.instance.uuid.as_str(), input.digest.as_str()))
        .collect();
    let rows = rendered_hashes::list(services.store.pool(), &uuids).await?;
    Ok(rows
        .into_iter()
        .filter(|row| digests.get(row.instance_uuid.as_str()) == Some(&row.input_sha256.as_str()))
        .map(|row| (row.instance_uuid.clone(), row))
        .collect())
}

async fn one(
    services: &Services,
    sources: &Sources,
    input: &Input,
    known: Option<RenderedHashes>,
) -> Result<Outcome, Failure> {
    if let Some(row) = known {
        let template_hashes = row
            .template_hashes
            .into_iter()
            .map(|(job, hash)| (job.into(), hash))
            .collect();
        let hashes = planner::RenderedInstance {
            configuration_hash: row.configuration_hash,
            template_hashes,
        };
        return Ok((hashes, None));
    }
    let request = input.request(sources).await.map_err(Failure::Other)?;
    let files = services
        .renderer
        .render(&request)
        .await
        .map_err(|error| match error {
            templates::Error::Templates(errors) => Failure::Templates(errors),
            other => Failure::Other(Error::unclassified(other.to_string()).caused_by(other)),
        })?;
    let hashes = planner::RenderedInstance {
        configuration_hash: files.configuration_hash(),
        template_hashes: files
            .jobs
            .iter()
            .map(|job| (job.name.as_str().into(), job.template_hash()))
            .collect(),
    };
    Ok((hashes, Some(files)))
}

impl Rendered {
    /// What the planner's second phase needs.
    pub fn hashes(&self) -> BTreeMap<InstanceUuid, planner::RenderedInstance> {
        self.instances
            .iter()
            .map(|(uuid, instance)| (uuid.clone(), instance.hashes.clone()))
            .collect()
    }

    /// The configuration hash of one instance.
    pub fn configuration_hash(&self, uuid: &InstanceUuid) -> Option<&str> {
        Some(self.instances.get(uuid)?.hashes.configuration_hash.as_str())
    }

    /// The archive for an instance's agent; rendered now if only the hashes were known. `None` for an instance that
    /// was not asked for.
    pub async fn archive(&self, uuid: &InstanceUuid) -> Result<Option<Vec<u8>>, Error> {
        let Some(instance) = self.instances.get(uuid) else {
            return Ok(None);
        };
        let again;
        let files = match &instance.files {
            Some(files) => files,
            None => {
                let request = instance.input.request(&self.sources).await?;
                again = self
                    .services
                    .renderer
                    .render(&request)
                    .await
                    .map_err(|error| Error::unclassified(error.to_string()).caused_by(error))?;
                &again
            }
        };
        let archive = templates::archive(files).map_err(|error| {
            Error::unclassified("Rendered templates can't be packed.").caused_by(error)
        })?;
        Ok(Some(archive))
    }

    async fn remember(&self) -> Result<(), Error> {
        let new: Vec<RenderedHashes> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.files.is_some())
            .map(|(uuid, instance)| RenderedHashes {
                instance_uuid: uuid.to_string(),
                input_sha256: instance.input.digest.clone(),
                configuration_hash: instance.hashes.configuration_hash.clone(),
                template_hashes: instance
                    .hashes
                    .template_hashes
                    .iter()
                    .map(|(job, hash)| (job.to_string(), hash.clone()))
                    .collect(),
            })
            .collect();
        if !new.is_empty() {
            rendered_hashes::put_all(self.services.store.pool(), &new).await?;
        }
        Ok(())
    }
}
