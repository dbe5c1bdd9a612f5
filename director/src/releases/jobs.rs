//! Jobs of an upload: read, checked, stored (releases-and-templates.md §12.2).

use release_archive::manifest::JobRef;
use release_archive::{JobArchive, Kind};

use super::upload::{UploadWork, existing};
use crate::blobs::{self, blocking};
use crate::error::{Error, code};
use crate::store::releases::{self as rows, Job};

impl UploadWork<'_> {
    /// Makes new jobs, links known ones to the version.
    pub(super) async fn jobs(&self) -> Result<(), Error> {
        let db = self.services.store.pool();
        let linked = rows::jobs_of(db, self.version.id).await?;
        for job in &self.manifest.jobs {
            if linked
                .iter()
                .any(|row| row.name == job.name && row.fingerprint != job.fingerprint)
            {
                let text = format!(
                    "job '{}' had different fingerprint in previously uploaded release '{}'",
                    job.name,
                    self.slug()
                );
                return Err(
                    Error::new(code::RELEASE_EXISTING_JOB_FINGERPRINT_MISMATCH, text)
                        .hint("Give the release another version."),
                );
            }
        }
        let known = rows::jobs_of_release(db, self.release.id).await?;
        let row_of = |job: &JobRef| {
            known
                .iter()
                .find(|row| row.name == job.name && row.version == job.version)
        };
        let (old, new): (Vec<&JobRef>, Vec<&JobRef>) = self
            .manifest
            .jobs
            .iter()
            .partition(|job| row_of(job).is_some());

        let stage = self
            .context
            .events
            .stage("Creating new jobs", &[], new.len() as u64);
        for job in new {
            self.context.checkpoint().await?;
            stage
                .run(
                    format!("{}/{}", job.name, job.version),
                    self.store_job(job, None),
                )
                .await?;
        }
        if old.is_empty() {
            return Ok(());
        }
        let all = async {
            for job in &old {
                match row_of(job) {
                    Some(row) if self.fix => self.store_job(job, Some(row)).await?,
                    Some(row) => rows::link_job(db, self.version.id, row.id).await?,
                    None => {}
                }
            }
            Ok(())
        };
        self.context
            .events
            .single(&existing(old.len(), "job"), all)
            .await
    }

    async fn store_job(&self, job: &JobRef, replaced: Option<&Job>) -> Result<(), Error> {
        let db = self.services.store.pool();
        let path = self.archive(Kind::Job, &job.name);
        let read = self.read_job(job).await?;
        let id = self.blob_id(Kind::Job, &job.name, &job.fingerprint);
        blobs::store_file(self.services, &id, blobs::Kind::ReleaseJob, &path).await?;
        let row = Job {
            id: 0,
            release_id: self.release.id,
            name: job.name.clone(),
            version: job.version.clone(),
            fingerprint: job.fingerprint.clone(),
            sha1: job.digest.clone(),
            blob_id: id.as_str().to_owned(),
            spec: read.spec.document,
        };
        let row_id = rows::put_job(db, &row).await?;
        if let Some(old) = replaced
            .map(|row| row.blob_id.as_str())
            .filter(|old| *old != id.as_str())
        {
            blobs::delete(self.services, old, true).await?;
        }
        Ok(rows::link_job(db, self.version.id, row_id).await?)
    }

    /// Reads the job's archive, with the original's refusals; its digest must be the listed one.
    async fn read_job(&self, job: &JobRef) -> Result<JobArchive, Error> {
        let path = self.archive(Kind::Job, &job.name);
        let (name, version, digest) = (job.name.clone(), job.version.clone(), job.digest.clone());
        let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
            let text = format!(
                "Extracting job '{}/{}' archive failed. Check task debug log for details.",
                job.name, job.version
            );
            self.context.debug(format!("{text} {error}"));
            Error::new(code::JOB_INVALID_ARCHIVE, text).caused_by(error)
        };
        let read = blocking(
            move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
                let bytes = fs_err::read(path)?;
                domain::MultiDigest::parse(&digest)?.verify(&bytes[..])?;
                Ok(JobArchive::read(
                    &name,
                    &version,
                    std::io::Cursor::new(bytes),
                ))
            },
        );
        let read = read.await.map_err(broken)?;
        read.map_err(|error| {
            let code = error.code();
            Error::new(code, error.to_string()).caused_by(error)
        })
    }
}
