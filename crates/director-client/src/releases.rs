//! Releases (spec director-api §8, releases-and-templates §9.8, §11).

use crate::http::Client;
use crate::request::{Progress, Request};
use crate::{Error, Query, Reporter, Wrap, escape_segment};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// A release with its versions, oldest first.
#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    pub name: String,
    pub release_versions: Vec<ReleaseVersionRow>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ReleaseVersionRow {
    pub version: String,
    #[serde(default)]
    pub commit_hash: Option<String>,
    #[serde(default)]
    pub uncommitted_changes: bool,
    #[serde(default)]
    pub currently_deployed: bool,
}

/// What the director keeps of one release version.
#[derive(Debug, Clone, Deserialize)]
pub struct InspectedRelease {
    #[serde(default)]
    pub jobs: Vec<InspectedJob>,
    #[serde(default)]
    pub packages: Vec<InspectedPackage>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct InspectedJob {
    pub name: String,
    pub fingerprint: String,
    #[serde(default)]
    pub blobstore_id: Option<String>,
    #[serde(default)]
    pub sha1: Option<String>,
    #[serde(default)]
    pub consumes: Option<Vec<serde_json::Value>>,
    #[serde(default)]
    pub provides: Option<Vec<serde_json::Value>>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct InspectedPackage {
    pub name: String,
    pub fingerprint: String,
    /// Absent when the director has no source of it.
    #[serde(default)]
    pub blobstore_id: Option<String>,
    #[serde(default)]
    pub sha1: Option<String>,
    #[serde(default)]
    pub compiled_packages: Vec<CompiledPackage>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct CompiledPackage {
    /// `os/version`.
    pub stemcell: String,
    #[serde(default)]
    pub sha1: Option<String>,
    #[serde(default)]
    pub blobstore_id: Option<String>,
}

/// Flags of an upload.
#[derive(Debug, Clone, Copy, Default)]
pub struct UploadReleaseOptions {
    pub rebase: bool,
    pub fix: bool,
}

impl UploadReleaseOptions {
    fn path(self) -> String {
        Query::new()
            .with_flag("rebase", self.rebase)
            .with_flag("fix", self.fix)
            .on("/releases")
    }
}

/// Arguments of an export.
#[derive(Debug, Clone, Default)]
pub struct ExportRelease {
    pub deployment: String,
    pub release: (String, String),
    pub stemcell: (String, String),
    pub jobs: Vec<String>,
}

/// The blob that an export left.
#[derive(Debug, Clone, Deserialize)]
pub struct ExportedRelease {
    pub blobstore_id: String,
    #[serde(default)]
    pub sha1: String,
}

impl Client {
    /// All releases.
    pub async fn releases(&self) -> Result<Vec<Release>, Error> {
        self.get_json("/releases").await.wrap(|| "Finding releases")
    }

    /// One version with its jobs and packages.
    pub async fn inspect_release(
        &self,
        name: &str,
        version: &str,
    ) -> Result<InspectedRelease, Error> {
        let path = Query::new()
            .with("version", version)
            .on(&format!("/releases/{}", escape_segment(name)));
        self.get_json(&path)
            .await
            .wrap(|| format!("Inspecting release '{name}/{version}'"))
    }

    /// Which of a release manifest's packages the director has already, by fingerprint.
    pub async fn match_packages(
        &self,
        manifest: &str,
        compiled: bool,
    ) -> Result<Vec<String>, Error> {
        let path = if compiled {
            "/packages/matches_compiled"
        } else {
            "/packages/matches"
        };
        self.send_json(Request::yaml(Method::POST, path, manifest.to_owned()))
            .await
            .wrap(|| "Matching packages")
    }

    /// Uploads a release tarball.
    pub async fn upload_release_file(
        &self,
        file: &Path,
        options: UploadReleaseOptions,
        progress: Option<Arc<dyn Progress>>,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        self.run_task(Request::archive(options.path(), file, progress), reporter)
            .await
            .wrap(|| "Uploading release file")?;
        Ok(())
    }

    /// Has the director download a release.
    pub async fn upload_release_url(
        &self,
        url: &str,
        sha1: Option<&str>,
        options: UploadReleaseOptions,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        self.run_task(
            Request::json(Method::POST, options.path(), &location(url, sha1)),
            reporter,
        )
        .await
        .wrap(|| format!("Uploading remote release '{url}'"))?;
        Ok(())
    }

    /// Deletes one version, or all when `version` is absent. Something that is gone anyway counts as
    /// deleted.
    pub async fn delete_release(
        &self,
        name: &str,
        version: Option<&str>,
        force: bool,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let path = Query::new()
            .with_some("version", version)
            .with_flag("force", force)
            .on(&format!("/releases/{}", escape_segment(name)));
        let is_gone = async { Ok(!has_release(&self.releases().await?, name, version)) };
        // compat: the brackets are the original's; scripts match on the whole line.
        let deleted = self.run_deletion(path, is_gone, reporter).await;
        deleted.wrap(|| {
            format!(
                "Deleting release or series '{name}[/{}]'",
                version.unwrap_or_default()
            )
        })
    }

    /// Compiles a release for a stemcell; the blob with the result.
    pub async fn export_release(
        &self,
        export: &ExportRelease,
        reporter: &dyn Reporter,
    ) -> Result<ExportedRelease, Error> {
        let jobs: Vec<_> = export
            .jobs
            .iter()
            .map(|name| json!({"name": name}))
            .collect();
        let body = json!({
            "deployment_name": export.deployment,
            "jobs": jobs,
            "release_name": export.release.0,
            "release_version": export.release.1,
            "sha2": true,
            "stemcell_os": export.stemcell.0,
            "stemcell_version": export.stemcell.1,
        });
        let (_, output) = self
            .run_task(
                Request::json(Method::POST, "/releases/export", &body),
                reporter,
            )
            .await
            .wrap(|| "Exporting release")?;
        serde_json::from_slice(&output)
            .map_err(Error::Decode)
            .wrap(|| "Exporting release")
    }
}

/// Whether a release, or one version of it, is in the list.
pub(crate) fn has_release(releases: &[Release], name: &str, version: Option<&str>) -> bool {
    releases.iter().any(|release| {
        release.name == name
            && version.is_none_or(|wanted| {
                release
                    .release_versions
                    .iter()
                    .any(|row| row.version == wanted)
            })
    })
}

/// The body that makes the director download something (spec director-api §7.2).
pub(crate) fn location(url: &str, sha1: Option<&str>) -> serde_json::Value {
    match sha1.filter(|text| !text.is_empty()) {
        Some(sha1) => json!({"location": url, "sha1": sha1}),
        None => json!({"location": url}),
    }
}
