//! `create-release` (`docs/spec/releases-and-templates.md` §8, §9.2).

use std::path::{Path, PathBuf};

use domain::version::Version;

use super::artifacts::Built;
use super::config::Config;
use super::index::ReleaseIndex;
use super::source::{self, Artifact, Sources};
use super::{CreateOptions, ReleaseDir, git};
use crate::fingerprint::Algorithm;
use crate::manifest::{JobRef, LicenseRef, PackageRef, ReleaseManifest};
use crate::problem::{Problem, Within};
use crate::progress::{Event, Progress};
use crate::release::Release;

impl ReleaseDir {
    /// Reads jobs, packages and license with their fingerprints, without building anything.
    pub fn read(&self, algorithm: Algorithm) -> Result<Sources, Problem> {
        source::read(&self.root, algorithm)
            .map_err(|problems| Problem::list(self.building(), problems))
    }

    pub(super) fn building(&self) -> String {
        format!(
            "Building a release from directory '{}'",
            self.root.display()
        )
    }

    /// Builds a development release and, if asked for, a final one of the same content.
    pub fn create_release(
        &self,
        options: &CreateOptions,
        progress: &mut dyn Progress,
    ) -> Result<Release, Problem> {
        let config = self.config()?;
        let name = match &options.name {
            Some(name) => name.clone(),
            None => config.name().within(|| {
                "Check that you're in the top-level of the release directory".to_owned()
            })?,
        };
        let version = match &options.version {
            Some(version) => version.clone(),
            None => self.next_development_version(&name, options.timestamp)?,
        };
        let uncommitted_changes = git::must_not_be_dirty(&self.root, options.force)?;
        let commit_hash = git::last_commit(&self.root)?;
        self.blobs_of(&config).sync(1, progress)?;
        let sources = self.read(Algorithm::Sha256)?;
        let built = self.build_all(&sources, &config, progress)?;
        let mut manifest = manifest_of(&sources, &built);
        manifest.name = name;
        manifest.version = version.to_string();
        manifest.commit_hash = Some(commit_hash);
        manifest.uncommitted_changes = uncommitted_changes;
        manifest.no_compression = config.no_compression();
        if self
            .development_releases
            .contains(&manifest.name, &manifest.version)?
        {
            return Err(Problem::new(format!(
                "Release version '{}' already exists",
                manifest.version
            )));
        }
        self.add_release(&self.development_releases, &manifest, progress)?;
        warn_of_compression(&sources, &config, progress);
        let archives = built
            .into_iter()
            .map(|(key, (_, path))| (key, path))
            .collect();
        let mut release = Release::new(manifest, archives);
        if options.finish {
            self.finish(
                &mut release,
                options.version.as_ref(),
                options.force,
                progress,
            )?;
        }
        Ok(release)
    }

    pub(super) fn add_release(
        &self,
        index: &ReleaseIndex,
        manifest: &ReleaseManifest,
        progress: &mut dyn Progress,
    ) -> Result<(), Problem> {
        let (development, name) = (index.development(), manifest.slug());
        match index.add(manifest) {
            Ok(_) => {
                progress.event(&Event::AddedRelease { development, name });
                Ok(())
            }
            Err(problem) => {
                progress.event(&Event::FailedAddingRelease { development, name });
                Err(problem)
            }
        }
    }

    fn next_development_version(
        &self,
        name: &str,
        timestamp: Option<u64>,
    ) -> Result<Version, Problem> {
        let bad = |error: domain::version::Error| Problem::new(error.to_string());
        let last = match self.newest(name)? {
            Some((_, last)) => last,
            None => Version::parse("0+dev.0").map_err(bad)?,
        };
        let next = last
            .increment_post_release()
            .map_err(bad)
            .within(|| "Incrementing last dev version".to_owned())?;
        match timestamp {
            Some(seconds) => next
                .with_post_release(&format!("dev.{seconds}"))
                .map_err(bad),
            None => Ok(next),
        }
    }
}

fn warn_of_compression(sources: &Sources, config: &Config, progress: &mut dyn Progress) {
    let names: Vec<_> = sources
        .packages
        .iter()
        .filter(|package| package.no_compression)
        .map(|package| package.name.as_str())
        .collect();
    if !names.is_empty() && !config.no_compression() {
        progress.event(&Event::Warning(format!(
            "Warning: The following packages have no_compression: true in their spec files, but final.yml does not \
             have no_compression: true. Consider setting no_compression: true in final.yml to avoid compression on \
             the outer release tarball: {}",
            names.join(", ")
        )));
    }
}

/// `((name))` and `((version))` of `--tarball` replaced; a folder is refused.
pub fn tarball_path(template: &Path, manifest: &ReleaseManifest) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(
        template
            .to_string_lossy()
            .replace("((name))", &manifest.name)
            .replace("((version))", &manifest.version),
    );
    if path.is_dir() {
        return Err(Problem::new("Path must not be directory"));
    }
    Ok(path)
}

fn manifest_of(sources: &Sources, built: &Built) -> ReleaseManifest {
    let digest = |artifact: &Artifact| {
        built
            .get(&(artifact.kind, artifact.name.clone()))
            .map(|(digest, _)| digest.clone())
            .unwrap_or_default()
    };
    let mut manifest = ReleaseManifest {
        jobs: sources
            .jobs
            .iter()
            .map(|job| JobRef {
                name: job.name.clone(),
                version: job.fingerprint.clone(),
                fingerprint: job.fingerprint.clone(),
                digest: digest(job),
                packages: job.packages.clone(),
            })
            .collect(),
        packages: sources
            .packages
            .iter()
            .map(|package| PackageRef {
                name: package.name.clone(),
                version: package.fingerprint.clone(),
                fingerprint: package.fingerprint.clone(),
                digest: digest(package),
                dependencies: package.packages.clone(),
            })
            .collect(),
        license: sources.license.as_ref().map(|license| LicenseRef {
            fingerprint: license.fingerprint.clone(),
            digest: digest(license),
        }),
        has_packages: true,
        ..ReleaseManifest::default()
    };
    manifest.jobs.sort_by(|a, b| a.name.cmp(&b.name));
    manifest.packages.sort_by(|a, b| a.name.cmp(&b.name));
    manifest
}
