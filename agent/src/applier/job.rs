//! Jobs: all come in one archive of rendered templates, each as a folder of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_protocol::{ApplySpec, JobTemplate, RenderedTemplatesArchive};
use fs_err as fs;
use tempfile::TempDir;

use super::package::{self, Package};
use super::{collect_garbage, directory_name, identity};
use crate::archive;
use crate::blobs::{BlobRef, Blobs, blocking};
use crate::error::{Context, Error, Result, plain};
use crate::files;
use crate::layout::Layout;
use crate::platform::Platform;

/// A job as one spec wants it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Where its files are, or will be.
    pub bundle: PathBuf,
}

/// The jobs of a spec, in its order.
pub fn jobs_of(layout: &Layout, spec: &ApplySpec) -> Result<Vec<Job>> {
    let Some(archive) = &spec.rendered_templates_archive else {
        return Ok(Vec::new());
    };
    spec.jobs()
        .iter()
        .map(|template| job_of(layout, template, archive))
        .collect()
}

fn job_of(
    layout: &Layout,
    template: &JobTemplate,
    archive: &RenderedTemplatesArchive,
) -> Result<Job> {
    check_name("job", &template.name)?;
    let identity = identity(&template.version, &archive.sha1)?;
    let bundle = layout
        .data_jobs()
        .join(&template.name)
        .join(directory_name(&identity));
    Ok(Job {
        name: template.name.clone(),
        bundle,
    })
}

/// Names become path components.
pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(Error::new(format!(
            "'{name}' can't be the name of a {what}"
        )));
    }
    Ok(())
}

/// Fetches the archive once and unpacks the jobs that aren't installed yet. `doing` is put in front of each job's
/// errors, with its name.
pub async fn install(
    layout: &Layout,
    platform: &Arc<dyn Platform>,
    blobs: &Blobs,
    spec: &ApplySpec,
    doing: &str,
) -> Result<()> {
    let missing: Vec<Job> = jobs_of(layout, spec)?
        .into_iter()
        .filter(|job| !job.bundle.is_dir())
        .collect();
    let (Some(first), Some(archive)) = (missing.first(), &spec.rendered_templates_archive) else {
        return Ok(());
    };
    let blob = BlobRef {
        signed_url: "",
        headers: &Default::default(),
        blob_id: &archive.blobstore_id,
        digest: &archive.sha1,
    };
    let file = blobs
        .get(&blob)
        .await
        .context("Getting job source from blobstore")
        .with_context(|| format!("{doing} job {}", first.name))?;
    files::make_dir(&layout.data_jobs(), 0o750)?;
    platform.give_to_vcap(&layout.data_jobs())?;
    let (jobs_dir, platform, doing) = (layout.data_jobs(), platform.clone(), doing.to_owned());
    blocking(move || {
        let unpacked =
            TempDir::with_prefix_in(".unpack-", &jobs_dir).context("Getting temp dir")?;
        archive::unpack(&file, unpacked.path())?;
        for job in &missing {
            place(unpacked.path(), job, platform.as_ref())
                .with_context(|| format!("{doing} job {}", job.name))?;
        }
        Ok(())
    })
    .await
}

fn place(unpacked: &Path, job: &Job, platform: &dyn Platform) -> Result<()> {
    let source = unpacked.join(&job.name);
    if !source.is_dir() {
        return Err(Error::new(format!(
            "Installing job: the archive of rendered templates has no folder '{}'",
            job.name
        )));
    }
    set_permissions(&source, platform, false).context("Correcting file permissions")?;
    let parent = job.bundle.parent().unwrap_or(Path::new("/"));
    files::make_dir(parent, 0o750)?;
    platform.give_to_vcap(parent)?;
    fs::rename(&source, &job.bundle).map_err(plain)
}

/// Directories and programs 0750, other files 0640, all `root:vcap`.
fn set_permissions(path: &Path, platform: &dyn Platform, in_bin: bool) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(plain)?;
    if meta.is_symlink() {
        return Ok(());
    }
    let directory = meta.is_dir();
    files::set_mode(path, if directory || in_bin { 0o750 } else { 0o640 })?;
    platform.give_to_vcap(path)?;
    if directory {
        for entry in fs::read_dir(path).map_err(plain)? {
            let entry = entry.map_err(plain)?;
            set_permissions(
                &entry.path(),
                platform,
                in_bin || entry.file_name() == "bin",
            )?;
        }
    }
    Ok(())
}

/// Makes the directories that a job may write to.
pub fn make_directories(layout: &Layout, platform: &dyn Platform, job: &str) -> Result<()> {
    for parent in [layout.data_log(), layout.data_run(), layout.data()] {
        let path = parent.join(job);
        if files::make_dir(&path, 0o770)? {
            platform.give_to_vcap(&path)?;
        }
    }
    Ok(())
}

/// Points `jobs/<job>` at the installed bundle, gives it its packages, and makes its directories.
pub fn enable(
    layout: &Layout,
    platform: &dyn Platform,
    job: &Job,
    packages: &[Package],
) -> Result<()> {
    make_directories(layout, platform, &job.name)?;
    if files::make_dir(&layout.jobs(), 0o750)? {
        platform.give_to_vcap(&layout.jobs())?;
    }
    let links = job.bundle.join("packages");
    files::make_dir(&links, 0o755)?;
    let wanted: BTreeSet<_> = packages.iter().map(|p| p.name.as_str()).collect();
    for entry in fs::read_dir(&links).map_err(plain)? {
        let entry = entry.map_err(plain)?;
        if !wanted.contains(entry.file_name().to_string_lossy().as_ref()) {
            files::remove(&entry.path())?;
        }
    }
    for package in packages {
        files::point(&links.join(&package.name), &package.bundle)?;
    }
    files::point(&layout.job(&job.name), &job.bundle).map(drop)
}

/// Removes jobs that are not among these.
pub fn keep_only(layout: &Layout, jobs: &[Job]) -> Result<()> {
    let wanted = jobs.iter().map(|job| job.bundle.clone()).collect();
    collect_garbage(&layout.jobs(), &layout.data_jobs(), &wanted)
}

/// What a spec needs, all installed: the first half of `apply`, and all of `prepare`.
pub async fn install_all(
    layout: &Layout,
    platform: &Arc<dyn Platform>,
    blobs: &Arc<Blobs>,
    spec: &ApplySpec,
    workers: usize,
    doing: &str,
) -> Result<()> {
    install(layout, platform, blobs, spec, doing).await?;
    package::install(layout, platform, blobs, spec, workers, doing).await
}
