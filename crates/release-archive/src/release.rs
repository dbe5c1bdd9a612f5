//! A release with its archives at hand: from a tarball or from a release folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use domain::{Digest, DigestAlgorithm, MultiDigest};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::manifest::ReleaseManifest;
use crate::problem::{Problem, Within};
use crate::progress::Kind;
use crate::tarball;

/// A release: its manifest, and where the archive of each artifact is.
#[derive(Debug)]
pub struct Release {
    /// The manifest.
    pub manifest: ReleaseManifest,
    /// Archive of each artifact by kind and name. Packages may be absent (the server has them).
    pub archives: BTreeMap<(Kind, String), PathBuf>,
    /// The tarball it was read from or written to.
    pub tarball: Option<PathBuf>,
    // Keeps what was unpacked until the release is dropped.
    _unpacked: Option<tempfile::TempDir>,
}

/// An artifact's archive with the digest that the manifest promises for it.
struct Listed<'a> {
    kind: Kind,
    name: &'a str,
    digest: &'a str,
}

impl Release {
    /// Puts a manifest and its archives together.
    pub fn new(manifest: ReleaseManifest, archives: BTreeMap<(Kind, String), PathBuf>) -> Self {
        Self {
            manifest,
            archives,
            tarball: None,
            _unpacked: None,
        }
    }

    /// Unpacks a tarball below `temporary` and reads its manifest. Digests are not compared yet: see
    /// [`Release::verify`].
    pub fn read(tarball: &Path, temporary: &Path) -> Result<Self, Problem> {
        let folder = tempfile::Builder::new()
            .prefix("bosh-release")
            .tempdir_in(temporary)
            .within(|| "Creating a temporary directory".to_owned())?;
        let extracting = || "Extracting release".to_owned();
        let file = std::fs::File::open(tarball)
            .map_err(|error| Problem::io("lstat", tarball, &error))
            .within(|| "Resolving tarball path".to_owned())
            .within(extracting)?;
        tarball::unpack(file, folder.path())
            .within(|| {
                format!(
                    "Unpacking '{}'; is it a release tarball?",
                    tarball.display()
                )
            })
            .within(extracting)?;
        let path = folder.path().join("release.MF");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Problem::io("open", &path, &error))
            .within(|| format!("Opening file {}", path.display()))
            .within(|| format!("Reading manifest '{}'", path.display()))?;
        let manifest =
            ReleaseManifest::parse(&text).within(|| "Parsing release manifest".to_owned())?;
        let mut archives = BTreeMap::new();
        for Listed { kind, name, .. } in listed(&manifest) {
            let path = folder.path().join(entry_name(kind, name));
            if path.is_file() {
                archives.insert((kind, name.to_owned()), path);
            }
        }
        Ok(Self {
            manifest,
            archives,
            tarball: Some(tarball.to_owned()),
            _unpacked: Some(folder),
        })
    }

    /// The archive of an artifact, if it is here.
    pub fn archive(&self, kind: Kind, name: &str) -> Option<&Path> {
        self.archives
            .get(&(kind, name.to_owned()))
            .map(PathBuf::as_path)
    }

    /// Compares every archive that is here with its listed digest, and dependencies with what is listed.
    pub fn verify(&self) -> Result<(), Problem> {
        self.problems_of(|listed| self.verify_archive(listed))
    }

    /// Compares dependencies with what is listed, without reading archives.
    pub fn verify_listing(&self) -> Result<(), Problem> {
        self.problems_of(|_| Ok(()))
    }

    fn verify_archive(&self, listed: &Listed<'_>) -> Result<(), Problem> {
        let Listed { kind, name, digest } = listed;
        let Some(path) = self.archive(*kind, name) else {
            return Ok(());
        };
        let file = fs_err::File::open(path)?;
        MultiDigest::parse(digest)
            .and_then(|digest| digest.verify(file))
            .map_err(|error| Problem::new(error.to_string()))
            .within(|| format!("Reading {kind} '{name}' from archive"))
    }

    fn problems_of(
        &self,
        check: impl Fn(&Listed<'_>) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut all = Vec::new();
        let mut missing = missing_packages(&self.manifest);
        for kind in [
            Kind::Package,
            Kind::CompiledPackage,
            Kind::Job,
            Kind::License,
        ] {
            let mut problems: Vec<_> = listed(&self.manifest)
                .iter()
                .filter(|listed| listed.kind == kind)
                .filter_map(|listed| check(listed).err())
                .collect();
            problems.extend(missing.remove(&kind).unwrap_or_default());
            if !problems.is_empty() {
                let plural = if kind == Kind::License { "" } else { "s" };
                let doing = format!("Constructing {kind}{plural} from manifest");
                all.push(Problem::list(doing, problems));
            }
        }
        if all.is_empty() {
            Ok(())
        } else {
            Err(Problem::list("Constructing release from manifest", all))
        }
    }

    /// Lists the digests of another algorithm, after checking every archive against the listed one (`sha1ify-release`,
    /// `sha2ify-release`: `docs/spec/releases-and-templates.md` §9.6). Nothing else changes.
    pub fn redigest(&mut self, algorithm: &DigestAlgorithm) -> Result<(), Problem> {
        self.verify()?;
        for artifact in self.manifest.artifacts_mut() {
            let key = (artifact.kind, artifact.name.to_owned());
            if let Some(path) = self.archives.get(&key) {
                *artifact.digest = Digest::of_reader(algorithm.clone(), fs_err::File::open(path)?)
                    .map_err(|error| Problem::new(error.to_string()))?
                    .to_string();
            }
        }
        Ok(())
    }

    /// Writes the tarball, without the archives of the fingerprints in `leave_out`.
    pub fn write_tarball(&self, path: &Path, leave_out: &BTreeSet<String>) -> Result<(), Problem> {
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs_err::create_dir_all(folder)?;
        let temporary = tempfile::NamedTempFile::new_in(folder)
            .within(|| format!("Creating '{}'", path.display()))?;
        let written = if self.manifest.no_compression {
            self.write_entries(temporary.as_file(), leave_out)
                .map(|_| ())
        } else {
            let out = GzEncoder::new(temporary.as_file(), self.outer_compression()?);
            self.write_entries(out, leave_out)
                .and_then(|out| Ok(out.finish()?))
                .map(|_| ())
        };
        written.within(|| format!("Writing '{}'", path.display()))?;
        fs_err::set_permissions(
            temporary.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o644),
        )?;
        temporary
            .persist(path)
            .map_err(|error| Problem::io("rename", path, &error.error))?;
        Ok(())
    }

    /// Archives that are compressed already are not compressed again: that costs much and gains nothing.
    fn outer_compression(&self) -> Result<Compression, Problem> {
        for path in self.archives.values() {
            if !tarball::is_compressed(fs_err::File::open(path)?)? {
                return Ok(Compression::fast());
            }
        }
        Ok(Compression::none())
    }

    fn write_entries<W: Write>(&self, out: W, leave_out: &BTreeSet<String>) -> Result<W, Problem> {
        let mut tar = tarball::Writer::new(out);
        tar.file("release.MF", 0o644, self.manifest.to_yaml().as_bytes())?;
        let left_out = |kind: Kind, name: &str| {
            let packages = self.manifest.packages.iter();
            let compiled = self.manifest.compiled_packages.iter().flatten();
            let fingerprint = match kind {
                Kind::Package => packages
                    .filter(|package| package.name == name)
                    .map(|package| &package.fingerprint)
                    .next(),
                Kind::CompiledPackage => compiled
                    .filter(|compiled| compiled.package.name == name)
                    .map(|compiled| &compiled.package.fingerprint)
                    .next(),
                Kind::Job | Kind::License => None,
            };
            fingerprint.is_some_and(|fingerprint| leave_out.contains(fingerprint))
        };
        for wanted in [Kind::Job, Kind::Package, Kind::CompiledPackage] {
            let of_kind: Vec<_> = self
                .archives
                .iter()
                .filter(|((kind, name), _)| *kind == wanted && !left_out(*kind, name))
                .collect();
            if !of_kind.is_empty() {
                let first = entry_name(wanted, "");
                tar.folder(&format!("{}/", first.split('/').next().unwrap_or_default()))?;
            }
            for ((kind, name), path) in of_kind {
                tar.copy(&entry_name(*kind, name), 0o644, path)?;
            }
        }
        if let Some(path) = self.archive(Kind::License, "license") {
            tar.copy("license.tgz", 0o644, path)?;
            for (name, content) in tarball::read_files(fs_err::File::open(path)?)? {
                tar.file(&name, 0o644, &content)?;
            }
        }
        Ok(tar.finish()?)
    }
}

fn entry_name(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Job => format!("jobs/{name}.tgz"),
        Kind::Package => format!("packages/{name}.tgz"),
        Kind::CompiledPackage => format!("compiled_packages/{name}.tgz"),
        Kind::License => "license.tgz".to_owned(),
    }
}

fn listed(manifest: &ReleaseManifest) -> Vec<Listed<'_>> {
    let jobs = manifest.jobs.iter().map(|job| Listed {
        kind: Kind::Job,
        name: &job.name,
        digest: &job.digest,
    });
    let packages = manifest.packages.iter().map(|package| Listed {
        kind: Kind::Package,
        name: &package.name,
        digest: &package.digest,
    });
    let compiled = manifest
        .compiled_packages
        .iter()
        .flatten()
        .map(|compiled| Listed {
            kind: Kind::CompiledPackage,
            name: &compiled.package.name,
            digest: &compiled.package.digest,
        });
    let license = manifest.license.iter().map(|license| Listed {
        kind: Kind::License,
        name: "license",
        digest: &license.digest,
    });
    packages
        .chain(compiled)
        .chain(jobs)
        .chain(license)
        .collect()
}

/// The dependencies that are not listed, by the kind of what has them.
fn missing_packages(manifest: &ReleaseManifest) -> BTreeMap<Kind, Vec<Problem>> {
    let source: BTreeSet<_> = manifest
        .packages
        .iter()
        .map(|package| &package.name)
        .collect();
    let compiled: BTreeSet<_> = manifest
        .compiled_packages
        .iter()
        .flatten()
        .map(|compiled| &compiled.package.name)
        .collect();
    let mut problems: BTreeMap<Kind, Vec<Problem>> = BTreeMap::new();
    let mut expect = |kind: Kind, known: &BTreeSet<&String>, names: &[String], of: &str| {
        let what = match kind {
            Kind::CompiledPackage => "compiled package",
            _ => "package",
        };
        // One is told for each.
        if let Some(name) = names.iter().find(|name| !known.contains(name)) {
            problems.entry(kind).or_default().push(Problem::new(format!(
                "Expected to find {what} '{name}' since it's a dependency of {kind} '{of}'"
            )));
        }
    };
    for package in &manifest.packages {
        expect(Kind::Package, &source, &package.dependencies, &package.name);
    }
    for compiled_package in manifest.compiled_packages.iter().flatten() {
        let package = &compiled_package.package;
        expect(
            Kind::CompiledPackage,
            &compiled,
            &package.dependencies,
            &package.name,
        );
    }
    let all: BTreeSet<_> = source.union(&compiled).copied().collect();
    for job in &manifest.jobs {
        expect(Kind::Job, &all, &job.packages, &job.name);
    }
    problems
}
