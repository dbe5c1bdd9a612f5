//! Releases on the director: list, inspect, delete, export (spec cli §11).

use super::Session;
use crate::commands::{DeleteReleaseArgs, ExportReleaseArgs, InspectReleaseArgs};
use crate::error::{Error, Result, Within};
use crate::ui::{Sort, Table, TransferBar, Value};
use director_client::ExportRelease;
use std::path::{Path, PathBuf};

pub async fn list(session: &Session) -> Result<()> {
    let mut table = Table::new("releases", &["Name", "Version", "Commit Hash"])
        .sorted(&[Sort::Up(0), Sort::Down(1)]);
    table.notes = vec![
        "(*) Currently deployed".to_owned(),
        "(+) Uncommitted changes".to_owned(),
    ];
    for release in session.client.releases().await? {
        for row in &release.release_versions {
            let deployed = if row.currently_deployed { "*" } else { "" };
            let changed = if row.uncommitted_changes { "+" } else { "" };
            table.rows.push(vec![
                release.name.as_str().into(),
                Value::version(&row.version).suffix(deployed),
                Value::some(row.commit_hash.as_deref()).suffix(changed),
            ]);
        }
    }
    session.ui.table(table);
    Ok(())
}

const JOB_HEADER: [&str; 5] = [
    "Job",
    "Blobstore ID",
    "Digest",
    "Links Consumed",
    "Links Provided",
];
const PACKAGE_HEADER: [&str; 4] = ["Package", "Compiled for", "Blobstore ID", "Digest"];

pub async fn inspect(session: &Session, args: InspectReleaseArgs) -> Result<()> {
    let slug = &args.slug;
    let release = session
        .client
        .inspect_release(&slug.name, &slug.version)
        .await?;
    let mut jobs = Table::new("jobs", &JOB_HEADER).sorted(&[Sort::Up(0)]);
    jobs.sibling_columns = PACKAGE_HEADER.map(str::to_owned).to_vec();
    jobs.rows = release
        .jobs
        .into_iter()
        .map(|job| {
            vec![
                format!("{}/{}", job.name, job.fingerprint).into(),
                Value::some(job.blobstore_id),
                Value::some(job.sha1),
                links(job.consumes),
                links(job.provides),
            ]
        })
        .collect();
    session.ui.table(jobs);
    let mut packages = Table::new("packages", &PACKAGE_HEADER).sorted(&[Sort::Up(0), Sort::Up(1)]);
    packages.sibling_columns = JOB_HEADER.map(str::to_owned).to_vec();
    for package in release.packages {
        let name = format!("{}/{}", package.name, package.fingerprint);
        if package
            .blobstore_id
            .as_ref()
            .is_some_and(|id| !id.is_empty())
        {
            packages.rows.push(vec![
                name.as_str().into(),
                "(source)".into(),
                Value::some(package.blobstore_id),
                Value::some(package.sha1),
            ]);
        }
        for compiled in package.compiled_packages {
            packages.rows.push(vec![
                name.as_str().into(),
                compiled.stemcell.into(),
                Value::some(compiled.blobstore_id),
                Value::some(compiled.sha1),
            ]);
        }
    }
    session.ui.table(packages);
    Ok(())
}

/// Name and type of each link, and whether it is optional; what else the spec says is not listed.
fn links(links: Option<Vec<serde_json::Value>>) -> Value {
    let mut links = links.unwrap_or_default();
    for link in &mut links {
        if let Some(fields) = link.as_object_mut() {
            fields.retain(|key, value| match key.as_str() {
                "name" | "type" => true,
                "optional" => value == true,
                _ => false,
            });
        }
    }
    if links.is_empty() {
        return Value::default();
    }
    Value::text(crate::yaml::from_json(&links.into()))
}

pub async fn delete(session: &Session, args: DeleteReleaseArgs) -> Result<()> {
    session.ui.confirm()?;
    let name = &args.slug.name;
    let version = args.slug.version.as_deref();
    let known = session.client.releases().await?;
    let exists = known.iter().any(|release| {
        release.name == *name
            && version.is_none_or(|version| {
                release
                    .release_versions
                    .iter()
                    .any(|row| row.version == version)
            })
    });
    if !exists {
        let what = match version {
            Some(version) => format!("{name}/{version}"),
            None => name.clone(),
        };
        session.ui.line(format!("Release '{what}' does not exist."));
        return Ok(());
    }
    session
        .client
        .delete_release(name, version, args.force, &session.reporter)
        .await?;
    Ok(())
}

pub async fn export(session: &Session, args: ExportReleaseArgs) -> Result<()> {
    let (release, stemcell) = (&args.release, &args.stemcell);
    if !args.jobs.is_empty() {
        let known = session
            .client
            .inspect_release(&release.name, &release.version)
            .await?;
        for job in &args.jobs {
            if !known.jobs.iter().any(|row| row.name == *job) {
                return Err(Error::message(format!(
                    "Job '{job}' for release '{release}' doesn't exist"
                )));
            }
        }
    }
    let export = ExportRelease {
        deployment: session.deployment()?.to_owned(),
        release: (release.name.clone(), release.version.clone()),
        stemcell: (stemcell.name.clone(), stemcell.version.clone()),
        jobs: args.jobs.clone(),
    };
    let exported = session
        .client
        .export_release(&export, &session.reporter)
        .await?;
    let mut jobs = args.jobs;
    jobs.sort();
    let prefix: String = jobs.iter().map(|job| format!("{job}-")).collect();
    let name = format!(
        "{prefix}{}-{}-{}-{}",
        release.name, release.version, stemcell.name, stemcell.version
    );
    download(
        session,
        &exported.blobstore_id,
        Some(&exported.sha1),
        &name,
        &args.dir,
    )
    .await
    .within(|| "Downloading exported release")?;
    Ok(())
}

/// Downloads a blob to `<dir>/<name>-<now>.tgz`; the file is there whole or not at all.
pub async fn download(
    session: &Session,
    blob: &str,
    digest: Option<&str>,
    name: &str,
    dir: &str,
) -> Result<PathBuf> {
    let now = chrono::Local::now().format("%Y%m%d-%H%M%S-%9f");
    let folder = std::path::absolute(dir)?;
    let path = folder.join(format!("{name}-{now}.tgz"));
    session.ui.line(format!(
        "Downloading resource '{blob}' to '{}'...",
        path.display()
    ));
    let part = part_of(&path);
    let bar = TransferBar::when_watched(&session.ui, "Downloading");
    let result = session
        .client
        .download_resource(blob, digest, &part, bar)
        .await;
    if let Err(error) = result {
        // Nothing of a failed download is worth keeping; it may not even exist.
        let _ = fs_err::remove_file(&part);
        return Err(error.into());
    }
    fs_err::rename(&part, &path)?;
    Ok(path)
}

fn part_of(path: &Path) -> PathBuf {
    path.with_extension("tgz.part")
}
