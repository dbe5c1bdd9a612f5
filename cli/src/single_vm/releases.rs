//! The releases of a manifest, unpacked: jobs to render, packages to compile in the order of their needs.

use super::manifest::{JobRef, ReleaseRef};
use crate::error::{Error, Result, Within};
use release_archive::manifest::PackageRef;
use release_archive::{JobArchive, Kind, Release};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// All releases of a manifest, in its order.
#[derive(Default)]
pub struct Releases(Vec<Unpacked>);

/// One release; its files go with the value.
pub struct Unpacked(Release);

/// A job with its templates.
pub struct Job {
    pub name: String,
    pub release: String,
    pub fingerprint: String,
    pub archive: JobArchive,
}

/// A package that jobs need.
#[derive(Clone)]
pub struct Package {
    pub name: String,
    pub fingerprint: String,
    /// Digest string of the archive.
    pub digest: String,
    pub archive: PathBuf,
    /// Names of the packages it is compiled with.
    pub dependencies: Vec<String>,
    pub is_compiled: bool,
}

impl Releases {
    /// Unpacks and checks a release's tarball below `temporary`.
    pub fn add(&mut self, wanted: &ReleaseRef, tarball: &Path, temporary: &Path) -> Result<()> {
        let release = Release::read(tarball, temporary)
            .and_then(|release| release.verify().map(|()| release))
            .map_err(Error::from)
            .within(|| format!("Extracting release '{}'", tarball.display()))?;
        if release.manifest.name != wanted.name {
            return Err(Error::message(format!(
                "Release name '{}' does not match the name in release tarball '{}'",
                wanted.name, release.manifest.name
            )));
        }
        self.0.push(Unpacked(release));
        Ok(())
    }

    pub fn find(&self, name: &str) -> Option<&Unpacked> {
        self.0.iter().find(|release| release.name() == name)
    }

    /// Name and version of each.
    pub fn versions(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .map(|Unpacked(release)| {
                let manifest = &release.manifest;
                (manifest.name.clone(), manifest.version.clone())
            })
            .collect()
    }

    /// Reads the jobs with their templates.
    pub fn jobs(&self, wanted: &[JobRef]) -> Result<Vec<Job>> {
        wanted.iter().map(|job| self.job(job)).collect()
    }

    fn job(&self, wanted: &JobRef) -> Result<Job> {
        let JobRef { name, release, .. } = wanted;
        let resolving = || format!("Resolving job '{name}' in release '{release}'");
        let found = self
            .find(release)
            .and_then(|release| Some((release, release.job(name)?)));
        let Some((release, listed)) = found else {
            return Err(Error::message(resolving()));
        };
        let path = release.0.archive(Kind::Job, name);
        let path = path.ok_or_else(|| Error::message(resolving()))?;
        let file = fs_err::File::open(path)?;
        let archive = JobArchive::read(name, &listed.fingerprint, file)
            .map_err(|error| Error::from_chain(&error))
            .within(resolving)?;
        Ok(Job {
            name: name.clone(),
            release: release.name().to_owned(),
            fingerprint: listed.fingerprint.clone(),
            archive,
        })
    }

    /// All packages that the jobs need, those that others need first. What a job needs is in its own spec: the manifest
    /// of a release need not list it.
    pub fn packages(&self, jobs: &[Job]) -> Result<Vec<Package>> {
        let mut ordered = Vec::new();
        for job in jobs {
            let Some(release) = self.find(&job.release) else {
                continue;
            };
            for name in &job.archive.spec.packages {
                release.visit(name, &mut ordered, &mut BTreeSet::new())?;
            }
        }
        Ok(ordered)
    }
}

impl Unpacked {
    pub fn name(&self) -> &str {
        &self.0.manifest.name
    }

    pub fn job(&self, name: &str) -> Option<&release_archive::manifest::JobRef> {
        self.0.manifest.jobs.iter().find(|job| job.name == name)
    }

    /// Puts a package behind what it needs. `above` are those that need it.
    fn visit(
        &self,
        name: &str,
        ordered: &mut Vec<Package>,
        above: &mut BTreeSet<String>,
    ) -> Result<()> {
        if ordered.iter().any(|package| package.name == name) {
            return Ok(());
        }
        if !above.insert(name.to_owned()) {
            return Err(
                Error::message("Circular dependency detected while sorting packages")
                    .within("Resolving job package dependencies"),
            );
        }
        let package = self.package(name)?;
        for dependency in &package.dependencies {
            self.visit(dependency, ordered, above)?;
        }
        above.remove(name);
        ordered.push(package);
        Ok(())
    }

    fn package(&self, name: &str) -> Result<Package> {
        let manifest = &self.0.manifest;
        let compiled = manifest
            .compiled_packages
            .iter()
            .flatten()
            .map(|compiled| (&compiled.package, true, Kind::CompiledPackage));
        let source = manifest
            .packages
            .iter()
            .map(|package| (package, false, Kind::Package));
        let found = source
            .chain(compiled)
            .find(|(package, ..)| package.name == name)
            .and_then(|(package, is_compiled, kind)| {
                Some((package, is_compiled, self.0.archive(kind, name)?))
            });
        let Some((listed, is_compiled, archive)) = found else {
            return Err(Error::message(format!(
                "Release '{}' has no package '{name}' with an archive; create or export it again",
                self.name()
            )));
        };
        let PackageRef {
            fingerprint,
            digest,
            dependencies,
            ..
        } = listed.clone();
        Ok(Package {
            name: name.to_owned(),
            fingerprint,
            digest,
            archive: archive.to_owned(),
            dependencies,
            is_compiled,
        })
    }
}

impl Package {
    /// Names the outcome of compiling it: itself and all that it is compiled with.
    pub fn key(&self, all: &[Package]) -> String {
        let mut names = BTreeSet::new();
        collect(self, all, &mut names);
        let needs: Vec<String> = all
            .iter()
            .filter(|package| names.contains(&package.name))
            .map(|package| format!("{}:{}", package.name, package.fingerprint))
            .collect();
        format!("{}/{}/{}", self.name, self.fingerprint, needs.join(","))
    }
}

fn collect(package: &Package, all: &[Package], names: &mut BTreeSet<String>) {
    for name in &package.dependencies {
        if names.insert(name.clone())
            && let Some(found) = all.iter().find(|other| other.name == *name)
        {
            collect(found, all, names);
        }
    }
}
