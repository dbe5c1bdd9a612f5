//! A release folder: what the CLI's `create-release` and its relatives do
//! (`docs/spec/releases-and-templates.md` §2, §7-§10).
//!
//! ```text
//! open -> read jobs and packages -> fingerprint -> for each: dev index? final index? else build and index
//!      -> manifest into dev_releases/ -> (--final) upload archives, manifest into releases/ -> (--tarball) write it
//! ```

mod artifacts;
mod blobs;
mod build;
mod config;
mod git;
mod index;
pub mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use domain::version::Version;

use artifacts::Built;
pub use blobs::Blob;
use blobs::Blobs;
use config::Config;
use index::{ArtifactIndex, Entry, ReleaseIndex};
use source::{Artifact, Sources};

use crate::fingerprint::Algorithm;
use crate::manifest::{JobRef, LicenseRef, PackageRef, ReleaseManifest};
use crate::problem::{Problem, Within};
use crate::progress::{Event, Kind, Progress};
use crate::release::Release;

/// A release folder, with the cache of archives built or downloaded before.
#[derive(Debug, Clone)]
pub struct ReleaseDir {
    root: PathBuf,
    cache: PathBuf,
    development: ArtifactIndex,
    finished: ArtifactIndex,
    development_releases: ReleaseIndex,
    finished_releases: ReleaseIndex,
}

/// What `create-release` was asked for.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Another name than the folder's config has.
    pub name: Option<String>,
    /// This version in place of the next one.
    pub version: Option<Version>,
    /// `dev.<this>` (unix seconds) as the post-release of the next development version.
    pub timestamp: Option<u64>,
    /// Build in spite of local modifications.
    pub force: bool,
    /// Make a final release too.
    pub finish: bool,
    /// How many artifacts are built at once.
    pub parallel: usize,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            name: None,
            version: None,
            timestamp: None,
            force: false,
            finish: false,
            parallel: 5,
        }
    }
}

impl ReleaseDir {
    /// Opens a release folder. `cache` is where archives are kept by digest (`~/.bosh/cache`).
    pub fn open(root: impl Into<PathBuf>, cache: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            development: ArtifactIndex::new(root.join(".dev_builds")),
            finished: ArtifactIndex::new(root.join(".final_builds")),
            development_releases: ReleaseIndex::new(root.join("dev_releases"), true),
            finished_releases: ReleaseIndex::new(root.join("releases"), false),
            cache: cache.into(),
            root,
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The name from `config/final.yml`.
    pub fn name(&self) -> Result<String, Problem> {
        Ok(self.config()?.name)
    }

    fn config(&self) -> Result<Config, Problem> {
        Config::load(&self.root)
            .within(|| "Check that you're in the top-level of the release directory".to_owned())
    }

    /// Reads jobs, packages and license with their fingerprints, without building anything.
    pub fn read(&self, algorithm: Algorithm) -> Result<Sources, Problem> {
        source::read(&self.root, algorithm)
            .map_err(|problems| Problem::list(self.building(), problems))
    }

    fn building(&self) -> String {
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
        let name = options.name.clone().unwrap_or_else(|| config.name.clone());
        let version = match &options.version {
            Some(version) => version.clone(),
            None => self.next_development_version(&name, options.timestamp)?,
        };
        let work_tree = git::work_tree(&self.root)?;
        if !work_tree.changes.is_empty() && !options.force {
            return Err(Problem::new(format!(
                "Git repository has local modifications:\n\n{}",
                work_tree.changes
            )));
        }
        self.blobs_of(&config).sync(progress)?;
        let sources = self.read(Algorithm::Sha256)?;
        self.warn_of_compression(&sources, &config, progress);
        let built = self.build_all(&sources, &config, options.parallel, progress)?;
        let mut manifest = manifest_of(&sources, &built);
        manifest.name = name;
        manifest.version = version.to_string();
        manifest.commit_hash = Some(work_tree.commit_hash);
        manifest.uncommitted_changes = !work_tree.changes.is_empty();
        manifest.no_compression = config.no_compression;
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
        let archives = built
            .into_iter()
            .map(|(key, (_, path))| (key, path))
            .collect();
        let mut release = Release::new(manifest, archives);
        if options.finish {
            self.finish(&mut release, options.version.as_ref(), progress)?;
        }
        Ok(release)
    }

    /// Makes a final release of one whose archives are at hand (`--final`, `finalize-release`).
    pub fn finish(
        &self,
        release: &mut Release,
        version: Option<&Version>,
        progress: &mut dyn Progress,
    ) -> Result<(), Problem> {
        let config = self.config()?;
        let name = release.manifest.name.clone();
        let version = match version {
            Some(version) => version.clone(),
            None => match self.finished_releases.last(&name)? {
                Some(last) => last
                    .increment_release()
                    .map_err(|error| Problem::new(error.to_string()))?,
                None => Version::parse("1").map_err(|error| Problem::new(error.to_string()))?,
            },
        };
        if self.finished_releases.contains(&name, version.as_str())? {
            return Err(Problem::new(format!(
                "Release '{name}' version '{version}' already exists"
            )));
        }
        release.manifest.version = version.to_string();
        for ((kind, artifact), path) in &release.archives {
            self.finish_artifact(&release.manifest, *kind, artifact, path, &config, progress)?;
        }
        self.add_release(&self.finished_releases, &release.manifest, progress)
    }

    fn finish_artifact(
        &self,
        manifest: &ReleaseManifest,
        kind: Kind,
        name: &str,
        path: &Path,
        config: &Config,
        progress: &mut dyn Progress,
    ) -> Result<(), Problem> {
        let Some((fingerprint, digest)) = fingerprint_of(manifest, kind, name) else {
            return Ok(());
        };
        if self.finished.find(kind, name, fingerprint)?.is_some() {
            return Ok(());
        }
        let slug = format!("{name}/{fingerprint}");
        let digest = digest.to_owned();
        progress.event(&Event::Uploading {
            name: slug.clone(),
            digest: digest.clone(),
        });
        let id = self.blobs_of(config).put(path).inspect_err(|_| {
            progress.event(&Event::FailedUploading {
                name: slug.clone(),
                digest: digest.clone(),
            });
        })?;
        progress.event(&Event::Uploaded {
            name: slug,
            digest: digest.clone(),
        });
        let entry = Entry {
            blobstore_id: Some(id),
            digest,
        };
        self.finished.add(kind, name, fingerprint, &entry)
    }

    fn add_release(
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
        let development = self.development_releases.last(name)?;
        let finished = self.finished_releases.last(name)?;
        let last = match (development, finished) {
            (Some(development), Some(finished)) if finished > development => finished,
            (Some(development), _) => development,
            (None, Some(finished)) => finished,
            (None, None) => Version::parse("0+dev.0").map_err(bad)?,
        };
        match timestamp {
            Some(seconds) => last.with_post_release(&format!("dev.{seconds}")),
            None => last.increment_post_release(),
        }
        .map_err(bad)
    }

    fn warn_of_compression(&self, sources: &Sources, config: &Config, progress: &mut dyn Progress) {
        let names: Vec<_> = sources
            .packages
            .iter()
            .filter(|package| package.no_compression)
            .map(|package| package.name.as_str())
            .collect();
        if !names.is_empty() && !config.no_compression {
            progress.event(&Event::Warning(format!(
                "Warning: The following packages have no_compression: true in their spec files, but final.yml does \
                 not have no_compression: true. {}",
                names.join(", ")
            )));
        }
    }

    /// The newest release of the folder, development or final; with a version, that final one.
    pub fn find_release(
        &self,
        name: Option<&str>,
        version: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<Release, Problem> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => self.name()?,
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
            .within(|| format!("Reading manifest '{}'", path.display()))?;
        let manifest =
            ReleaseManifest::parse(&text).within(|| "Parsing release manifest".to_owned())?;
        let config = self.config()?;
        let mut archives = BTreeMap::new();
        let jobs = manifest
            .jobs
            .iter()
            .map(|job| (Kind::Job, &job.name, &job.fingerprint));
        let packages = manifest
            .packages
            .iter()
            .map(|package| (Kind::Package, &package.name, &package.fingerprint));
        let license = "license".to_owned();
        let licenses = manifest
            .license
            .iter()
            .map(|found| (Kind::License, &license, &found.fingerprint));
        for (kind, name, fingerprint) in jobs.chain(packages).chain(licenses) {
            let (_, archive) = self
                .find(kind, name, fingerprint, &config, progress)?
                .ok_or_else(|| Problem::new(format!("Expected to find '{name}/{fingerprint}'")))?;
            archives.insert((kind, name.clone()), archive);
        }
        Ok(Release::new(manifest, archives))
    }

    /// Deletes all that was built and downloaded: `.dev_builds`, `dev_releases`, `.blobs`, `blobs`.
    pub fn reset(&self) -> Result<(), Problem> {
        for folder in [".dev_builds", "dev_releases", ".blobs", "blobs"] {
            let path = self.root.join(folder);
            if path.exists() {
                fs_err::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    fn blobs_of<'a>(&'a self, config: &'a Config) -> Blobs<'a> {
        Blobs {
            release: &self.root,
            config,
        }
    }

    /// The large files of `config/blobs.yml`, by path.
    pub fn blobs(&self) -> Result<Vec<Blob>, Problem> {
        self.blobs_of(&self.config()?).list()
    }

    /// Copies a file into `blobs/` and tracks it.
    pub fn add_blob(&self, source: &Path, path: &str) -> Result<(), Problem> {
        self.blobs_of(&self.config()?).add(source, path)
    }

    /// Deletes a file from `blobs/` and forgets it.
    pub fn remove_blob(&self, path: &str) -> Result<(), Problem> {
        self.blobs_of(&self.config()?).remove(path)
    }

    /// Brings `blobs/` in line with the index.
    pub fn sync_blobs(&self, progress: &mut dyn Progress) -> Result<(), Problem> {
        self.blobs_of(&self.config()?).sync(progress)
    }

    /// Puts files that are only here into the release's blobstore.
    pub fn upload_blobs(&self, progress: &mut dyn Progress) -> Result<(), Problem> {
        self.blobs_of(&self.config()?).upload(progress)
    }
}

/// `((name))` and `((version))` of `--tarball` replaced; a folder is refused.
pub fn tarball_path(template: &str, manifest: &ReleaseManifest) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(
        template
            .replace("((name))", &manifest.name)
            .replace("((version))", &manifest.version),
    );
    if path.is_dir() {
        return Err(Problem::new("Path must not be directory"));
    }
    Ok(path)
}

fn fingerprint_of<'a>(
    manifest: &'a ReleaseManifest,
    kind: Kind,
    name: &str,
) -> Option<(&'a str, &'a str)> {
    match kind {
        Kind::Job => {
            let job = manifest.jobs.iter().find(|job| job.name == name)?;
            Some((&job.fingerprint, &job.digest))
        }
        Kind::Package => {
            let package = manifest
                .packages
                .iter()
                .find(|package| package.name == name)?;
            Some((&package.fingerprint, &package.digest))
        }
        Kind::License => {
            let license = manifest.license.as_ref()?;
            Some((&license.fingerprint, &license.digest))
        }
        Kind::CompiledPackage => None,
    }
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

/// Fingerprints of the packages a release lists, for asking the director which of them it has.
pub fn package_fingerprints(manifest: &ReleaseManifest) -> BTreeSet<String> {
    manifest
        .packages
        .iter()
        .map(|package| package.fingerprint.clone())
        .collect()
}
