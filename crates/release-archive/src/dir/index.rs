//! The index files of a release folder: which artifact versions and which releases exist
//! (`docs/spec/releases-and-templates.md` §2.2).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use domain::version::Version;
use serde_yaml::Value;

use crate::document::{self, get_text, scalar};
use crate::manifest::{ArtifactId, ReleaseManifest};
use crate::problem::{Problem, Within};
use crate::progress::Kind;

/// An artifact's entry in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub blobstore_id: Option<String>,
    pub digest: String,
}

/// `.dev_builds` or `.final_builds`.
#[derive(Debug, Clone)]
pub(super) struct ArtifactIndex {
    root: PathBuf,
}

impl ArtifactIndex {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, id: ArtifactId) -> PathBuf {
        match id.kind {
            Kind::Job => self.root.join("jobs").join(id.name).join("index.yml"),
            Kind::License => self.root.join("license/index.yml"),
            Kind::Package | Kind::CompiledPackage => {
                self.root.join("packages").join(id.name).join("index.yml")
            }
        }
    }

    /// The entry whose `version` is the fingerprint (not the key: very old indexes have a digest there).
    pub fn find(&self, id: ArtifactId) -> Result<Option<Entry>, Problem> {
        let builds = load(&self.path(id))?;
        Ok(builds
            .into_values()
            .find(|(version, _)| version == id.fingerprint)
            .map(|(_, entry)| entry))
    }

    /// Adds an entry; one that is there already stays.
    pub fn add(&self, id: ArtifactId, entry: &Entry) -> Result<(), Problem> {
        let path = self.path(id);
        let mut builds = load(&path)?;
        let version = id.fingerprint.to_owned();
        if builds.values().any(|(known, _)| *known == version) {
            return Ok(());
        }
        builds.insert(version.clone(), (version, entry.clone()));
        let mut out = String::from("builds:\n");
        for (key, (version, entry)) in &builds {
            let _ = writeln!(out, "  {}:", scalar(key));
            let _ = writeln!(out, "    version: {}", scalar(version));
            if let Some(id) = &entry.blobstore_id {
                let _ = writeln!(out, "    blobstore_id: {}", scalar(id));
            }
            let _ = writeln!(out, "    sha1: {}", scalar(&entry.digest));
        }
        out.push_str("format-version: \"2\"\n");
        write(&path, &out)
    }
}

type Builds = BTreeMap<String, (String, Entry)>;

fn load(path: &Path) -> Result<Builds, Problem> {
    if !path.exists() {
        return Ok(Builds::new());
    }
    let document = document::load(
        path,
        || "Reading index".to_owned(),
        || "Unmarshalling index".to_owned(),
    )?;
    Ok(document::entries(&document, "builds")
        .iter()
        .filter_map(|(key, build)| {
            let entry = Entry {
                blobstore_id: get_text(build, "blobstore_id").filter(|id| !id.is_empty()),
                digest: get_text(build, "sha1").unwrap_or_default(),
            };
            Some((document::text(key)?, (get_text(build, "version")?, entry)))
        })
        .collect())
}

fn write(path: &Path, content: &str) -> Result<(), Problem> {
    durable::replace(path, content.as_bytes(), durable::Mode::KeepOr(0o644))?;
    Ok(())
}

/// `releases` or `dev_releases`.
#[derive(Debug, Clone)]
pub(super) struct ReleaseIndex {
    root: PathBuf,
    development: bool,
}

impl ReleaseIndex {
    pub fn new(root: PathBuf, development: bool) -> Self {
        Self { root, development }
    }

    pub fn development(&self) -> bool {
        self.development
    }

    /// The path of a release's manifest.
    pub fn manifest_path(&self, name: &str, version: &str) -> PathBuf {
        self.root.join(name).join(format!("{name}-{version}.yml"))
    }

    fn versions(&self, name: &str) -> Result<Vec<(String, String)>, Problem> {
        let path = self.root.join(name).join("index.yml");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let document = document::load(
            &path,
            || "Reading index".to_owned(),
            || "Unmarshalling index".to_owned(),
        )?;
        Ok(document::entries(&document, "builds")
            .iter()
            .filter_map(|(key, build)| {
                let version: &Value = build;
                Some((document::text(key)?, get_text(version, "version")?))
            })
            .collect())
    }

    /// The greatest version of a name.
    pub fn last(&self, name: &str) -> Result<Option<Version>, Problem> {
        let mut last: Option<Version> = None;
        for (_, text) in self.versions(name)? {
            let version = Version::parse(&text)
                .map_err(|error| Problem::new(error.to_string()))
                .within(|| "Parsing release versions".to_owned())?;
            if last.as_ref().is_none_or(|last| version > *last) {
                last = Some(version);
            }
        }
        Ok(last)
    }

    pub fn contains(&self, name: &str, version: &str) -> Result<bool, Problem> {
        Ok(self
            .versions(name)?
            .iter()
            .any(|(_, known)| known == version))
    }

    pub fn add(&self, manifest: &ReleaseManifest) -> Result<PathBuf, Problem> {
        let ReleaseManifest { name, version, .. } = manifest;
        let mut versions = self.versions(name)?;
        versions.push((uuid::Uuid::new_v4().to_string(), version.clone()));
        versions.sort();
        let path = self.manifest_path(name, version);
        write(&path, &manifest.to_yaml())?;
        let mut out = String::from("builds:\n");
        for (key, version) in versions {
            let _ = writeln!(out, "  {}:", scalar(&key));
            let _ = writeln!(out, "    version: {}", scalar(&version));
        }
        out.push_str("format-version: \"2\"\n");
        write(&self.root.join(name).join("index.yml"), &out)?;
        Ok(path)
    }
}
