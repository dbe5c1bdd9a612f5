//! The recorded upload scenario, and tarballs of its assets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::response::IntoResponse;
use release_archive::{CreateOptions, Release, ReleaseDir};
use serde_json::{Value, json};

pub fn wire() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/wire")
}

/// What the original did in the scenario.
pub struct Recording(Vec<Value>);

impl Recording {
    pub fn load() -> anyhow::Result<Recording> {
        let text = std::fs::read(wire().join("upload-stemcell-release.json"))?;
        let document: Value = serde_json::from_slice(&text)?;
        Ok(Recording(
            document["steps"].as_array().cloned().unwrap_or_default(),
        ))
    }

    /// The task's object after its end, and its event lines.
    pub fn task(&self, id: u64) -> (&Value, Vec<Value>) {
        let found = self
            .0
            .iter()
            .find_map(|step| step["task_outputs"].get(id.to_string()));
        let outputs = found.unwrap_or_else(|| panic!("task {id} is recorded"));
        (
            &outputs["task"],
            lines(outputs["event"].as_str().unwrap_or_default()),
        )
    }

    /// Every recorded answer to a request.
    pub fn answers(&self, method: &str, path: &str, body: &str) -> Vec<&Value> {
        let calls = self
            .0
            .iter()
            .flat_map(|step| step["http"].as_array().into_iter().flatten());
        calls
            .filter(|call| call["method"] == method && call["path"] == path)
            .filter(|call| body.is_empty() || call["request"]["body"] == body)
            .map(|call| &call["response"])
            .collect()
    }
}

pub fn lines(events: &str) -> Vec<Value> {
    events
        .lines()
        .map(|line| masked(serde_json::from_str(line).unwrap()))
        .collect()
}

/// Without what differs from run to run: times, ids, digests of archives, ports.
pub fn masked(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            // What to do next is said beside the recorded text.
            .filter(|(key, _)| key != "hint")
            .map(|(key, value)| {
                let volatile = [
                    "time",
                    "timestamp",
                    "started_at",
                    "blobstore_id",
                    "sha1",
                    "cid",
                ];
                let value = if volatile.contains(&key.as_str()) && !value.is_null() {
                    json!("…")
                } else {
                    masked(value)
                };
                (key, value)
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::String(text) => {
            let patterns = [
                "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                "was '(sha256:)?[0-9a-f]{40,64}'",
                "127.0.0.1:[0-9]+",
                "Invalid Version: .*",
            ];
            let masked = patterns
                .iter()
                .fold(text.trim_end().to_owned(), |text, pattern| {
                    regex::Regex::new(pattern)
                        .unwrap()
                        .replace_all(&text, "…")
                        .into_owned()
                });
            masked.into()
        }
        other => other,
    }
}

/// Built tarballs, served over HTTP too.
pub struct Assets {
    folder: tempfile::TempDir,
    pub url: String,
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::write(target, std::fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

async fn serve(
    State(folder): State<PathBuf>,
    UrlPath(name): UrlPath<String>,
) -> axum::response::Response {
    match tokio::fs::read(folder.join(name)).await {
        Ok(bytes) => bytes.into_response(),
        Err(_) => axum::http::StatusCode::NOT_FOUND.into_response(),
    }
}

impl Assets {
    pub async fn build() -> anyhow::Result<Assets> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        for version in ["1", "2"] {
            let source = path(&format!("release-{version}"));
            copy(&wire().join("assets/release"), &source)?;
            if version == "2" {
                std::fs::write(source.join("src/site/index.html"), "site 2\n")?;
                let template = source.join("jobs/web/templates/web.yml.erb");
                let text = std::fs::read_to_string(&template)? + "motd: v2\n";
                std::fs::write(template, text)?;
            }
            let options = CreateOptions {
                name: Some("wire-demo".into()),
                version: Some(version.parse()?),
                force: true,
                ..CreateOptions::default()
            };
            let mut release =
                ReleaseDir::open(&source, path("cache")).create_release(&options, &mut ())?;
            release.manifest.commit_hash = Some("non-git".into());
            release.manifest.uncommitted_changes = false;
            release.write_tarball(&path(&format!("wire-demo-{version}.tgz")), &BTreeSet::new())?;
            stemcell(version, &path(&format!("demo-stemcell-{version}.tgz")))?;
        }
        let routes = Router::new()
            .route("/{name}", axum::routing::get(serve))
            .with_state(folder.path().to_owned());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Assets { folder, url })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.path(name))?)
    }

    pub fn digest(&self, name: &str) -> anyhow::Result<String> {
        Ok(domain::Digest::sha1(self.read(name)?).to_string())
    }

    /// The tarball as the client sends it when all packages are known.
    pub fn without_packages(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let release = Release::read(&self.path(name), self.folder.path())?;
        let known = release.manifest.package_fingerprints();
        release.write_tarball(&self.path("partial.tgz"), &known)?;
        self.read("partial.tgz")
    }

    pub fn manifest(&self, name: &str) -> anyhow::Result<String> {
        Ok(Release::read(&self.path(name), self.folder.path())?
            .manifest
            .to_yaml())
    }
}

fn stemcell(version: &str, target: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(wire().join("assets/stemcell/stemcell.MF"))?;
    let text = text.replace("version: \"1\"", &format!("version: \"{version}\""));
    let out =
        flate2::write::GzEncoder::new(std::fs::File::create(target)?, flate2::Compression::fast());
    let mut tar = release_archive::tarball::Writer::new(out);
    tar.file("stemcell.MF", 0o644, text.as_bytes())?;
    tar.file(
        "image",
        0o644,
        &std::fs::read(wire().join("assets/stemcell/image"))?,
    )?;
    tar.finish()?.finish()?;
    Ok(())
}
