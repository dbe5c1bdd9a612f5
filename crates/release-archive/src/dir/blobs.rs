//! `config/blobs.yml`, the `blobs/` folder and the release's own blobstore (`docs/spec/releases-and-templates.md` §10).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Component, Path, PathBuf};

use domain::{Digest, DigestAlgorithm, MultiDigest};
use tempfile::NamedTempFile;
use walkdir::WalkDir;

use super::config::Config;
use super::store::Store;
use crate::document::{self, get_text, scalar};
use crate::parallel;
use crate::problem::{Problem, Within};
use crate::progress::{Event, Progress};

/// A large file of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Path below `blobs/` (and in the packages' `files`).
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Its id in the release's blobstore; absent while it is only here.
    pub object_id: Option<String>,
    /// Its digest string.
    pub digest: String,
}

/// The `blobs/` folder with its index.
pub(super) struct Blobs<'a> {
    pub release: &'a Path,
    pub config: &'a Config,
}

impl Blobs<'_> {
    /// The release's blobstore.
    pub fn store(&self) -> Result<Store, Problem> {
        Store::open(self.config, self.release)
    }

    fn index_path(&self) -> PathBuf {
        self.release.join("config/blobs.yml")
    }

    fn folder(&self) -> PathBuf {
        self.release.join("blobs")
    }

    pub fn list(&self) -> Result<Vec<Blob>, Problem> {
        let document = document::load(
            &self.index_path(),
            || "Reading blobs index".to_owned(),
            || "Unmarshalling blobs index".to_owned(),
        )?;
        let mut blobs: Vec<Blob> = document
            .as_mapping()
            .into_iter()
            .flatten()
            .filter_map(|(path, blob)| {
                Some(Blob {
                    path: document::text(path)?,
                    size: get_text(blob, "size")
                        .and_then(|size| size.replace('_', "").parse().ok())
                        .unwrap_or(0),
                    object_id: get_text(blob, "object_id").filter(|id| !id.is_empty()),
                    digest: get_text(blob, "sha").or_else(|| get_text(blob, "sha1"))?,
                })
            })
            .collect();
        for blob in &blobs {
            safe(&blob.path)?;
        }
        blobs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(blobs)
    }

    fn save(&self, blobs: &[Blob]) -> Result<(), Problem> {
        let sorted: BTreeMap<_, _> = blobs.iter().map(|blob| (&blob.path, blob)).collect();
        let mut out = String::new();
        if sorted.is_empty() {
            out.push_str("{}\n");
        }
        for (path, blob) in sorted {
            let _ = writeln!(out, "{}:\n  size: {}", scalar(path), blob.size);
            if let Some(id) = &blob.object_id {
                let _ = writeln!(out, "  object_id: {}", scalar(id));
            }
            let _ = writeln!(out, "  sha: {}", scalar(&blob.digest));
        }
        fs_err::write(self.index_path(), out)?;
        Ok(())
    }

    /// Copies a file in and tracks it.
    pub fn add(&self, source: &Path, path: &str) -> Result<(), Problem> {
        let doing = || "Tracking blob".to_owned();
        let opened = std::fs::File::open(source)
            .map_err(|error| Problem::io("open", source, &error))
            .within(|| "Opening blob".to_owned())?;
        safe(path).within(doing)?;
        let mut blobs = self.list().within(doing)?;
        let target = self.folder().join(path);
        drop(opened);
        copy_whole(source, &target).within(doing)?;
        let blob = Blob {
            path: path.to_owned(),
            size: fs_err::metadata(&target)?.len(),
            object_id: None,
            digest: digest_of(&target)?,
        };
        blobs.retain(|known| known.path != path);
        blobs.push(blob);
        self.save(&blobs)
    }

    /// Deletes and forgets a file, also one that isn't there.
    pub fn remove(&self, path: &str) -> Result<(), Problem> {
        let doing = || "Untracking blob".to_owned();
        safe(path).within(doing)?;
        let mut blobs = self.list().within(doing)?;
        let target = self.folder().join(path);
        remove(&target)?;
        let known = blobs.len();
        blobs.retain(|known| known.path != path);
        if blobs.len() == known {
            return Ok(());
        }
        self.save(&blobs)
    }

    /// Uploads what has no id yet; the index is saved after each.
    pub fn upload(&self, progress: &mut dyn Progress) -> Result<(), Problem> {
        let mut blobs = self.list()?;
        for i in 0..blobs.len() {
            if blobs[i].object_id.is_some() {
                continue;
            }
            let Blob {
                path, size, digest, ..
            } = blobs[i].clone();
            progress.event(&Event::BlobUploading {
                path: path.clone(),
                size,
                digest,
            });
            let put = self
                .store()
                .and_then(|store| store.put(&self.folder().join(&path)));
            match put {
                Ok(id) => {
                    progress.event(&Event::BlobUploaded {
                        path,
                        id: id.clone(),
                    });
                    blobs[i].object_id = Some(id);
                    self.save(&blobs)?;
                }
                Err(problem) => {
                    progress.event(&Event::BlobFailedUploading { path: path.clone() });
                    return Err(problem.within(format!("Creating blob for path '{path}'")));
                }
            }
        }
        Ok(())
    }

    /// Deletes files without an entry, downloads entries that are missing or wrong.
    pub fn sync(&self, parallel: usize, progress: &mut dyn Progress) -> Result<(), Problem> {
        let blobs = self.list()?;
        let folder = self.folder();
        let mut files = Vec::new();
        if folder.exists() {
            for entry in WalkDir::new(&folder) {
                let entry = entry.map_err(|error| Problem::new(error.to_string()))?;
                if entry.path_is_symlink() {
                    return Err(Problem::new(
                        "Bailing because symlinks found in blobs directory. If switching from CLI v1, please use the \
                         `reset-release` command.",
                    ));
                }
                if entry.file_type().is_file() {
                    files.push(entry.into_path());
                }
            }
        }
        for file in files {
            let below = file.strip_prefix(&folder).unwrap_or(&file);
            if !blobs.iter().any(|blob| Path::new(&blob.path) == below) {
                fs_err::remove_file(&file)?;
            }
        }
        let stored = blobs
            .iter()
            .filter_map(|blob| Some((blob, blob.object_id.as_deref()?)));
        parallel::each(stored, parallel, progress, |(blob, id), progress| {
            self.sync_one(blob, id, progress)
        })
        .map_err(Problem::together)?;
        Ok(())
    }

    fn sync_one(&self, blob: &Blob, id: &str, progress: &mut dyn Progress) -> Result<(), Problem> {
        let Blob {
            path, size, digest, ..
        } = blob;
        let target = self.folder().join(path);
        let expected =
            MultiDigest::parse(digest).map_err(|error| Problem::new(error.to_string()))?;
        if let Ok(file) = std::fs::File::open(&target)
            && expected.verify(file).is_ok()
        {
            return Ok(());
        }
        let (path, id) = (path.clone(), id.to_owned());
        progress.event(&Event::BlobDownloading {
            path: path.clone(),
            size: *size,
            id: id.clone(),
            digest: digest.clone(),
        });
        match self
            .store()
            .and_then(|store| store.get(&id, digest, &target))
        {
            Ok(()) => {
                progress.event(&Event::BlobDownloaded { path, id });
                Ok(())
            }
            Err(problem) => {
                progress.event(&Event::BlobFailedDownloading {
                    path: path.clone(),
                    id: id.clone(),
                });
                Err(problem.within(format!("Getting blob '{id}' for path '{path}'")))
            }
        }
    }
}

/// Copies by way of a temporary name, so that a half-made copy is never taken for the whole.
pub(super) fn copy_whole(source: &Path, target: &Path) -> Result<(), Problem> {
    let folder = target.parent().unwrap_or(target);
    fs_err::create_dir_all(folder)?;
    let temporary =
        NamedTempFile::new_in(folder).map_err(|error| Problem::io("create", folder, &error))?;
    fs_err::copy(source, temporary.path())?;
    temporary
        .persist(target)
        .map_err(|error| Problem::io("rename", target, &error.error))?;
    Ok(())
}

/// Moves a finished temporary file; by a copy where the target is on another disk.
pub(super) fn move_whole(source: NamedTempFile, target: &Path) -> Result<(), Problem> {
    fs_err::create_dir_all(target.parent().unwrap_or(target))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs_err::set_permissions(source.path(), mode)?;
    match source.persist(target) {
        Ok(_) => Ok(()),
        Err(other_disk) => copy_whole(other_disk.file.path(), target),
    }
}

/// Removes a file, a link or a whole folder; nothing there is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = fs_err::symlink_metadata(path).and_then(|found| {
        if found.is_dir() {
            fs_err::remove_dir_all(path)
        } else {
            fs_err::remove_file(path)
        }
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The SHA-256 digest string of a file.
pub(super) fn digest_of(path: &Path) -> Result<String, Problem> {
    Digest::of_reader(DigestAlgorithm::Sha256, fs_err::File::open(path)?)
        .map(|digest| digest.to_string())
        .map_err(|error| Problem::new(error.to_string()))
}

pub(super) fn safe(path: &str) -> Result<(), Problem> {
    let normal = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.is_empty() && Path::new(path).components().all(normal) {
        Ok(())
    } else {
        Err(Problem::new(format!(
            "Invalid blob path '{path}': must be a safe local path"
        )))
    }
}
