//! From artifacts to archives: by the development index, the final index, or a build
//! (`docs/spec/releases-and-templates.md` §2.2 and §7).

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};

use domain::MultiDigest;

use super::ReleaseDir;
use super::blobs::{copy_whole, digest_of};
use super::build;
use super::config::Config;
use super::index::Entry;
use super::source::{Artifact, Sources};
use crate::problem::Problem;
use crate::progress::{Event, Kind, Progress};

/// Digest and archive by kind and name.
pub(super) type Built = BTreeMap<(Kind, String), (String, PathBuf)>;

impl ReleaseDir {
    /// Finds or builds every artifact, some at once; events arrive on this thread.
    pub(super) fn build_all(
        &self,
        sources: &Sources,
        config: &Config,
        parallel: usize,
        progress: &mut dyn Progress,
    ) -> Result<Built, Problem> {
        let all = sources
            .jobs
            .iter()
            .chain(&sources.packages)
            .chain(&sources.license);
        let queue: Mutex<VecDeque<&Artifact>> = Mutex::new(all.collect());
        let built: Mutex<Built> = Mutex::default();
        let problems: Mutex<Vec<Problem>> = Mutex::default();
        let (events, received) = mpsc::channel::<Event>();
        std::thread::scope(|scope| {
            for _ in 0..parallel.max(1) {
                let events = events.clone();
                let (queue, built, problems) = (&queue, &built, &problems);
                scope.spawn(move || {
                    while let Some(artifact) = locked(queue).pop_front() {
                        let mut tell = |event: &Event| {
                            // Nobody listening means the build is being given up.
                            let _ = events.send(event.clone());
                        };
                        match self.find_or_build(artifact, config, &mut tell) {
                            Ok(found) => {
                                let key = (artifact.kind, artifact.name.clone());
                                locked(built).insert(key, found);
                            }
                            Err(problem) => locked(problems).push(problem),
                        }
                    }
                });
            }
            drop(events);
            for event in received {
                progress.event(&event);
            }
        });
        let problems = problems.into_inner().unwrap_or_default();
        if problems.is_empty() {
            Ok(built.into_inner().unwrap_or_default())
        } else {
            Err(Problem::list(self.building(), problems))
        }
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
        progress.event(&Event::Adding {
            kind: *kind,
            name: slug.clone(),
        });
        let added = self.build(artifact);
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

    fn build(&self, artifact: &Artifact) -> Result<(String, PathBuf), Problem> {
        let archive = build::archive(artifact, &self.root)?;
        let digest = digest_of(archive.path())?;
        let cached = self.cached(&digest);
        copy_whole(archive.path(), &cached)?;
        let entry = Entry {
            blobstore_id: None,
            digest: digest.clone(),
        };
        self.development
            .add(artifact.kind, &artifact.name, &artifact.fingerprint, &entry)?;
        Ok((digest, cached))
    }

    fn cached(&self, digest: &str) -> PathBuf {
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
        progress.event(&Event::Downloading {
            name: slug.clone(),
            digest: digest.clone(),
        });
        let got = self.blobs_of(config).get(&id, &digest, &cached);
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

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panicking builder ends the whole build anyway; the data is whole between its operations.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
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
