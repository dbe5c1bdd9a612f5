//! From artifacts to archives: by the development index, the final index, or a build
//! (`docs/spec/releases-and-templates.md` §2.2 and §7).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::MultiDigest;
use tempfile::NamedTempFile;

use super::ReleaseDir;
use super::blobs::move_whole;
use super::build;
use super::config::Config;
use super::index::Entry;
use super::source::{Artifact, Sources};
use crate::manifest::ArtifactId;
use crate::parallel;
use crate::problem::{Problem, Within};
use crate::progress::{Event, Kind, Progress};

/// Digest and archive by kind and name.
pub(super) type Built = BTreeMap<(Kind, String), (String, PathBuf)>;

impl ReleaseDir {
    /// Finds or builds every artifact, some at once, the license last; events arrive on this thread.
    pub(super) fn build_all(
        &self,
        sources: &Sources,
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<Built, Problem> {
        let (jobs, packages) = (sources.jobs.iter(), sources.packages.iter());
        let mut built = Built::new();
        for group in [
            jobs.chain(packages).collect(),
            sources.license.iter().collect::<Vec<_>>(),
        ] {
            let done = parallel::each(group, self.parallel, progress, |artifact, progress| {
                let found = self.find_or_build(artifact, config, progress)?;
                Ok((artifact.id().key(), found))
            });
            built.extend(done.map_err(|problems| Problem::list(self.building(), problems))?);
        }
        Ok(built)
    }

    fn find_or_build(
        &self,
        artifact: &Artifact,
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<(String, PathBuf), Problem> {
        let id = artifact.id();
        if let Some(found) = self.find(id, config, progress)? {
            return Ok(found);
        }
        if artifact.vendored {
            return Err(id.missing());
        }
        let (archive, digest) = build::archive(artifact, &self.root)?;
        adding(id, progress, |_| self.keep(id, archive, digest))
    }

    /// Puts an archive into the cache and the development index.
    fn keep(
        &self,
        id: ArtifactId,
        archive: NamedTempFile,
        digest: String,
    ) -> Result<(String, PathBuf), Problem> {
        let cached = self.cached(&digest);
        move_whole(archive, &cached)?;
        let entry = Entry {
            blobstore_id: None,
            digest: digest.clone(),
        };
        self.development.add(id, &entry)?;
        Ok((digest, cached))
    }

    /// Where an archive of this digest is kept.
    pub(super) fn cached(&self, digest: &str) -> PathBuf {
        self.cache.join(digest)
    }

    /// An artifact's digest and archive by way of the indexes.
    pub(super) fn find(
        &self,
        id: ArtifactId,
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<Option<(String, PathBuf)>, Problem> {
        if let Some(entry) = self.development.find(id)? {
            let cached = self.cached(&entry.digest);
            if !cached.is_file() {
                return Err(no_blob(id, &entry.digest));
            }
            verify_cached(&cached, id.name, &entry.digest)?;
            return Ok(Some((entry.digest, cached)));
        }
        self.find_final(id, config, progress)
    }

    /// The same by way of the final index only; what is not in the cache is downloaded.
    pub(super) fn find_final(
        &self,
        id: ArtifactId,
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<Option<(String, PathBuf)>, Problem> {
        let Some(Entry {
            blobstore_id,
            digest,
        }) = self.finished.find(id)?
        else {
            return Ok(None);
        };
        let cached = self.cached(&digest);
        let blob = blobstore_id.unwrap_or_default();
        if cached.is_file() {
            verify_cached(&cached, &blob, &digest)?;
            return Ok(Some((digest, cached)));
        }
        if blob.is_empty() {
            return Err(no_blob(id, &digest));
        }
        let slug = id.slug();
        progress.event(&Event::Downloading {
            name: slug.clone(),
            digest: digest.clone(),
        });
        let got = self
            .blobs_of(config)
            .store()
            .and_then(|store| store.get(&blob, &digest, &cached))
            .within(|| format!("Downloading blob '{blob}' with digest string '{digest}'"));
        progress.event(&match &got {
            Ok(()) => Event::Downloaded {
                name: slug,
                digest: digest.clone(),
            },
            Err(_) => Event::FailedDownloading {
                name: slug,
                digest: digest.clone(),
            },
        });
        got?;
        Ok(Some((digest, cached)))
    }
}

/// Tells of an artifact being added while it is.
pub(super) fn adding<T>(
    id: ArtifactId,
    progress: &mut dyn Progress,
    add: impl FnOnce(&mut dyn Progress) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (kind, name) = (id.kind, id.slug());
    progress.event(&Event::Adding {
        kind,
        name: name.clone(),
    });
    let added = add(progress);
    progress.event(&match &added {
        Ok(_) => Event::Added { kind, name },
        Err(_) => Event::FailedAdding { kind, name },
    });
    added
}

fn no_blob(id: ArtifactId, digest: &str) -> Problem {
    Problem::new(format!(
        "Cannot find blob named '{}' with SHA1 '{digest}'",
        id.slug()
    ))
}

fn verify_cached(path: &Path, id: &str, digest: &str) -> Result<(), Problem> {
    MultiDigest::parse(digest)
        .and_then(|expected| {
            let file = std::fs::File::open(path).map_err(domain::digest::Error::Read)?;
            expected.verify(file)
        })
        .map_err(|error| {
            Problem::new(error.to_string()).within(format!(
                "Local copy ('{}') of blob '{id}' digest verification error",
                path.display()
            ))
        })
}
