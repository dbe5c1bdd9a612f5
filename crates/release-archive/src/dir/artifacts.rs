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
                Ok(((artifact.kind, artifact.name.clone()), found))
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
        let Artifact {
            kind,
            name,
            fingerprint,
            ..
        } = artifact;
        if let Some(found) = self.find(*kind, name, fingerprint, config, progress)? {
            return Ok(found);
        }
        let slug = format!("{name}/{fingerprint}");
        if artifact.vendored {
            return Err(Problem::new(format!("Expected to find '{slug}'")));
        }
        let (archive, digest) = build::archive(artifact, &self.root)?;
        progress.event(&Event::Adding {
            kind: *kind,
            name: slug.clone(),
        });
        let added = self.keep(artifact, archive, digest);
        progress.event(&match &added {
            Ok(_) => Event::Added {
                kind: *kind,
                name: slug,
            },
            Err(_) => Event::FailedAdding {
                kind: *kind,
                name: slug,
            },
        });
        added
    }

    /// Puts an archive into the cache and the development index.
    fn keep(
        &self,
        artifact: &Artifact,
        archive: NamedTempFile,
        digest: String,
    ) -> Result<(String, PathBuf), Problem> {
        let cached = self.cached(&digest);
        move_whole(archive, &cached)?;
        let entry = Entry {
            blobstore_id: None,
            digest: digest.clone(),
        };
        self.development
            .add(artifact.kind, &artifact.name, &artifact.fingerprint, &entry)?;
        Ok((digest, cached))
    }

    /// Where an archive of this digest is kept.
    pub(super) fn cached(&self, digest: &str) -> PathBuf {
        self.cache.join(digest)
    }

    /// An artifact's digest and archive by way of the indexes.
    pub(super) fn find(
        &self,
        kind: Kind,
        name: &str,
        fingerprint: &str,
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<Option<(String, PathBuf)>, Problem> {
        if let Some(entry) = self.development.find(kind, name, fingerprint)? {
            let cached = self.cached(&entry.digest);
            if !cached.is_file() {
                return Err(Problem::new(format!(
                    "Cannot find blob named '{name}/{fingerprint}' with SHA1 '{}'",
                    entry.digest
                )));
            }
            verify_cached(&cached, name, &entry.digest)?;
            return Ok(Some((entry.digest, cached)));
        }
        self.find_final(kind, name, fingerprint, config, progress)
    }

    /// The same by way of the final index only; what is not in the cache is downloaded.
    pub(super) fn find_final(
        &self,
        kind: Kind,
        name: &str,
        fingerprint: &str,
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<Option<(String, PathBuf)>, Problem> {
        let Some(Entry {
            blobstore_id,
            digest,
        }) = self.finished.find(kind, name, fingerprint)?
        else {
            return Ok(None);
        };
        let cached = self.cached(&digest);
        let id = blobstore_id.unwrap_or_default();
        if cached.is_file() {
            verify_cached(&cached, &id, &digest)?;
            return Ok(Some((digest, cached)));
        }
        let slug = format!("{name}/{fingerprint}");
        if id.is_empty() {
            return Err(Problem::new(format!(
                "Cannot find blob named '{slug}' with SHA1 '{digest}'"
            )));
        }
        progress.event(&Event::Downloading {
            name: slug.clone(),
            digest: digest.clone(),
        });
        let got = self
            .blobs_of(config)
            .store()
            .and_then(|store| store.get(&id, &digest, &cached))
            .within(|| format!("Downloading blob '{id}' with digest string '{digest}'"));
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
