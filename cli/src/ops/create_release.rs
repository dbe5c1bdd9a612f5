//! `create-release` and `inspect-local-release` (spec releases-and-templates §9.2, §9.3, §9.7). Building
//! itself is the crate `release-archive`.

use super::Context;
use crate::commands::{CreateReleaseArgs, InspectLocalReleaseArgs};
use crate::config::{Paths, Settings, expand, home};
use crate::error::Result;
use crate::ui::{Sort, Table, Ui, Value};
use release_archive::{CreateOptions, Event, Progress, Release, ReleaseDir, ReleaseManifest};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Prints what a build does, a line each.
pub struct BuildLines<'a>(pub &'a Ui);

impl Progress for BuildLines<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Warning(_)
            | Event::BlobFailedDownloading { .. }
            | Event::BlobFailedUploading { .. }
            | Event::FailedAddingRelease { .. } => self.0.error_line(event.to_string()),
            // compat: these are followed by an empty line.
            Event::FailedAdding { .. }
            | Event::FailedUploading { .. }
            | Event::FailedDownloading { .. } => self.0.error_line(format!("{event}\n")),
            Event::AddedRelease { .. } => self.0.line(event.to_string()),
            event => self.0.begin_line(format!("{event}\n")),
        }
    }
}

/// Opens a release folder with the user's cache of archives.
pub fn open_dir(settings: &Settings, dir: &str) -> Result<ReleaseDir> {
    let cache = home()?.join(".bosh/cache");
    // As given, because errors name it; only `.` says too little.
    let dir = match dir {
        "." => std::env::current_dir()?,
        dir => expand(dir)?,
    };
    Ok(ReleaseDir::open(dir, cache).at_once(settings.parallel))
}

pub async fn create(context: &Context, args: CreateReleaseArgs) -> Result<()> {
    let dir = open_dir(&context.settings, &args.dir)?;
    let mut lines = BuildLines(&context.ui);
    let release = match &args.manifest {
        Some(path) => dir.release_of(&expand(path)?, &mut lines)?,
        None => {
            let timestamp = args.timestamp_version.then(|| {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs())
            });
            let options = CreateOptions {
                name: args.name.clone(),
                version: args.version.clone(),
                timestamp,
                force: args.force,
                finish: args.is_final,
            };
            dir.create_release(&options, &mut lines)?
        }
    };
    let mut archive = None;
    if let Some(template) = &args.tarball {
        let path = release_archive::dir::tarball_path(template, &release.manifest)?;
        release.write_tarball(&path, &BTreeSet::new())?;
        archive = Some(path);
    }
    print_release(&context.ui, &release.manifest, archive);
    Ok(())
}

pub fn inspect_local(context: &Context, args: InspectLocalReleaseArgs) -> Result<()> {
    let path = PathBuf::from(&args.path);
    let paths = Paths::prepare()?;
    let release = Release::read(&path, paths.tmp())?;
    release.verify_listing()?;
    print_release(&context.ui, &release.manifest, Some(path));
    Ok(())
}

/// The tables about a release.
pub fn print_release(ui: &Ui, manifest: &ReleaseManifest, archive: Option<PathBuf>) {
    let mut summary = Table::record("");
    summary.cell("Name", manifest.name.as_str());
    summary.cell("Version", manifest.version.as_str());
    let changed = if manifest.uncommitted_changes {
        "+"
    } else {
        ""
    };
    summary.cell(
        "Commit Hash",
        Value::some(manifest.commit_hash.as_deref()).suffix(changed),
    );
    if let Some(path) = archive {
        summary.cell("Archive", path.display().to_string());
    }
    let mut jobs = Table::new("jobs", &["Job", "Digest", "Packages"]).sorted(&[Sort::Up(0)]);
    jobs.rows = manifest
        .jobs
        .iter()
        .map(|job| {
            vec![
                format!("{}/{}", job.name, job.fingerprint).into(),
                job.digest.as_str().into(),
                Value::list(&job.packages),
            ]
        })
        .collect();
    let has_compiled = manifest
        .compiled_packages
        .as_ref()
        .is_some_and(|compiled| !compiled.is_empty());
    let mut packages = match has_compiled {
        true => Table::new(
            "packages",
            &["Package", "Digest", "Dependencies", "OS", "OS Version"],
        ),
        false => Table::new("packages", &["Package", "Digest", "Dependencies"]),
    }
    .sorted(&[Sort::Up(0)]);
    let compiled = manifest.compiled_packages.iter().flatten();
    packages.rows = manifest
        .packages
        .iter()
        .map(|package| (package, None))
        .chain(compiled.map(|row| (&row.package, Some(row.stemcell.as_str()))))
        .map(|(package, stemcell)| {
            let mut row: Vec<Value> = vec![
                format!("{}/{}", package.name, package.fingerprint).into(),
                package.digest.as_str().into(),
            ];
            row.push(Value::list(&package.dependencies));
            if has_compiled {
                let (os, version) = stemcell
                    .and_then(|stemcell| stemcell.split_once('/'))
                    .unwrap_or_default();
                row.extend([os.into(), version.into()]);
            }
            row
        })
        .collect();
    let all: Vec<String> = [&summary, &jobs, &packages]
        .iter()
        .flat_map(|table| table.header.clone())
        .collect();
    for mut table in [summary, jobs, packages] {
        table.sibling_columns = all.clone();
        ui.table(table);
    }
}
