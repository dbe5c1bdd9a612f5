//! Releases that a folder has made before (`docs/spec/releases-and-templates.md` §9.2, §9.8).

use std::path::Path;

use domain::version::Version;

use super::ReleaseDir;
use super::index::ReleaseIndex;
use crate::document;
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
                let none = || Problem::new("Expected to find at least one dev or final version");
                let (index, version) = self.newest(&name)?.ok_or_else(none)?;
                index.manifest_path(&name, version.as_str())
            }
        };
        self.release_of(&path, progress)
    }

    /// The newest version of a name and the index that has it: of equal ones, the development index.
    pub(super) fn newest(&self, name: &str) -> Result<Option<(&ReleaseIndex, Version)>, Problem> {
        let development = self.development_releases.last(name)?;
        let finished = self.finished_releases.last(name)?;
        if finished > development {
            Ok(finished.map(|version| (&self.finished_releases, version)))
        } else {
            Ok(development.map(|version| (&self.development_releases, version)))
        }
    }

    /// The release of a manifest file; archives come from the indexes, nothing is built.
    pub fn release_of(&self, path: &Path, progress: &mut dyn Progress) -> Result<Release, Problem> {
        let text =
            document::read(path).within(|| format!("Reading manifest '{}'", path.display()))?;
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
