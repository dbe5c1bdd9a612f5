//! Packages of one release folder taken over by another (`docs/spec/releases-and-templates.md` §9.5).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::ReleaseDir;
use super::blobs::remove;
use crate::document::scalar;
use crate::manifest::{ArtifactId, PackageRef};
use crate::problem::{Problem, Within};
use crate::progress::{Kind, Progress};

impl ReleaseDir {
    /// Takes a package of the newest release of `source` over, with all that it depends on. `prefix` goes before every
    /// name. The archives go to this folder's blobstore unless they are there.
    pub fn vendor_package(
        &self,
        source: &ReleaseDir,
        package: &str,
        prefix: &str,
        progress: &mut dyn Progress,
    ) -> Result<(), Problem> {
        let release = source.find_release(None, None, progress)?;
        let known = |name: &str| {
            let mut packages = release.manifest.packages.iter();
            packages
                .find(|known| known.name == name)
                .ok_or_else(|| Problem::new(format!("Expected to find package '{name}'")))
        };
        let mut names = BTreeSet::new();
        let mut wanted = vec![known(package)?];
        let mut packages: Vec<&PackageRef> = Vec::new();
        while let Some(package) = wanted.pop() {
            if names.insert(&package.name) {
                packages.push(package);
                for dependency in &package.dependencies {
                    wanted.push(known(dependency)?);
                }
            }
        }
        let named = |name: &str| match prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}-{name}"),
        };
        let config = self.config()?;
        for package in &packages {
            let id = ArtifactId {
                kind: Kind::Package,
                name: &package.name,
                fingerprint: &package.fingerprint,
            };
            let archive = release
                .archive(id.kind, id.name)
                .ok_or_else(|| id.missing())?;
            let id = ArtifactId {
                name: &named(id.name),
                ..id
            };
            self.finish_artifact(id, (&package.digest, archive), &config, progress)
                .within(|| "Finalizing vendored package".to_owned())?;
        }
        for package in &packages {
            self.write_lock(package, &named)
                .within(|| "Writing vendored package".to_owned())?;
        }
        Ok(())
    }

    fn write_lock(
        &self,
        package: &PackageRef,
        named: &dyn Fn(&str) -> String,
    ) -> Result<(), Problem> {
        let name = named(&package.name);
        let folder = self.root.join("packages").join(&name);
        remove(&folder).within(|| format!("Removing package '{name}' dir"))?;
        fs_err::create_dir_all(&folder).within(|| format!("Creating package '{name}' dir"))?;
        let mut lock = format!(
            "name: {}\nfingerprint: {}\n",
            scalar(&name),
            scalar(&package.fingerprint)
        );
        if !package.dependencies.is_empty() {
            lock.push_str("dependencies:\n");
        }
        for dependency in &package.dependencies {
            let _ = writeln!(lock, "- {}", scalar(&named(dependency)));
        }
        fs_err::write(folder.join("spec.lock"), lock)
            .within(|| format!("Creating package '{name}' spec lock file"))
    }
}
