//! `release.MF`, also the content of `releases/<name>/<name>-<version>.yml`: `docs/spec/releases-and-templates.md` §3.1.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_yaml::Value;

use crate::document::{self, get, get_bool, get_text, scalar};
use crate::problem::Problem;
use crate::progress::Kind;

/// A release manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleaseManifest {
    /// The release's name, as written.
    pub name: String,
    /// The release's version, as written.
    pub version: String,
    /// `git rev-parse --short HEAD`, `non-git`, `empty`; absent in foreign releases.
    pub commit_hash: Option<String>,
    /// Whether the work tree had changes that were forced.
    pub uncommitted_changes: bool,
    /// The jobs.
    pub jobs: Vec<JobRef>,
    /// The source packages.
    pub packages: Vec<PackageRef>,
    /// The compiled packages. `Some` (also of nothing) makes the release a compiled one.
    pub compiled_packages: Option<Vec<CompiledPackageRef>>,
    /// The license archive.
    pub license: Option<LicenseRef>,
    /// Whether the tarball is not compressed.
    pub no_compression: bool,
    /// Whether the document has a list under `packages`: a manifest without one names no packages to match.
    pub has_packages: bool,
}

/// A job of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRef {
    /// Its name.
    pub name: String,
    /// Its version: today the fingerprint.
    pub version: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The digest string of its archive (the key is called `sha1`).
    pub digest: String,
    /// The packages it needs at run time; releases of other tools may leave them out.
    pub packages: Vec<String>,
}

/// A source package of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRef {
    /// Its name.
    pub name: String,
    /// Its version: today the fingerprint.
    pub version: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The digest string of its archive.
    pub digest: String,
    /// The packages it needs to be compiled.
    pub dependencies: Vec<String>,
}

impl PackageRef {
    fn artifact_mut(&mut self, kind: Kind) -> ArtifactMut<'_> {
        ArtifactMut {
            kind,
            name: &self.name,
            fingerprint: &self.fingerprint,
            digest: &mut self.digest,
        }
    }
}

/// A package compiled for one stemcell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledPackageRef {
    /// Name, version, fingerprint, digest of the compiled archive, dependencies.
    pub package: PackageRef,
    /// `os/version`.
    pub stemcell: String,
}

/// The license archive of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicenseRef {
    /// The fingerprint.
    pub fingerprint: String,
    /// The digest string of `license.tgz`.
    pub digest: String,
}

/// Names one version of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactId<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its name; `license` for the license.
    pub name: &'a str,
    /// Its fingerprint.
    pub fingerprint: &'a str,
}

impl ArtifactId<'_> {
    /// `name/fingerprint`.
    pub fn slug(&self) -> String {
        format!("{}/{}", self.name, self.fingerprint)
    }

    /// What archives are kept by.
    pub(crate) fn key(&self) -> (Kind, String) {
        (self.kind, self.name.to_owned())
    }

    /// No index has it.
    pub(crate) fn missing(&self) -> Problem {
        Problem::new(format!("Expected to find '{}'", self.slug()))
    }
}

/// What a manifest lists, with the digest to be replaced.
#[derive(Debug)]
pub struct ArtifactMut<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its name; `license` for the license.
    pub name: &'a str,
    /// Its fingerprint.
    pub fingerprint: &'a str,
    /// The digest string of its archive.
    pub digest: &'a mut String,
}

impl<'a> ArtifactMut<'a> {
    /// Which it is, without the digest.
    pub fn id(&self) -> ArtifactId<'a> {
        ArtifactId {
            kind: self.kind,
            name: self.name,
            fingerprint: self.fingerprint,
        }
    }
}

impl ReleaseManifest {
    /// Jobs, packages, compiled packages and the license, in this order.
    pub fn artifacts_mut(&mut self) -> Vec<ArtifactMut<'_>> {
        let jobs = self.jobs.iter_mut().map(|job| ArtifactMut {
            kind: Kind::Job,
            name: &job.name,
            fingerprint: &job.fingerprint,
            digest: &mut job.digest,
        });
        let packages = self
            .packages
            .iter_mut()
            .map(|package| package.artifact_mut(Kind::Package));
        let compiled = self.compiled_packages.iter_mut().flatten();
        let compiled =
            compiled.map(|compiled| compiled.package.artifact_mut(Kind::CompiledPackage));
        let license = self.license.iter_mut().map(|license| ArtifactMut {
            kind: Kind::License,
            name: "license",
            fingerprint: &license.fingerprint,
            digest: &mut license.digest,
        });
        jobs.chain(packages)
            .chain(compiled)
            .chain(license)
            .collect()
    }

    /// Reads a manifest; unknown keys, bare numbers and missing lists are tolerated.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        Self::from_value(&document::texts_of(text)?)
    }

    /// The same as the director reads it: a name like `y` is a text there, and a boolean for the command line.
    pub fn parse_for_director(text: &str) -> Result<Self, Problem> {
        Self::from_value(&document::parse_for_director(text)?)
    }

    fn from_value(value: &Value) -> Result<Self, Problem> {
        if !value.is_mapping() {
            return Err(Problem::new("Release manifest must be a map"));
        }
        let has_packages = get(value, "packages").is_some_and(Value::is_sequence);
        let compiled = get(value, "compiled_packages").is_some_and(Value::is_sequence);
        let license = get(value, "license").map(|license| LicenseRef {
            fingerprint: get_text(license, "fingerprint")
                .or_else(|| get_text(license, "version"))
                .unwrap_or_default(),
            digest: get_text(license, "sha1").unwrap_or_default(),
        });
        Ok(Self {
            name: get_text(value, "name").unwrap_or_default(),
            version: get_text(value, "version").unwrap_or_default(),
            commit_hash: get_text(value, "commit_hash"),
            uncommitted_changes: get_bool(value, "uncommitted_changes"),
            jobs: list(value, "jobs").map(job_ref).collect(),
            packages: list(value, "packages").map(package_ref).collect(),
            compiled_packages: compiled.then(|| {
                list(value, "compiled_packages")
                    .map(|item| CompiledPackageRef {
                        package: package_ref(item),
                        stemcell: get_text(item, "stemcell").unwrap_or_default(),
                    })
                    .collect()
            }),
            license: license.filter(|license| !license.digest.is_empty()),
            no_compression: get_bool(value, "no_compression"),
            has_packages,
        })
    }

    /// Fingerprints of the packages it lists, for asking the director which of them it has.
    pub fn package_fingerprints(&self) -> BTreeSet<String> {
        self.packages
            .iter()
            .map(|package| package.fingerprint.clone())
            .collect()
    }

    /// Whether this is a compiled release.
    pub fn is_compiled(&self) -> bool {
        self.compiled_packages.is_some()
    }

    /// `name/version`.
    pub fn slug(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }

    /// The document with keys in the original's order and presence.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        let commit_hash = self.commit_hash.as_deref().unwrap_or_default();
        line(&mut out, "", "name", &scalar(&self.name));
        line(&mut out, "", "version", &scalar(&self.version));
        line(&mut out, "", "commit_hash", &scalar(commit_hash));
        line(
            &mut out,
            "",
            "uncommitted_changes",
            &self.uncommitted_changes.to_string(),
        );
        if !self.jobs.is_empty() {
            out.push_str("jobs:\n");
        }
        for job in &self.jobs {
            artifact(
                &mut out,
                &job.name,
                &job.version,
                &job.fingerprint,
                &job.digest,
            );
            names(&mut out, "packages", &job.packages);
        }
        if !self.packages.is_empty() {
            out.push_str("packages:\n");
        }
        for package in &self.packages {
            let PackageRef {
                name,
                version,
                fingerprint,
                digest,
                dependencies,
            } = package;
            artifact(&mut out, name, version, fingerprint, digest);
            names(&mut out, "dependencies", dependencies);
        }
        let compiled = self.compiled_packages.as_deref().unwrap_or_default();
        if !compiled.is_empty() {
            out.push_str("compiled_packages:\n");
        }
        for CompiledPackageRef { package, stemcell } in compiled {
            let PackageRef {
                name,
                version,
                fingerprint,
                digest,
                dependencies,
            } = package;
            artifact(&mut out, name, version, fingerprint, digest);
            line(&mut out, "  ", "stemcell", &scalar(stemcell));
            names(&mut out, "dependencies", dependencies);
        }
        if let Some(license) = &self.license {
            out.push_str("license:\n");
            line(&mut out, "  ", "version", &scalar(&license.fingerprint));
            line(&mut out, "  ", "fingerprint", &scalar(&license.fingerprint));
            line(&mut out, "  ", "sha1", &scalar(&license.digest));
        }
        line(
            &mut out,
            "",
            "no_compression",
            &self.no_compression.to_string(),
        );
        out
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    get(value, key)
        .and_then(Value::as_sequence)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn job_ref(item: &Value) -> JobRef {
    JobRef {
        name: get_text(item, "name").unwrap_or_default(),
        version: get_text(item, "version").unwrap_or_default(),
        fingerprint: get_text(item, "fingerprint")
            .or_else(|| get_text(item, "version"))
            .unwrap_or_default(),
        digest: get_text(item, "sha1").unwrap_or_default(),
        packages: document::texts(item, "packages").unwrap_or_default(),
    }
}

fn package_ref(item: &Value) -> PackageRef {
    PackageRef {
        name: get_text(item, "name").unwrap_or_default(),
        version: get_text(item, "version").unwrap_or_default(),
        fingerprint: get_text(item, "fingerprint")
            .or_else(|| get_text(item, "version"))
            .unwrap_or_default(),
        digest: get_text(item, "sha1").unwrap_or_default(),
        dependencies: document::texts(item, "dependencies").unwrap_or_default(),
    }
}

fn line(out: &mut String, indent: &str, key: &str, value: &str) {
    let value = if value.is_empty() { "\"\"" } else { value };
    let _ = writeln!(out, "{indent}{key}: {value}");
}

fn artifact(out: &mut String, name: &str, version: &str, fingerprint: &str, digest: &str) {
    let _ = writeln!(out, "- name: {}", scalar(name));
    line(out, "  ", "version", &scalar(version));
    line(out, "  ", "fingerprint", &scalar(fingerprint));
    line(out, "  ", "sha1", &scalar(digest));
}

fn names(out: &mut String, key: &str, names: &[String]) {
    if names.is_empty() {
        let _ = writeln!(out, "  {key}: []");
        return;
    }
    let _ = writeln!(out, "  {key}:");
    for name in names {
        let _ = writeln!(out, "  - {}", scalar(name));
    }
}
