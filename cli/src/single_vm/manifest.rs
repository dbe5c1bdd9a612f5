//! Two of the three readers of a `create-env` manifest: the releases, and how the CPI is installed (spec cli §17.1).
//! The third is `deployment`.

use super::read::{all, get, is_blank, is_url, list, object, text};
use crate::config;
use crate::error::{Error, Result, Within};
use manifest::yaml::Value;
use serde_json::{Map, Value as Json};
use std::path::Path;

/// An archive to fetch: a release's or a stemcell's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// As the original names it while it downloads: `release 'x'`, `stemcell`.
    pub description: String,
    /// `file://…` (made absolute), `http(s)://…`.
    pub url: String,
    /// Digest string; empty for files.
    pub sha1: String,
}

/// One of `releases`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRef {
    pub name: String,
    pub archive: Archive,
}

/// A job of a release, and properties of its own.
#[derive(Clone, Default)]
pub struct JobRef {
    pub name: String,
    pub release: String,
    pub properties: Option<Map<String, Json>>,
}

/// `cloud_provider`. No `Debug`: properties and `mbus` hold credentials.
pub struct Installation {
    /// The manifest's name.
    pub name: String,
    pub jobs: Vec<JobRef>,
    pub properties: Map<String, Json>,
    pub mbus: String,
    /// PEM; `None` for the system's authorities.
    pub ca: Option<String>,
}

/// Reads `releases`.
pub fn releases(path: &Path, document: &Value) -> Result<Vec<ReleaseRef>> {
    let releases: Vec<_> = list(document, "releases")
        .iter()
        .map(|item| {
            let name = text(item, "name");
            ReleaseRef {
                archive: Archive {
                    description: format!("release '{name}'"),
                    url: absolute(path, &text(item, "url")),
                    sha1: text(item, "sha1"),
                },
                name,
            }
        })
        .collect();
    let mut problems = Vec::new();
    if releases.is_empty() {
        problems.push("releases must contain at least 1 release".to_owned());
    }
    for (i, release) in releases.iter().enumerate() {
        if is_blank(&release.name) {
            problems.push(format!("releases[{i}].name must be provided"));
        }
        if releases[..i].iter().any(|other| other.name == release.name) {
            problems.push(format!(
                "releases[{i}].name '{}' must be unique",
                release.name
            ));
        }
        archive_problems(&format!("releases[{i}]"), &release.archive, &mut problems);
    }
    all(problems)
        .within(|| "Validating release set manifest")
        .within(|| format!("Parsing release set manifest '{}'", path.display()))?;
    Ok(releases)
}

/// What is wrong with a URL and its digest; shared with `resource_pools[i].stemcell`.
pub fn archive_problems(at: &str, archive: &Archive, problems: &mut Vec<String>) {
    if is_blank(&archive.url) {
        problems.push(format!("{at}.url must be provided"));
    }
    if !is_url(&archive.url) {
        problems.push(format!(
            "{at}.url must be a valid URL (file:// or http(s)://)"
        ));
    }
    if archive.url.starts_with("http") && is_blank(&archive.sha1) {
        problems.push(format!("{at}.sha1 must be provided for http URL"));
    }
}

/// Reads `cloud_provider`.
pub fn installation(
    path: &Path,
    document: &Value,
    releases: &[ReleaseRef],
) -> Result<Installation> {
    read_installation(path, document, releases)
        .within(|| format!("Parsing installation manifest '{}'", path.display()))
}

fn read_installation(
    path: &Path,
    document: &Value,
    releases: &[ReleaseRef],
) -> Result<Installation> {
    let nothing = Value::Null;
    let provider = get(document, "cloud_provider").unwrap_or(&nothing);
    let tunnel = get(provider, "ssh_tunnel").unwrap_or(&nothing);
    check_private_key(path, &text(tunnel, "private_key"))?;
    let cert = get(provider, "cert").unwrap_or(&nothing);
    let ca = Some(text(cert, "ca")).filter(|ca| !ca.is_empty());
    if ca.as_deref().is_some_and(|ca| !is_pem(ca)) {
        return Err(Error::message("Invalid CA cert"));
    }
    let job = |item: &Value| JobRef {
        name: text(item, "name"),
        release: text(item, "release"),
        properties: None,
    };
    let jobs: Vec<JobRef> = match list(provider, "templates") {
        [] => vec![job(get(provider, "template").unwrap_or(&nothing))],
        items => items.iter().map(job).collect(),
    };
    let mut duplicates: Vec<String> = jobs
        .iter()
        .enumerate()
        .filter(|(i, job)| jobs[..*i].iter().any(|other| other.name == job.name))
        .map(|(_, job)| format!("'{}'", job.name))
        .collect();
    duplicates.dedup();
    if !duplicates.is_empty() {
        return Err(Error::message(format!(
            "Duplicate templates names are illegal. Duplicate template names found: {}",
            duplicates.join(", ")
        )));
    }
    let properties = object(provider, "properties", "cloud_provider")
        .within(|| "Parsing cloud_provider manifest properties")?;
    let mut problems = Vec::new();
    for job in &jobs {
        if is_blank(&job.name) {
            problems.push("cloud_provider.template.name must be provided".to_owned());
        }
        if is_blank(&job.release) {
            problems.push("cloud_provider.template.release must be provided".to_owned());
        }
        if !releases.iter().any(|release| release.name == job.release) {
            problems.push(format!(
                "cloud_provider.template.release '{}' must refer to a release in releases",
                job.release
            ));
        }
    }
    all(problems).within(|| "Validating installation manifest")?;
    Ok(Installation {
        name: text(document, "name"),
        jobs,
        properties,
        mbus: text(provider, "mbus"),
        ca,
    })
}

/// compat: the tunnel is checked and not used: its one purpose, a registry on the operator's machine, went away with CPI
/// version 1.
fn check_private_key(path: &Path, key: &str) -> Result<()> {
    let known = ["RSA", "OPENSSH"]
        .iter()
        .any(|kind| key.starts_with(&format!("-----BEGIN {kind} PRIVATE KEY-----")));
    if key.is_empty() {
        Ok(())
    } else if known {
        if is_pem(key) {
            return Ok(());
        }
        Err(Error::message("Invalid private key for ssh tunnel"))
    } else if key.starts_with("----") {
        Err(Error::message(
            "Unsupported private key format for ssh tunnel",
        ))
    } else {
        let file = absolute(path, key);
        fs_err::read(&file)
            .map(drop)
            .within(|| format!("Reading private key from {file}"))
    }
}

/// Whether a text holds a PEM block.
fn is_pem(text: &str) -> bool {
    let Some(body) = text
        .split_once("-----BEGIN ")
        .and_then(|(_, rest)| rest.split_once("-----\n"))
        .and_then(|(_, rest)| rest.split_once("-----END "))
        .map(|(body, _)| body)
    else {
        return false;
    };
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=\n\r".contains(c);
    let headers = |line: &&str| !line.contains(": ");
    body.lines()
        .filter(headers)
        .all(|line| line.trim().chars().all(base64))
}

/// A path or `file://` URL relative to the manifest, made absolute; everything else as it is.
pub fn absolute(manifest: &Path, url: &str) -> String {
    let folder = manifest.parent().unwrap_or(Path::new("/"));
    let clean = |path: &str| config::clean(&folder.join(path)).display().to_string();
    if url.starts_with("http") || url.starts_with('/') || url.starts_with("file://~") {
        return url.to_owned();
    }
    if url.starts_with('~') {
        return config::expand(url)
            .map_or_else(|_| url.to_owned(), |path| path.display().to_string());
    }
    match url.strip_prefix("file://") {
        Some(path) if path.starts_with('/') => url.to_owned(),
        Some(path) => format!("file://{}", clean(path)),
        // compat: an absent URL becomes the manifest's folder, and so is no valid URL.
        None => clean(url),
    }
}
