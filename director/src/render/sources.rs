//! Template texts of jobs from their archives, each fetched once.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::MultiDigest;
use planner::JobRef;
use release_archive::JobArchive;
use templates::{JobSources, Template};
use tokio::sync::Mutex;

use crate::blobs;
use crate::error::Error;
use crate::services::Services;

/// The jobs' templates as far as they were asked for.
pub(super) struct Sources {
    services: Arc<Services>,
    // Held while one is fetched, so that none is fetched twice.
    fetched: Mutex<BTreeMap<String, Arc<JobSources>>>,
}

impl Sources {
    pub fn new(services: Arc<Services>) -> Sources {
        Sources {
            services,
            fetched: Mutex::default(),
        }
    }

    /// The templates of a job.
    pub async fn of(&self, job: &JobRef) -> Result<Arc<JobSources>, Error> {
        let mut fetched = self.fetched.lock().await;
        if let Some(known) = fetched.get(job.blobstore_id.as_str()) {
            return Ok(known.clone());
        }
        let sources = Arc::new(self.fetch(job).await?);
        fetched.insert(job.blobstore_id.as_str().to_owned(), sources.clone());
        Ok(sources)
    }

    async fn fetch(&self, job: &JobRef) -> Result<JobSources, Error> {
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
            let release = format!("{}/{}", job.release, job.release_version);
            Error::unclassified(format!(
                "The templates of job '{}' of release '{release}' can't be read.",
                job.name
            ))
            .hint("Upload the release again with --fix.")
            .caused_by(error)
        };
        let digest = MultiDigest::parse(&job.sha1).map_err(|error| unusable(error.into()))?;
        let bytes = self
            .services
            .blobs
            .get_bytes(&job.blobstore_id, Some(&digest))
            .await
            .map_err(|error| unusable(error.into()))?;
        let (name, version) = (job.name.as_str().to_owned(), job.version.clone());
        let archive =
            blobs::blocking(move || JobArchive::read(&name, &version, std::io::Cursor::new(bytes)))
                .await
                .map_err(|error| unusable(error.into()))?;
        let JobArchive {
            spec,
            monit,
            mut templates,
            ..
        } = archive;
        let templates = spec
            .templates
            .into_iter()
            .map(|(source, target)| Template {
                content: templates.remove(&source).unwrap_or_default(),
                source,
                target,
            })
            .collect();
        Ok(JobSources { monit, templates })
    }
}
