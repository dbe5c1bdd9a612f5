//! Releases that a folder has made before (`docs/spec/releases-and-templates.md` §9.2, §9.8).

use std::path::Path;

use super::ReleaseDir;
use crate::manifest::ReleaseManifest;
use crate::parallel;
use crate::problem::{Problem, Within};
use crate::progress::{Kind, Progress};
use crate::release::Release;

impl ReleaseDir {
    /// The newest release of the folder, development or final; with a version, that final one.
    pub fn find_release(
        &self,
        name: Option<&str>,
        version: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<Release, Problem> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => self.config()?.name()?,
        };
        let path = match version {
            Some(version) => self.finished_releases.manifest_path(&name, version),
            None => {
                let development = self.development_releases.last(&name)?;
                let finished = self.finished_releases.last(&name)?;
                match (development, finished) {
                    (Some(development), finished)
                        if finished
                            .as_ref()
                            .is_none_or(|finished| *finished <= development) =>
                    {
                        self.development_releases
                            .manifest_path(&name, development.as_str())
                    }
                    (_, Some(finished)) => self
                        .finished_releases
                        .manifest_path(&name, finished.as_str()),
                    _ => {
                        return Err(Problem::new(
                            "Expected to find at least one dev or final version",
                        ));
                    }
                }
            }
        };
        self.release_of(&path, progress)
    }

    /// The release of a manifest file; archives come from the indexes, nothing is built.
    pub fn release_of(&self, path: &Path, progress: &mut dyn Progress) -> Result<Release, Problem> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Problem::io("open", path, &error))
            .within(|| format!("Opening file {}", path.display()))
            .within(|| format!("Reading manifest '{}'", path.display()))?;
        let mut manifest =
            ReleaseManifest::parse(&text).within(|| "Parsing release manifest".to_owned())?;
        // compat: a release read from its manifest is written compressed.
        manifest.no_compression = false;
        let config = self.config()?;
        let artifacts: Vec<_> = manifest
            .artifacts_mut()
            .into_iter()
            .filter(|artifact| artifact.kind != Kind::CompiledPackage)
            .collect();
        let found = parallel::each(artifacts, self.parallel, progress, |artifact, progress| {
            let id = artifact.id();
            let (listed, archive) = self
                .find(id, &config, progress)?
                .ok_or_else(|| id.missing())?;
            *artifact.digest = listed;
            Ok((id.key(), archive))
        })
        .map_err(Problem::together)?;
        Ok(Release::new(manifest, found.into_iter().collect()))
    }
}
