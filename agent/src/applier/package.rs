//! Compiled packages: one archive each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_protocol::{ApplySpec, BlobstoreHeaders, PackageSpec};
use fs_err as fs;
use futures_util::stream::{self, TryStreamExt};
use tempfile::TempDir;

use super::job::check_name;
use super::{collect_garbage, directory_name, identity};
use crate::archive;
use crate::blobs::{BlobRef, Blobs, blocking};
use crate::error::{Context, Result, plain};
use crate::files;
use crate::layout::Layout;
use crate::platform::Platform;

/// A package as one spec wants it.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Where its files are, or will be.
    pub bundle: PathBuf,
}

/// How to get a compiled package.
#[derive(Clone)]
pub struct Source {
    /// The package's name.
    pub name: String,
    /// `<package version>.<build>`.
    pub version: String,
    /// Digest of the archive.
    pub digest: String,
    /// Blob id or empty.
    pub blob_id: String,
    /// Signed URL or empty.
    pub signed_url: String,
    /// Headers for the URL.
    pub headers: BlobstoreHeaders,
}

impl From<&PackageSpec> for Source {
    fn from(spec: &PackageSpec) -> Self {
        Self {
            name: spec.name.clone(),
            version: spec.version.clone(),
            digest: spec.sha1.clone(),
            blob_id: spec.blobstore_id.clone(),
            signed_url: spec.signed_url.clone(),
            headers: spec.blobstore_headers.clone(),
        }
    }
}

/// The packages of a spec, by name.
pub fn packages_of(layout: &Layout, spec: &ApplySpec) -> Result<Vec<Package>> {
    let packages: BTreeMap<_, _> = spec.packages.clone().unwrap_or_default();
    packages
        .values()
        .map(|package| package_of(layout, &package.into()))
        .collect()
}

/// Where one package goes.
pub fn package_of(layout: &Layout, source: &Source) -> Result<Package> {
    check_name("package", &source.name)?;
    let identity = identity(&source.version, &source.digest)?;
    Ok(Package {
        name: source.name.clone(),
        bundle: bundle(layout, &source.name, &identity),
    })
}

/// Where a package goes that is only being compiled, so has no digest yet.
pub fn package_to_compile(layout: &Layout, name: &str, version: &str) -> Result<Package> {
    check_name("package", name)?;
    Ok(Package {
        name: name.to_owned(),
        bundle: bundle(layout, name, version),
    })
}

fn bundle(layout: &Layout, name: &str, identity: &str) -> PathBuf {
    layout
        .data_packages()
        .join(name)
        .join(directory_name(identity))
}

/// Fetches and unpacks the packages of a spec that aren't installed yet, several at a time.
pub async fn install(
    layout: &Layout,
    platform: &Arc<dyn Platform>,
    blobs: &Arc<Blobs>,
    spec: &ApplySpec,
    workers: usize,
    doing: &str,
) -> Result<()> {
    let sources: Vec<Source> = spec
        .packages
        .iter()
        .flat_map(|packages| packages.values().map(Source::from))
        .collect();
    stream::iter(sources.into_iter().map(Ok))
        .try_for_each_concurrent(workers.max(1), |source| async move {
            install_one(layout, platform, blobs, &source)
                .await
                .map(drop)
                .with_context(|| format!("{doing} package {}", source.name))
        })
        .await
}

/// Fetches and unpacks one package unless it is there.
pub async fn install_one(
    layout: &Layout,
    platform: &Arc<dyn Platform>,
    blobs: &Blobs,
    source: &Source,
) -> Result<Package> {
    let package = package_of(layout, source)?;
    if package.bundle.is_dir() {
        return Ok(package);
    }
    let blob = BlobRef {
        signed_url: &source.signed_url,
        headers: &source.headers,
        blob_id: &source.blob_id,
        digest: &source.digest,
    };
    let file = blobs.get(&blob).await.context("Fetching package blob")?;
    make_parents(layout, platform.as_ref(), &package)?;
    let (bundle, packages) = (package.bundle.clone(), layout.data_packages());
    let platform = platform.clone();
    blocking(move || {
        let unpacked =
            TempDir::with_prefix_in(".unpack-", &packages).context("Getting temp dir")?;
        let content = unpacked.path().join("content");
        files::make_dir(&content, 0o755)?;
        platform.give_to_vcap(&content)?;
        archive::unpack(&file, &content)?;
        // The archive's own "." must not make the package unreadable for jobs.
        files::set_mode(&content, 0o755)?;
        fs::rename(&content, &bundle).map_err(plain)
    })
    .await?;
    Ok(package)
}

/// Makes the directories above a bundle.
pub fn make_parents(layout: &Layout, platform: &dyn Platform, package: &Package) -> Result<()> {
    let parent = package.bundle.parent().unwrap_or(Path::new("/"));
    for directory in [layout.data_packages().as_path(), parent] {
        if files::make_dir(directory, 0o755)? {
            platform.give_to_vcap(directory)?;
        }
    }
    Ok(())
}

/// Points `packages/<name>` at the bundle.
pub fn enable(layout: &Layout, package: &Package) -> Result<()> {
    files::make_dir(&layout.packages(), 0o755)?;
    files::point(&layout.packages().join(&package.name), &package.bundle).map(drop)
}

/// Removes packages that are not among these.
pub fn keep_only(layout: &Layout, packages: &[Package]) -> Result<()> {
    let wanted = packages.iter().map(|p| p.bundle.clone()).collect();
    collect_garbage(&layout.packages(), &layout.data_packages(), &wanted)
}
