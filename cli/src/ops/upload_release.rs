//! `upload-release` and the uploads of `deploy` (spec releases-and-templates §9.8).

use super::Session;
use super::create_release::{BuildLines, open_dir};
use crate::commands::UploadReleaseArgs;
use crate::config::Paths;
use crate::error::{Error, Result, Within};
use crate::ui::TransferBar;
use director_client::{InspectedRelease, UploadReleaseOptions};
use release_archive::{CreateOptions, Release};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One release to get onto the director.
pub struct Upload {
    /// Empty for the newest release of `dir`.
    pub url: String,
    /// The release folder whose indexes say where archives are.
    pub dir: String,
    pub name: Option<String>,
    pub version: Option<String>,
    pub sha1: Option<String>,
    /// Operating system and version that a compiled release is for.
    pub stemcell: Option<(String, String)>,
    pub rebase: bool,
    pub fix: bool,
}

impl Upload {
    fn options(&self) -> UploadReleaseOptions {
        UploadReleaseOptions {
            rebase: self.rebase,
            fix: self.fix,
        }
    }
}

pub async fn upload(session: &Session, args: UploadReleaseArgs) -> Result<()> {
    let request = Upload {
        url: args.url.unwrap_or_default(),
        dir: args.dir,
        name: args.name,
        version: args.version.map(|version| version.to_string()),
        sha1: args.sha1,
        stemcell: args.stemcell.map(|slug| (slug.name, slug.version)),
        rebase: args.rebase,
        fix: args.fix,
    };
    upload_known(session, request).await
}

/// Uploads unless the director has it.
pub async fn upload_known(session: &Session, request: Upload) -> Result<()> {
    if !request.fix && is_there(session, &request).await? {
        return Ok(());
    }
    let url = request.url.as_str();
    if is_git(url) {
        return upload_git(session, &request).await;
    }
    if url.starts_with("http://") || url.starts_with("https://") {
        session
            .client
            .upload_release_url(
                url,
                request.sha1.as_deref(),
                request.options(),
                &session.reporter,
            )
            .await?;
        return Ok(());
    }
    let url = url.strip_prefix("file://").unwrap_or(url);
    if url.is_empty() || Path::new(url).is_dir() {
        let dir = if url.is_empty() { &request.dir } else { url };
        let release = newest(session, dir, &request.name, &request.version)?;
        return send(session, &release, request.options()).await;
    }
    let path = Path::new(url);
    if url.ends_with(".yml") {
        let dir = open_dir(&session.settings, &request.dir)?;
        let release = dir.release_of(path, &mut BuildLines(&session.ui))?;
        return send(session, &release, request.options()).await;
    }
    let paths = Paths::prepare()?;
    let release = Release::read(path, paths.tmp())?;
    release.verify()?;
    send(session, &release, request.options()).await
}

/// Whether the director has the named version, with sources or compiled for the wanted stemcell.
async fn is_there(session: &Session, request: &Upload) -> Result<bool> {
    let known = session.client.releases().await?;
    let (Some(name), Some(version)) = (&request.name, &request.version) else {
        return Ok(false);
    };
    let listed = known.iter().any(|release| {
        release.name == *name
            && release
                .release_versions
                .iter()
                .any(|row| row.version == *version)
    });
    if !listed {
        return Ok(false);
    }
    let release = session.client.inspect_release(name, version).await?;
    if !covers(&release, request.stemcell.as_ref()) {
        return Ok(false);
    }
    let stemcell = match &request.stemcell {
        Some((os, version)) => format!(" for stemcell '{os}/{version}'"),
        None => String::new(),
    };
    session.ui.line(format!(
        "Release '{name}/{version}'{stemcell} already exists."
    ));
    Ok(true)
}

fn covers(release: &InspectedRelease, stemcell: Option<&(String, String)>) -> bool {
    release.packages.iter().all(|package| match stemcell {
        Some((os, version)) => {
            let wanted = format!("{os}/{version}");
            package
                .compiled_packages
                .iter()
                .any(|compiled| compiled.stemcell == wanted)
        }
        None => package
            .blobstore_id
            .as_ref()
            .is_some_and(|id| !id.is_empty()),
    })
}

/// The newest release of a folder.
fn newest(
    session: &Session,
    dir: &str,
    name: &Option<String>,
    version: &Option<String>,
) -> Result<Release> {
    let release = open_dir(&session.settings, dir)?.find_release(
        name.as_deref(),
        version.as_deref(),
        &mut BuildLines(&session.ui),
    )?;
    Ok(release)
}

/// Sends a local release without the packages that the director has.
async fn send(session: &Session, release: &Release, options: UploadReleaseOptions) -> Result<()> {
    let paths = Paths::prepare()?;
    let mut leave_out = BTreeSet::new();
    let manifest = &release.manifest;
    // The director refuses the question when there is nothing to ask about.
    let any = !manifest.packages.is_empty() || manifest.is_compiled();
    if any && !options.fix {
        leave_out = session
            .client
            .match_packages(&manifest.to_yaml(), manifest.is_compiled())
            .await?
            .into_iter()
            .collect();
    }
    let folder = tempfile::Builder::new()
        .prefix("bosh-release-upload")
        .tempdir_in(paths.tmp())?;
    let file: PathBuf = match &release.tarball {
        Some(tarball) if leave_out.is_empty() => tarball.clone(),
        _ => {
            let file = folder.path().join("release.tgz");
            release.write_tarball(&file, &leave_out)?;
            file
        }
    };
    let bar = TransferBar::when_watched(
        &session.ui,
        format!("Uploading {}", release.manifest.slug()),
    );
    session
        .client
        .upload_release_file(&file, options, bar, &session.reporter)
        .await?;
    Ok(())
}

/// Builds a development release of a folder and uploads it; its version.
pub async fn create_and_upload(session: &Session, name: &str, url: &str) -> Result<String> {
    let path = url.strip_prefix("file://").unwrap_or(url);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let options = CreateOptions {
        name: Some(name.to_owned()),
        timestamp: Some(now),
        force: true,
        ..CreateOptions::default()
    };
    let release = open_dir(&session.settings, path)?
        .create_release(&options, &mut BuildLines(&session.ui))?;
    send(session, &release, UploadReleaseOptions::default()).await?;
    Ok(release.manifest.version.clone())
}

fn is_git(url: &str) -> bool {
    ["git://", "git+", "git@"]
        .iter()
        .any(|prefix| url.starts_with(prefix))
}

async fn upload_git(session: &Session, request: &Upload) -> Result<()> {
    let paths = Paths::prepare()?;
    let folder = tempfile::Builder::new()
        .prefix("bosh-release-git")
        .tempdir_in(paths.tmp())?;
    let url = request.url.strip_prefix("git+").unwrap_or(&request.url);
    let output = tokio::process::Command::new("git")
        .args(["clone", url, "--depth", "1"])
        .arg(folder.path())
        .output()
        .await
        .within(|| "Running 'git'; is it installed?")?;
    if !output.status.success() {
        return Err(Error::message(
            String::from_utf8_lossy(&output.stderr)
                .trim_end()
                .to_owned(),
        )
        .within("Cloning git repo"));
    }
    let release = newest(
        session,
        &folder.path().to_string_lossy(),
        &request.name,
        &request.version,
    )?;
    send(session, &release, request.options()).await
}
