//! The blobstore that a release folder names in its configuration (`docs/spec/releases-and-templates.md` §2.1, §10):
//! a folder, or what `crates/blobstore` reaches over HTTP.
//!
//! Called from threads that may block. Every operation has three attempts, and what is downloaded is verified.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use blobstore::{Blobstore, GcsBlobstore, S3Blobstore};
use domain::{BlobId, MultiDigest};
use serde_yaml::Value;

use super::config::Config;
use crate::document;
use crate::problem::{Problem, Within};

const ATTEMPTS: usize = 3;

/// Where a release's blobs and finished archives are kept.
pub(super) enum Store {
    Folder(PathBuf),
    Remote(Box<dyn Blobstore>),
}

impl Store {
    /// Opens what the configuration names. Only to be called when something is to be moved: a folder without a
    /// blobstore is fine otherwise.
    pub fn open(config: &Config, release: &Path) -> Result<Self, Problem> {
        let (provider, options) = config.blobstore()?;
        let options = match document::to_json(&Value::Mapping(options)) {
            serde_json::Value::Object(options) => options,
            _ => serde_json::Map::new(),
        };
        let opened: Result<Box<dyn Blobstore>, blobstore::Error> = match provider.as_str() {
            "local" => {
                let path = match options.get("blobstore_path") {
                    None => Err(Problem::new("missing blobstore_path")),
                    Some(path) => path
                        .as_str()
                        .ok_or_else(|| Problem::new("blobstore_path must be a string")),
                }?;
                return Ok(Self::Folder(release.join(path)));
            }
            "s3" => S3Blobstore::for_releases(options).map(|store| Box::new(store) as _),
            "gcs" => GcsBlobstore::new(&options).map(|store| Box::new(store) as _),
            _ => return Err(Problem::new("Expected release blobstore to be configured")),
        };
        opened.map(Self::Remote).map_err(|error| match error {
            blobstore::Error::Options { reason, .. } => {
                Problem::new(reason).within("Reading config")
            }
            other => tree(&other),
        })
    }

    /// Fetches an object, verified, to a path, where it is whole or not at all.
    pub fn get(&self, id: &str, digest: &str, target: &Path) -> Result<(), Problem> {
        let expected =
            MultiDigest::parse(digest).map_err(|error| Problem::new(error.to_string()))?;
        attempt(|| self.get_once(id, &expected, target))
            .within(|| "Getting blob from inner blobstore".to_owned())
    }

    fn get_once(&self, id: &str, expected: &MultiDigest, target: &Path) -> Result<(), Problem> {
        let temporary =
            tempfile::NamedTempFile::new().within(|| "Creating temporary file".to_owned())?;
        let inner = || "Getting blob from inner blobstore".to_owned();
        match self {
            Self::Folder(store) => {
                super::blobs::safe(id)?;
                let source = store.join(id);
                std::fs::copy(&source, temporary.path())
                    .map_err(|error| Problem::io("open", &source, &error))
                    .within(|| "Opening source path".to_owned())
                    .within(|| "Copying file".to_owned())
                    .within(inner)?;
            }
            Self::Remote(store) => {
                let id = BlobId::new(id);
                blocking(store.get_to_file(&id, temporary.path(), None)).within(inner)?;
            }
        }
        expected
            .verify(fs_err::File::open(temporary.path())?)
            .map_err(|error| Problem::new(error.to_string()))
            .within(|| format!("Checking downloaded blob '{id}'"))?;
        super::blobs::move_whole(temporary, target)
    }

    /// Stores a file under a fresh id.
    pub fn put(&self, file: &Path) -> Result<String, Problem> {
        attempt(|| self.put_once(file)).within(|| "Creating blob in inner blobstore".to_owned())
    }

    fn put_once(&self, file: &Path) -> Result<String, Problem> {
        let id = blobstore::new_id();
        match self {
            Self::Folder(store) => {
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o770)
                    .create(store)
                    .map_err(|error| Problem::io("mkdir", store, &error))
                    .within(|| "Making blobstore path".to_owned())?;
                super::blobs::copy_whole(file, &store.join(id.as_str()))?;
            }
            Self::Remote(store) => blocking(store.put_file(&id, file))?,
        }
        Ok(id.to_string())
    }
}

fn attempt<T>(mut action: impl FnMut() -> Result<T, Problem>) -> Result<T, Problem> {
    for _ in 1..ATTEMPTS {
        if let Ok(done) = action() {
            return Ok(done);
        }
    }
    action()
}

/// Runs a transfer to its end on a thread of its own: the caller's may already belong to a runtime.
fn blocking<T: Send>(
    transfer: impl Future<Output = Result<T, blobstore::Error>> + Send,
) -> Result<T, Problem> {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(transfer).map_err(|error| tree(&error))
        });
        run.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// An error with its sources, one level each.
fn tree(error: &(dyn std::error::Error + 'static)) -> Problem {
    let text = error.to_string();
    match error.source() {
        Some(source) => tree(source).within(text),
        None => Problem::new(text),
    }
}
