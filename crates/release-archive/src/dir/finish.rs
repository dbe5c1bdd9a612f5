//! Final releases: `create-release --final` and `finalize-release` (`docs/spec/releases-and-templates.md` §9.2, §9.4).

use std::path::{Path, PathBuf};

use domain::version::Version;

use super::artifacts::adding;
use super::blobs::copy_whole;
use super::config::Config;
use super::index::Entry;
use super::{ReleaseDir, git};
use crate::manifest::ArtifactId;
use crate::parallel;
use crate::problem::{Problem, Within};
use crate::progress::{Event, Kind, Progress};
use crate::release::Release;

impl ReleaseDir {
    /// Makes a final release of one whose archives are at hand: what the final index lacks is uploaded, what it has
    /// takes the place of the release's own archives. `force` is for local modifications.
    pub fn finish(
        &self,
        release: &mut Release,
        version: Option<&Version>,
        force: bool,
        progress: &mut dyn Progress,
    ) -> Result<(), Problem> {
        let name = release.manifest.name.clone();
        let version = match version {
            Some(version) => version.clone(),
            None => self.next_final_version(&name)?,
        };
        release.manifest.version = version.to_string();
        git::must_not_be_dirty(&self.root, force)?;
        if self.finished_releases.contains(&name, version.as_str())? {
            return Err(Problem::new(format!(
                "Release '{name}' version '{version}' already exists"
            )));
        }
        let config = self.config()?;
        let archives = &release.archives;
        let (license, others): (Vec<_>, Vec<_>) = release
            .manifest
            .artifacts_mut()
            .into_iter()
            .filter(|artifact| artifact.kind != Kind::CompiledPackage)
            .partition(|artifact| artifact.kind == Kind::License);
        let mut replaced = Vec::new();
        for group in [others, license] {
            let finished = parallel::each(group, self.parallel, progress, |artifact, progress| {
                let id = artifact.id();
                let found = match archives.get(&id.key()) {
                    Some(path) => {
                        let archive = (artifact.digest.as_str(), path.as_path());
                        self.finish_artifact(id, archive, &config, progress)?
                    }
                    // A tarball may lack what the director had.
                    None => {
                        let found = self.find_final(id, &config, progress)?;
                        Some(found.ok_or_else(|| id.missing())?)
                    }
                };
                Ok(found.map(|(listed, path)| {
                    *artifact.digest = listed;
                    (id.key(), path)
                }))
            })
            .map_err(Problem::together)?;
            replaced.extend(finished.into_iter().flatten());
        }
        release.archives.extend(replaced);
        self.add_release(&self.finished_releases, &release.manifest, progress)
    }

    fn next_final_version(&self, name: &str) -> Result<Version, Problem> {
        let bad = |error: domain::version::Error| Problem::new(error.to_string());
        match self.finished_releases.last(name)? {
            Some(last) => last
                .increment_release()
                .map_err(bad)
                .within(|| "Incrementing last final version".to_owned()),
            None => Version::parse("1").map_err(bad),
        }
    }

    /// Adds an archive to the final index and the blobstore; if it is there, digest and path of the one there.
    pub(super) fn finish_artifact(
        &self,
        id: ArtifactId,
        archive: (&str, &Path),
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<Option<(String, PathBuf)>, Problem> {
        let found = self.find_final(id, config, progress)?;
        if found.is_some() {
            return Ok(found);
        }
        adding(id, progress, |progress| {
            self.upload(id, archive, config, progress)
        })?;
        Ok(None)
    }

    fn upload(
        &self,
        id: ArtifactId,
        (digest, path): (&str, &Path),
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<(), Problem> {
        let cached = self.cached(digest);
        if !cached.exists() {
            copy_whole(path, &cached)?;
        }
        let (name, digest) = (id.slug(), digest.to_owned());
        progress.event(&Event::Uploading {
            name: name.clone(),
            digest: digest.clone(),
        });
        let put = self
            .blobs_of(config)
            .store()
            .and_then(|store| store.put(path));
        progress.event(&match &put {
            Ok(_) => Event::Uploaded {
                name,
                digest: digest.clone(),
            },
            Err(_) => Event::FailedUploading {
                name,
                digest: digest.clone(),
            },
        });
        let blob = put.within(|| format!("Creating blob for path '{}'", path.display()))?;
        let entry = Entry {
            blobstore_id: Some(blob),
            digest,
        };
        self.finished.add(id, &entry)
    }
}
