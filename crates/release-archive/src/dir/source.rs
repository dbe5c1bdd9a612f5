//! Reading jobs, packages and the license of a release folder, all problems together
//! (`docs/spec/releases-and-templates.md` §4-§7).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::document::{self, get_text};
use crate::fingerprint::{self, Algorithm, SourceFile};
use crate::glob::Glob;
use crate::manifest::ArtifactId;
use crate::problem::{Problem, Within};
use crate::progress::Kind;

/// A job, package or license as it stands in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is.
    pub kind: Kind,
    /// Its name (`license` for the license).
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Packages of a job, dependencies of a package, in the order of the spec.
    pub packages: Vec<String>,
    /// Its files; none for a vendored package, which exists as an archive only.
    pub files: Vec<SourceFile>,
    /// Whether the archive is a plain tar.
    pub no_compression: bool,
    /// The script to run in the staging folder before packing.
    pub(super) pre_packaging: Option<PathBuf>,
    /// Whether it is vendored: to be found by fingerprint in an index.
    pub(super) vendored: bool,
}

impl Artifact {
    pub(super) fn id(&self) -> ArtifactId<'_> {
        ArtifactId {
            kind: self.kind,
            name: &self.name,
            fingerprint: &self.fingerprint,
        }
    }
}

/// All that a release folder makes.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The jobs, by name.
    pub jobs: Vec<Artifact>,
    /// The packages, by name.
    pub packages: Vec<Artifact>,
    /// The license, if there are license files.
    pub license: Option<Artifact>,
}

/// Reads a whole release folder with fingerprints of the given kind.
pub fn read(release: &Path, algorithm: Algorithm) -> Result<Sources, Vec<Problem>> {
    let mut problems = Vec::new();
    let packages = packages(release, algorithm).unwrap_or_else(|found| {
        let doing = "Constructing packages from directory";
        problems.push(Problem::list(doing, found));
        Vec::new()
    });
    let jobs = jobs(release, &packages, algorithm).unwrap_or_else(|found| {
        // compat: the original says "manifest" here.
        let doing = "Constructing jobs from manifest";
        problems.push(Problem::list(doing, found));
        Vec::new()
    });
    let license = license(release, algorithm).unwrap_or_else(|problem| {
        problems.push(problem.within("Constructing license from directory"));
        None
    });
    if problems.is_empty() {
        Ok(Sources {
            jobs,
            packages,
            license,
        })
    } else {
        Err(problems)
    }
}

fn packages(release: &Path, algorithm: Algorithm) -> Result<Vec<Artifact>, Vec<Problem>> {
    let sources = Listing::of(&release.join("src")).map_err(|problem| vec![problem])?;
    let blobs = Listing::of(&release.join("blobs")).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut packages: Vec<Artifact> = Vec::new();
    for folder in folders(&release.join("packages")).map_err(|problem| vec![problem])? {
        match package(&folder, &sources, &blobs, algorithm)
            .within(|| format!("Reading package from '{}'", folder.display()))
        {
            Ok(package) => packages.push(package),
            Err(problem) => problems.push(problem),
        }
    }
    for package in &packages {
        if let Some(missing) = first_missing(package, &packages) {
            problems.push(Problem::new(format!(
                "Expected to find package '{missing}' since it's a dependency of package '{}'",
                package.name
            )));
        }
    }
    if problems.is_empty() {
        Ok(packages)
    } else {
        Err(problems)
    }
}

fn first_missing<'a>(artifact: &'a Artifact, packages: &[Artifact]) -> Option<&'a String> {
    artifact
        .packages
        .iter()
        .find(|name| !packages.iter().any(|package| package.name == **name))
}

fn jobs(
    release: &Path,
    packages: &[Artifact],
    algorithm: Algorithm,
) -> Result<Vec<Artifact>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut jobs = Vec::new();
    for folder in folders(&release.join("jobs")).map_err(|problem| vec![problem])? {
        match job(&folder, algorithm).within(|| format!("Reading job from '{}'", folder.display()))
        {
            Ok(job) => jobs.push(job),
            Err(problem) => problems.push(problem),
        }
    }
    for job in &jobs {
        if let Some(missing) = first_missing(job, packages) {
            problems.push(Problem::new(format!(
                "Expected to find package '{missing}' since it's a dependency of job '{}'",
                job.name
            )));
        }
    }
    if problems.is_empty() {
        Ok(jobs)
    } else {
        Err(problems)
    }
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>, Problem> {
    if !parent.exists() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs_err::read_dir(parent)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn package(
    folder: &Path,
    sources: &Listing,
    blobs: &Listing,
    algorithm: Algorithm,
) -> Result<Artifact, Problem> {
    let lock = folder.join("spec.lock");
    if lock.exists() {
        let spec = document::load(
            &lock,
            || format!("Reading package spec lock '{}'", lock.display()),
            || "Unmarshalling package spec lock".to_owned(),
        )
        .within(|| "Collecting package spec lock".to_owned())?;
        let name = get_text(&spec, "name").unwrap_or_default();
        let fingerprint = get_text(&spec, "fingerprint").unwrap_or_default();
        return Ok(Artifact {
            kind: Kind::Package,
            name,
            fingerprint,
            packages: document::texts(&spec, "dependencies").unwrap_or_default(),
            files: Vec::new(),
            no_compression: false,
            pre_packaging: None,
            vendored: true,
        });
    }
    let mut package =
        collect_package(folder, sources, blobs).within(|| "Collecting package files".to_owned())?;
    package.fingerprint = fingerprint::fingerprint(&package.files, &package.packages, algorithm)
        .within(|| "Fingerprinting source files".to_owned())?;
    Ok(package)
}

fn collect_package(folder: &Path, sources: &Listing, blobs: &Listing) -> Result<Artifact, Problem> {
    let path = folder.join("spec");
    let unmarshalling = || "Unmarshalling package spec".to_owned();
    let spec = document::load(
        &path,
        || format!("Reading package spec '{}'", path.display()),
        unmarshalling,
    )?;
    let bad = |key: &str| {
        Problem::new(format!("'{key}' must be a list of strings")).within(unmarshalling())
    };
    let list = |key: &str| document::texts(&spec, key).ok_or_else(|| bad(key));
    let name = get_text(&spec, "name").unwrap_or_default();
    let globs = |key: &str| -> Result<Vec<Glob>, Problem> {
        list(key)?.iter().map(|text| Glob::new(text)).collect()
    };
    // Later insertions win, so blobs go first.
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for glob in globs("files")? {
        let before: Vec<_> = blobs
            .matching(&glob)
            .chain(sources.matching(&glob))
            .collect();
        if before.is_empty() {
            return Err(Problem::new(format!(
                "Missing files for pattern '{}'",
                glob.as_str()
            )));
        }
        for (name, path) in blobs.matching(&glob) {
            files.entry(name.clone()).or_insert_with(|| path.clone());
        }
        for (name, path) in sources.matching(&glob) {
            files.insert(name.clone(), path.clone());
        }
    }
    for glob in globs("excluded_files")? {
        files.retain(|name, _| !glob.matches(name));
    }
    let mut all: Vec<SourceFile> = files
        .into_iter()
        .map(|(name, path)| SourceFile {
            path,
            name,
            with_mode: true,
            follow: false,
        })
        .collect();
    let mut pre_packaging = None;
    for (special, required) in [("packaging", true), ("pre_packaging", false)] {
        let path = folder.join(special);
        if all.iter().any(|file| file.name == special) {
            return Err(Problem::new(format!(
                "Expected special '{special}' file to not be included via 'files' key for package '{name}'"
            )));
        }
        if !path.exists() {
            if required {
                return Err(Problem::new(format!(
                    "Expected to find '{}' for package '{name}'",
                    path.display()
                )));
            }
            continue;
        }
        if special == "pre_packaging" {
            pre_packaging = Some(path.clone());
        }
        all.push(SourceFile {
            path,
            name: special.to_owned(),
            with_mode: false,
            follow: false,
        });
    }
    Ok(Artifact {
        kind: Kind::Package,
        fingerprint: String::new(),
        packages: list("dependencies")?,
        files: all,
        no_compression: document::get_bool(&spec, "no_compression"),
        pre_packaging,
        vendored: false,
        name,
    })
}

fn job(folder: &Path, algorithm: Algorithm) -> Result<Artifact, Problem> {
    let mut job = collect_job(folder).within(|| "Collecting job files".to_owned())?;
    job.fingerprint = fingerprint::fingerprint(&job.files, &[], algorithm)
        .within(|| "Fingerprinting source files".to_owned())?;
    Ok(job)
}

fn collect_job(folder: &Path) -> Result<Artifact, Problem> {
    let path = folder.join("spec");
    let unmarshalling = || format!("Unmarshalling job spec '{}'", path.display());
    let spec = document::load(
        &path,
        || format!("Reading job spec '{}'", path.display()),
        unmarshalling,
    )?;
    let bad = |reason: &str| Problem::new(reason).within(unmarshalling());
    if !spec.is_mapping() {
        return Err(bad("the spec must be a map"));
    }
    let name = get_text(&spec, "name").unwrap_or_default();
    let folder_name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if name != folder_name {
        return Err(Problem::new(format!(
            "Job directory '{folder_name}' does not match job name '{name}' in spec"
        )));
    }
    let file = |path: PathBuf, name: &str| SourceFile {
        path,
        name: name.to_owned(),
        with_mode: true,
        follow: true,
    };
    let mut files = vec![file(path.clone(), "job.MF")];
    for optional in ["monit", "properties_schema.json"] {
        let path = folder.join(optional);
        if path.exists() {
            files.push(file(path, optional));
        }
    }
    for source in document::entries(&spec, "templates").keys() {
        let source = document::text(source).ok_or_else(|| bad("template names must be strings"))?;
        let path = folder.join("templates").join(&source);
        files.push(file(path, &format!("templates/{source}")));
    }
    Ok(Artifact {
        kind: Kind::Job,
        fingerprint: String::new(),
        packages: document::texts(&spec, "packages")
            .ok_or_else(|| bad("'packages' must be a list of strings"))?,
        files,
        no_compression: false,
        pre_packaging: None,
        vendored: false,
        name,
    })
}

fn license(release: &Path, algorithm: Algorithm) -> Result<Option<Artifact>, Problem> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(release)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let named = name.starts_with("LICENSE") || name.starts_with("NOTICE");
        if named && !entry.file_type()?.is_dir() {
            files.push(SourceFile {
                path: entry.path(),
                name,
                with_mode: false,
                follow: false,
            });
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(Artifact {
        kind: Kind::License,
        name: "license".to_owned(),
        fingerprint: fingerprint::fingerprint(&files, &[], algorithm)?,
        packages: Vec::new(),
        files,
        no_compression: false,
        pre_packaging: None,
        vendored: false,
    }))
}

/// The packageable files below `src/` or `blobs/`: regular ones and links, not what is reached through links.
struct Listing(BTreeMap<String, PathBuf>);

impl Listing {
    fn of(folder: &Path) -> Result<Self, Problem> {
        let mut files = BTreeMap::new();
        if folder.exists() {
            for entry in WalkDir::new(folder) {
                let entry = entry.map_err(|error| Problem::new(error.to_string()))?;
                if entry.file_type().is_dir() {
                    continue;
                }
                let below = entry.path().strip_prefix(folder).unwrap_or(entry.path());
                let name = below.to_str().ok_or_else(|| {
                    Problem::new(format!("File name '{}' is not UTF-8", below.display()))
                })?;
                files.insert(name.to_owned(), entry.path().to_owned());
            }
        }
        Ok(Self(files))
    }

    fn matching<'a>(&'a self, glob: &'a Glob) -> impl Iterator<Item = (&'a String, &'a PathBuf)> {
        self.0.iter().filter(move |(name, _)| glob.matches(name))
    }
}
