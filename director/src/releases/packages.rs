//! Packages of an upload (releases-and-templates.md §12.3).

use release_archive::Kind;
use release_archive::manifest::PackageRef;

use super::upload::{UploadWork, existing};
use crate::blobs::{self, blocking};
use crate::error::{Error, code};
use crate::store::releases::{self as rows, Package};

impl UploadWork<'_> {
    /// Makes new packages, completes known ones, links all to the version.
    pub(super) async fn packages(&self) -> Result<(), Error> {
        let db = self.services.store.pool();
        let source = &self.manifest.packages;
        let compiled = self
            .manifest
            .compiled_packages
            .iter()
            .flatten()
            .map(|one| &one.package);
        let wanted: Vec<(&PackageRef, bool)> = source
            .iter()
            .map(|package| (package, true))
            .chain(compiled.map(|package| (package, false)))
            .collect();
        let linked = rows::packages_of(db, self.version.id).await?;
        for (package, _) in &wanted {
            let other =
                |row: &&Package| row.name == package.name && row.fingerprint != package.fingerprint;
            if linked.iter().any(|row| other(&row)) {
                let text = format!(
                    "package '{}' had different fingerprint in previously uploaded release '{}'",
                    package.name,
                    self.slug()
                );
                return Err(Error::new(code::RELEASE_INVALID_PACKAGE, text)
                    .hint("Give the release another version."));
            }
        }
        let known = rows::packages_of_release(db, self.release.id).await?;
        let row_of = |package: &PackageRef| {
            known
                .iter()
                .find(|row| row.name == package.name && row.version == package.version)
        };
        let (old, new): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|(package, _)| row_of(package).is_some());

        let stage = self
            .context
            .events
            .stage("Creating new packages", &[], new.len() as u64);
        for (package, has_source) in new {
            self.context.checkpoint().await?;
            let step = format!("{}/{}", package.name, package.version);
            stage
                .run(step, self.new_package(package, has_source))
                .await?;
        }
        if old.is_empty() {
            return Ok(());
        }
        let all = async {
            for (package, has_source) in &old {
                if let Some(row) = row_of(package) {
                    self.known_package(package, row, *has_source).await?;
                }
            }
            Ok(())
        };
        self.context
            .events
            .single(&existing(old.len(), "package"), all)
            .await
    }

    async fn new_package(&self, package: &PackageRef, has_source: bool) -> Result<(), Error> {
        let db = self.services.store.pool();
        let PackageRef {
            name,
            version,
            fingerprint,
            dependencies,
            ..
        } = package;
        let row = rows::ensure_package(
            db,
            self.release.id,
            name,
            version,
            fingerprint,
            dependencies,
        )
        .await?;
        if has_source {
            self.fill_source(package, &row).await?;
        }
        Ok(rows::link_package(db, self.version.id, row.id).await?)
    }

    async fn known_package(
        &self,
        package: &PackageRef,
        row: &Package,
        has_source: bool,
    ) -> Result<(), Error> {
        let db = self.services.store.pool();
        if has_source && row.blob_id.is_none() {
            self.fill_source(package, row).await?;
        } else if has_source && self.fix {
            self.replace_source(package, row).await?;
        }
        Ok(rows::link_package(db, self.version.id, row.id).await?)
    }

    /// Gives a package its source: a copy of the same one of another release, or the archive of the tarball.
    async fn fill_source(&self, package: &PackageRef, row: &Package) -> Result<(), Error> {
        let db = self.services.store.pool();
        let id = self.blob_id(Kind::Package, &package.name, &package.fingerprint);
        let same = if self.fix {
            None
        } else {
            rows::packages_with_fingerprints(db, std::slice::from_ref(&package.fingerprint))
                .await?
                .into_iter()
                .find_map(|other| Some((other.blob_id?, other.sha1?)))
        };
        let digest = match same {
            Some((blob, digest)) => {
                blobs::copy(
                    self.services,
                    &blob.into(),
                    &id,
                    blobs::Kind::ReleasePackage,
                )
                .await?;
                digest
            }
            None => {
                self.store_archive(Kind::Package, package, &id).await?;
                package.digest.clone()
            }
        };
        Ok(rows::set_package_source(db, row.id, id.as_str(), &digest).await?)
    }

    /// `--fix`: the tarball's archive in place of the stored one; what was compiled from that goes.
    async fn replace_source(&self, package: &PackageRef, row: &Package) -> Result<(), Error> {
        let db = self.services.store.pool();
        let id = self.blob_id(Kind::Package, &package.name, &package.fingerprint);
        self.store_archive(Kind::Package, package, &id).await?;
        rows::set_package_source(db, row.id, id.as_str(), &package.digest).await?;
        if let Some(old) = row.blob_id.as_deref().filter(|old| *old != id.as_str()) {
            blobs::delete(self.services, old, true).await?;
        }
        let compiled = rows::compiled_blobs_of(db, row.id).await?;
        rows::delete_compiled_of(db, row.id).await?;
        for blob in compiled {
            blobs::delete(self.services, &blob, true).await?;
        }
        Ok(())
    }

    /// Checks an archive of the tarball against its manifest and stores it.
    pub(super) async fn store_archive(
        &self,
        kind: Kind,
        package: &PackageRef,
        id: &domain::BlobId,
    ) -> Result<(), Error> {
        let path = self.archive(kind, &package.name);
        let (archive, digest) = (path.clone(), package.digest.clone());
        let checked = blocking(
            move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                release_archive::tarball::check(fs_err::File::open(&archive)?.into_parts().0)?;
                domain::MultiDigest::parse(&digest)?.verify(fs_err::File::open(&archive)?)?;
                Ok(())
            },
        );
        checked.await.map_err(|error| {
            let text = format!(
                "Extracting package '{}/{}' archive failed. Check task debug log for details.",
                package.name, package.version
            );
            self.context.debug(format!("{text} {error}"));
            Error::new(code::PACKAGE_INVALID_ARCHIVE, text).caused_by(error)
        })?;
        let blob_kind = match kind {
            Kind::CompiledPackage => blobs::Kind::CompiledPackage,
            _ => blobs::Kind::ReleasePackage,
        };
        blobs::store_file(self.services, id, blob_kind, &path).await
    }
}
