//! The task `update_release`: one uploaded tarball into rows and blobs (releases-and-templates.md §12.2).
//!
//! ```text
//! download? verify? -> unpack -> check manifest -> lock -> version row (not completed)
//!   -> packages -> compiled packages -> jobs -> version row (completed)
//! ```
//!
//! Repeated by another worker it ends the same: rows are made if missing, and the blobs of one task have ids that
//! follow from the task, so a second attempt writes over the first one's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::BlobId;
use journal::StepKind;
use release_archive::{Kind, ReleaseManifest};
use serde::{Deserialize, Serialize};

use super::{manifest, rebase};
use crate::blobs::{Incoming, Noun, blocking};
use crate::error::{Error, code};
use crate::services::Services;
use crate::store::releases::{self as rows, Release, ReleaseVersion};
use crate::tasks::{Context, Handler};

/// Arguments of the task, as the API queues it.
#[derive(Clone, Serialize, Deserialize)]
pub struct UploadArgs {
    #[serde(flatten)]
    pub source: Incoming,
    /// Digest string of a remote tarball.
    #[serde(default)]
    pub sha1: Option<String>,
    #[serde(default)]
    pub rebase: bool,
    #[serde(default)]
    pub fix: bool,
}

/// Handler of `update_release`.
pub struct Upload;

/// How long to wait for another upload of the same release.
const LOCK_TIMEOUT: Duration = Duration::from_secs(300);

#[async_trait]
impl Handler for Upload {
    async fn run(&self, context: &Context) -> Result<String, Error> {
        let args: UploadArgs = context.args()?;
        let work = WorkFolder::new(&context.services, context.task.id)?;
        let result = run(context, &args, &work).await;
        if result
            .as_ref()
            .err()
            .is_none_or(|error| !error.is_interrupted())
        {
            work.remove(&args.source);
        }
        result
    }
}

/// A folder of the task below the data folder.
pub(crate) struct WorkFolder(PathBuf);

impl WorkFolder {
    pub fn new(services: &Services, task: i64) -> Result<WorkFolder, Error> {
        let folder = services
            .settings
            .data_dir
            .join("tmp")
            .join(format!("task-{task}"));
        // What an earlier attempt left is worth nothing.
        let _ = fs_err::remove_dir_all(&folder);
        fs_err::create_dir_all(&folder).map_err(disk)?;
        Ok(WorkFolder(folder))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Deletes the folder.
    pub fn discard(&self) {
        if let Err(error) = fs_err::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a task's work folder stays behind");
        }
    }

    /// Deletes the folder, and the uploaded file with it.
    pub fn remove(&self, source: &Incoming) {
        self.discard();
        if let Incoming::File(path) = source
            && let Err(error) = fs_err::remove_file(path)
        {
            tracing::warn!(%error, "an uploaded file stays behind");
        }
    }
}

pub(super) fn disk(error: std::io::Error) -> Error {
    Error::new(
        code::SYSTEM_ERROR,
        "The director's data folder can't be written.",
    )
    .hint("Check the space on its disk.")
    .caused_by(error)
}

async fn run(context: &Context, args: &UploadArgs, work: &WorkFolder) -> Result<String, Error> {
    let events = &context.events;
    let tarball = match &args.source {
        Incoming::File(path) => path.clone(),
        Incoming::Remote(url) => {
            let tarball = work.path("release.tgz");
            events
                .single(
                    "Downloading remote release",
                    Noun::Release.download(url, &tarball),
                )
                .await?;
            if let Some(digest) = &args.sha1 {
                events
                    .single(
                        "Verifying remote release",
                        Noun::Release.verify(&tarball, digest),
                    )
                    .await?;
            }
            tarball
        }
    };
    let folder = work.path("release");
    events
        .single("Extracting release", extract(tarball, folder.clone()))
        .await?;
    let mut manifest = events
        .single("Verifying manifest", async {
            let text = fs_err::tokio::read_to_string(folder.join("release.MF"))
                .await
                .map_err(|error| {
                    Error::new(
                        code::RELEASE_MANIFEST_NOT_FOUND,
                        "Release manifest not found",
                    )
                    .caused_by(error)
                })?;
            manifest::parse(&text)
        })
        .await?;
    let lock = context
        .lock(&format!("lock:release:{}", manifest.name), LOCK_TIMEOUT)
        .await?;
    let ended = take_in(context, args, &mut manifest, folder).await;
    let released = lock.release().await;
    let result = ended?;
    released?;
    Ok(result)
}

async fn extract(tarball: PathBuf, folder: PathBuf) -> Result<(), Error> {
    let unpacked = blocking(move || -> std::io::Result<()> {
        fs_err::create_dir_all(&folder)?;
        release_archive::tarball::unpack(fs_err::File::open(tarball)?.into_parts().0, &folder)
    });
    unpacked.await.map_err(|error| {
        let text = "Extracting release archive failed. Check task debug log for details.";
        Error::new(code::RELEASE_INVALID_ARCHIVE, text).caused_by(error)
    })
}

async fn take_in(
    context: &Context,
    args: &UploadArgs,
    manifest: &mut ReleaseManifest,
    folder: PathBuf,
) -> Result<String, Error> {
    let services = &context.services;
    let db = services.store.pool();
    let release = rows::ensure(db, &manifest.name).await?;
    if args.rebase {
        manifest.version = context
            .step("rebase", StepKind::RecordDeployment, async |_| {
                let versions = rows::versions_of(db, release.id).await?;
                let existing: Vec<String> = versions.into_iter().map(|row| row.version).collect();
                rebase::next(&manifest.version, &existing)
            })
            .await?;
    }
    // Recorded, because a second attempt finds the version that the first one has begun.
    let earlier_incomplete = context
        .step("version", StepKind::RecordDeployment, async |_| {
            begin(context, &release, manifest).await
        })
        .await?;
    let version = rows::find_version(db, &release.name, std::slice::from_ref(&manifest.version))
        .await?
        .ok_or(crate::store::Error::RowNotFound)?;
    let upload = UploadWork {
        context,
        services,
        release,
        version,
        manifest,
        folder: &folder,
        fix: args.fix || earlier_incomplete,
    };
    upload.run().await
}

/// Makes or takes up the version's row; says whether an earlier upload of it was left incomplete.
async fn begin(
    context: &Context,
    release: &Release,
    manifest: &ReleaseManifest,
) -> Result<bool, Error> {
    let db = context.services.store.pool();
    let commit_hash = manifest
        .commit_hash
        .as_deref()
        .filter(|hash| !hash.is_empty());
    let (version, new) = rows::ensure_version(
        db,
        release,
        &manifest.version,
        commit_hash,
        manifest.uncommitted_changes,
    )
    .await?;
    let same = version.commit_hash.as_deref() == commit_hash
        && version.uncommitted_changes == manifest.uncommitted_changes;
    if !same {
        let text = format!(
            "release '{}' has already been uploaded with commit_hash as '{}' and uncommitted_changes as '{}'",
            manifest.slug(),
            version.commit_hash.unwrap_or_default(),
            manifest.uncommitted_changes
        );
        return Err(Error::new(code::RELEASE_VERSION_COMMIT_HASH_MISMATCH, text));
    }
    let incomplete = !new && !version.update_completed;
    rows::set_completed(db, version.id, false).await?;
    Ok(incomplete)
}

/// An upload whose version row is there.
pub(super) struct UploadWork<'a> {
    pub context: &'a Context,
    pub services: &'a Arc<Services>,
    pub release: Release,
    pub version: ReleaseVersion,
    pub manifest: &'a ReleaseManifest,
    /// The unpacked tarball.
    pub folder: &'a Path,
    /// Replace what is stored by what is in the tarball.
    pub fix: bool,
}

impl UploadWork<'_> {
    async fn run(&self) -> Result<String, Error> {
        let events = &self.context.events;
        events
            .single("Resolving package dependencies", async {
                manifest::check_dependencies(self.manifest)
            })
            .await?;
        self.packages().await?;
        self.compiled_packages().await?;
        self.jobs().await?;
        let slug = self.slug();
        let stage = if self.manifest.is_compiled() {
            "Compiled Release has been created"
        } else {
            "Release has been created"
        };
        events
            .stage(stage, &[], 1)
            .run(&slug, async {
                Ok(rows::set_completed(self.services.store.pool(), self.version.id, true).await?)
            })
            .await?;
        Ok(format!("Created release '{slug}'"))
    }

    pub fn slug(&self) -> String {
        format!("{}/{}", self.release.name, self.version.version)
    }

    /// Where the archive of an artifact should be.
    pub fn archive(&self, kind: Kind, name: &str) -> PathBuf {
        let folder = match kind {
            Kind::Job => "jobs",
            Kind::CompiledPackage => "compiled_packages",
            Kind::Package | Kind::License => "packages",
        };
        self.folder.join(folder).join(format!("{name}.tgz"))
    }

    /// The blob id of an artifact: the same whenever this task is run.
    pub fn blob_id(&self, kind: Kind, name: &str, fingerprint: &str) -> BlobId {
        let key = format!(
            "{}/{}/{kind}/{name}/{fingerprint}",
            self.services.director_uuid, self.context.task.id
        );
        BlobId::new(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, key.as_bytes()).to_string())
    }
}

/// `1 existing package`, `3 existing packages`.
pub(super) fn existing(count: usize, noun: &str) -> String {
    format!(
        "Processing {count} existing {noun}{}",
        if count == 1 { "" } else { "s" }
    )
}
