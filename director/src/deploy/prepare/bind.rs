//! Versions: `latest` becomes a version, names become uploads (manifests-and-planning §2.1).

use std::collections::BTreeSet;

use domain::version::Pattern;
use manifest::documents::{Documents, Problem, Problems, ReleaseEntry, StemcellEntry};
use planner::{Catalogue, CompiledPackage, JobSpec, PackageSource, PackageSpec, Release, Stemcell};

use crate::deploy::problems;
use crate::error::Error;
use crate::store::binding::{self, StemcellRow};
use crate::tasks::Context;

/// Documents with versions resolved, and the uploads they name.
#[derive(Clone)]
pub struct Bound {
    pub documents: Documents,
    pub catalogue: Catalogue,
    pub release_versions: Vec<i64>,
    pub stemcell_ids: Vec<i64>,
}

/// # Errors
/// 30005, 30006, 50003: all that are missing.
pub async fn run(ctx: &Context, mut documents: Documents) -> Result<Bound, Error> {
    let db = ctx.services.store.pool();
    let mut faults = Problems::default();
    let mut bound = BTreeSet::new();
    let mut catalogue = Catalogue::default();
    let runtime = documents
        .runtime
        .iter_mut()
        .flat_map(|config| config.releases.iter_mut());
    for entry in documents.manifest.releases.iter_mut().chain(runtime) {
        let versions = binding::release_versions(db, entry.name.as_str()).await?;
        let Some(id) = faults.take(release(entry, versions)) else {
            continue;
        };
        if bound.insert(id) {
            catalogue.releases.push(load(ctx, id, entry).await?);
        }
    }
    let rows = binding::stemcells(db).await?;
    let mut stemcells = BTreeSet::new();
    for entry in &mut documents.manifest.stemcells {
        for row in faults.take(stemcell(entry, &rows)).unwrap_or_default() {
            if stemcells.insert(row.id) {
                catalogue.stemcells.push(Stemcell {
                    name: row.name.clone().into(),
                    version: row.version.clone(),
                    os: row.operating_system.clone(),
                    cid: row.cid.clone().into(),
                    cpi: row.cpi.clone().into(),
                    api_version: row
                        .api_version
                        .and_then(|version| u32::try_from(version).ok())
                        .unwrap_or(1),
                });
            }
        }
    }
    if !faults.0.is_empty() {
        return Err(problems::error(faults));
    }
    catalogue.compiled = compiled(ctx, &catalogue).await?;
    Ok(Bound {
        documents,
        catalogue,
        release_versions: bound.into_iter().collect(),
        stemcell_ids: stemcells.into_iter().collect(),
    })
}

fn release(entry: &mut ReleaseEntry, versions: Option<Vec<(i64, String)>>) -> Result<i64, Problem> {
    let name = &entry.name;
    let Some(versions) = versions else {
        return Err(
            Problem::new(30005, format!("Release '{name}' doesn't exist"))
                .hint("Upload it with `bosh upload-release`; `bosh releases` shows what is there."),
        );
    };
    let pattern = Pattern::parse(&entry.version);
    let exact = versions
        .iter()
        .find(|(_, version)| *version == entry.version);
    let chosen = exact
        .map(|(_, version)| version.as_str())
        .or_else(|| match pattern {
            Pattern::Exact(_) => None,
            pattern => pattern.resolve(versions.iter().map(|(_, version)| version.as_str())),
        });
    let Some((id, version)) =
        chosen.and_then(|chosen| versions.iter().find(|(_, version)| version == chosen))
    else {
        return Err(Problem::new(
            30006,
            format!("Release version '{name}/{}' doesn't exist", entry.version),
        )
        .hint("`bosh releases` shows which versions are uploaded."));
    };
    entry.version.clone_from(version);
    Ok(*id)
}

/// All rows of the chosen name (or OS) and version, one per CPI.
fn stemcell<'a>(
    entry: &mut StemcellEntry,
    rows: &'a [StemcellRow],
) -> Result<Vec<&'a StemcellRow>, Problem> {
    let fits = |row: &&StemcellRow| match (&entry.name, &entry.os) {
        (Some(name), _) => row.name == name.as_str(),
        (None, Some(os)) => row.operating_system == *os,
        (None, None) => false,
    };
    let candidates: Vec<&StemcellRow> = rows.iter().filter(fits).collect();
    let versions = candidates.iter().map(|row| row.version.as_str());
    let Some(version) = Pattern::parse(&entry.version)
        .resolve(versions)
        .map(str::to_owned)
    else {
        let text = match (&entry.name, &entry.os) {
            (Some(name), _) => format!("Stemcell '{name}/{}' doesn't exist", entry.version),
            (None, os) => format!(
                "Stemcell version '{}' for OS '{}' doesn't exist",
                entry.version,
                os.as_deref().unwrap_or_default()
            ),
        };
        return Err(Problem::new(50003, text)
            .hint("Upload it with `bosh upload-stemcell`; `bosh stemcells` shows what is there."));
    };
    entry.version.clone_from(&version);
    let chosen = candidates.iter().find(|row| row.version == version);
    entry.os = chosen
        .map(|row| row.operating_system.clone())
        .or(entry.os.take());
    Ok(candidates
        .into_iter()
        .filter(|row| row.version == version)
        .collect())
}

async fn load(ctx: &Context, id: i64, entry: &ReleaseEntry) -> Result<Release, Error> {
    let db = ctx.services.store.pool();
    let jobs = binding::jobs(db, id).await?.into_iter().map(|row| {
        let name = domain::JobName::new(row.name);
        (
            name.clone(),
            JobSpec::from_manifest(
                name,
                row.fingerprint,
                row.sha1,
                row.blob_id.into(),
                &row.spec,
            ),
        )
    });
    let jobs = jobs.collect();
    let packages = binding::packages(db, id).await?.into_iter().map(|row| {
        let name = domain::PackageName::new(row.name);
        let dependencies: Vec<String> =
            serde_json::from_value(row.dependencies).unwrap_or_default();
        let spec = PackageSpec {
            name: name.clone(),
            fingerprint: row.fingerprint,
            source: row.blob_id.map(|blob| PackageSource {
                blob_id: blob.into(),
                sha1: row.sha1.unwrap_or_default(),
            }),
            dependencies: dependencies.into_iter().map(Into::into).collect(),
        };
        (name, spec)
    });
    Ok(Release {
        name: entry.name.clone(),
        version: entry.version.clone(),
        jobs,
        packages: packages.collect(),
    })
}

async fn compiled(ctx: &Context, uploads: &Catalogue) -> Result<Vec<CompiledPackage>, Error> {
    let packages = uploads
        .releases
        .iter()
        .flat_map(|release| release.packages.values());
    let fingerprints: BTreeSet<String> = packages
        .map(|package| package.fingerprint.clone())
        .collect();
    let fingerprints: Vec<String> = fingerprints.into_iter().collect();
    let rows = binding::compiled(ctx.services.store.pool(), &fingerprints).await?;
    Ok(rows
        .into_iter()
        .map(|row| CompiledPackage {
            name: row.name.into(),
            fingerprint: row.fingerprint,
            stemcell_os: row.stemcell_os,
            stemcell_version: row.stemcell_version,
            dependency_key: row.dependency_key,
            build: u32::try_from(row.build).unwrap_or(1),
            blob_id: row.blob_id.into(),
            sha1: row.sha1,
        })
        .collect())
}
