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
mod create;
mod find;
mod finish;
mod generate;
mod git;
mod index;
pub mod source;
mod store;
mod vendor;

use std::path::{Path, PathBuf};

use domain::version::Version;

pub use blobs::Blob;
use blobs::Blobs;
use config::Config;
pub use create::tarball_path;
use index::{ArtifactIndex, ReleaseIndex};

use crate::problem::Problem;
use crate::progress::Progress;

/// A release folder, with the cache of archives built or downloaded before.
#[derive(Debug, Clone)]
pub struct ReleaseDir {
    root: PathBuf,
    cache: PathBuf,
    development: ArtifactIndex,
    finished: ArtifactIndex,
    development_releases: ReleaseIndex,
    finished_releases: ReleaseIndex,
    parallel: usize,
}

/// What `create-release` was asked for.
#[derive(Debug, Clone, Default)]
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
            parallel: 5,
            root,
        }
    }

    /// So many artifacts are built, downloaded or uploaded at once; 5 unless told.
    #[must_use]
    pub fn at_once(mut self, parallel: usize) -> Self {
        self.parallel = parallel;
        self
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn config(&self) -> Result<Config, Problem> {
        Config::load(&self.root)
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

    /// Copies a file into `blobs/` and tracks it, as one that is only here.
    pub fn add_blob(&self, source: &Path, path: &str) -> Result<(), Problem> {
        self.blobs_of(&self.config()?).add(source, path)
    }

    /// Deletes a file from `blobs/` and forgets it.
    pub fn remove_blob(&self, path: &str) -> Result<(), Problem> {
        self.blobs_of(&self.config()?).remove(path)
    }

    /// Brings `blobs/` in line with the index.
    pub fn sync_blobs(&self, progress: &mut dyn Progress) -> Result<(), Problem> {
        self.blobs_of(&self.config()?).sync(self.parallel, progress)
    }

    /// Puts files that are only here into the release's blobstore.
    pub fn upload_blobs(&self, progress: &mut dyn Progress) -> Result<(), Problem> {
        self.blobs_of(&self.config()?).upload(progress)
    }
}
