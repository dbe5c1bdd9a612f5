//! The task `export_release`: a release with its packages compiled for one stemcell, as a tarball in the blobstore
//! that any director takes in without compiling (releases-and-templates.md §11).

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use domain::{BlobId, Digest, JobName, MultiDigest};
use manifest::documents::StemcellEntry;
use planner::ExportPlan;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::compiled::{Compiled, dependency_key};
use super::upload::{WorkFolder, disk};
use super::{find, find_version};
use crate::blobs::{self, Kind};
use crate::compile;
use crate::deploy::args::UpdateDeployment;
use crate::deploy::prepare::{bind, documents, snapshot};
use crate::deploy::problems;
use crate::deploy::work::Work;
use crate::error::{Error, code};
use crate::store::compiled_packages::{self, CompiledPackage};
use crate::store::deployments;
use crate::store::releases::{self as rows, Job, Package, ReleaseVersion};
use crate::tasks::{Context, Handler};

/// Waiting for a deploy of the deployment.
const PATIENCE: Duration = Duration::from_secs(900);

/// Arguments of the task: the request's body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportArgs {
    pub deployment_name: String,
    pub release_name: String,
    pub release_version: String,
    pub stemcell_os: String,
    pub stemcell_version: String,
    /// The digest is a SHA-256, not a SHA-1.
    #[serde(default)]
    pub sha2: bool,
    /// Empty: all jobs of the release.
    #[serde(default)]
    pub jobs: Vec<WantedJob>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WantedJob {
    pub name: String,
}

/// Handler of `export_release`.
pub struct Export;

#[async_trait]
impl Handler for Export {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: ExportArgs = ctx.args()?;
        let export = Exporting::new(ctx, args).await?;
        let plan = match ctx.load_plan::<ExportPlan>().await? {
            Some((_, plan)) => Some(plan),
            None => {
                // What is wrong with the request is told before any waiting.
                export.plan().await?;
                None
            }
        };
        let lock = format!("lock:deployment:{}", export.work.deployment.name);
        let guard = ctx.lock(&lock, PATIENCE).await?;
        let plan = match plan {
            Some(plan) => plan,
            None => {
                let plan = export.plan().await?;
                ctx.store_plan(&plan.planner_version.to_string(), &plan)
                    .await?;
                plan
            }
        };
        compile::packages(&export.work, &plan.compile, &plan.compilation).await?;
        let folder = WorkFolder::new(&ctx.services, ctx.task.id)?;
        let exported = export.store(&folder).await;
        folder.discard();
        let (id, digest) = exported?;
        ctx.result_output(format!(
            "{}\n",
            json!({"blobstore_id": id.as_str(), "sha1": digest})
        ));
        guard.release().await?;
        let args = &export.args;
        Ok(format!(
            "Exported release: {}/{} for {}/{}",
            args.release_name, args.release_version, args.stemcell_os, args.stemcell_version
        ))
    }
}

/// One export.
struct Exporting {
    work: Work,
    args: ExportArgs,
    version: ReleaseVersion,
    jobs: Vec<Job>,
}

impl Exporting {
    /// # Errors
    /// 70000, 30005, 30006, 30011: what is named is not there, or not in the deployment's manifest.
    async fn new(ctx: &Context, args: ExportArgs) -> Result<Exporting, Error> {
        let db = ctx.services.store.pool();
        let deployment = deployments::find(db, &args.deployment_name)
            .await?
            .ok_or_else(|| {
                let text = format!("Deployment '{}' doesn't exist", args.deployment_name);
                Error::new(code::DEPLOYMENT_NOT_FOUND, text)
            })?;
        find(&ctx.services, &args.release_name).await?;
        let version =
            find_version(&ctx.services, &args.release_name, &args.release_version).await?;
        let deployed = deployment
            .manifest
            .as_ref()
            .and_then(|manifest| manifest["releases"].as_array());
        let is_meant = |entry: &Json| {
            let version = match &entry["version"] {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            entry["name"] == args.release_name.as_str() && version == args.release_version
        };
        if !deployed.is_some_and(|list| list.iter().any(is_meant)) {
            return Err(Error::new(
                code::RELEASE_NOT_MATCHING_MANIFEST,
                format!(
                    "Release version '{}/{}' not found in deployment '{}' manifest",
                    args.release_name, args.release_version, args.deployment_name
                ),
            ));
        }
        let mut jobs = rows::jobs_of(db, version.id).await?;
        jobs.retain(|job| {
            args.jobs.is_empty() || args.jobs.iter().any(|wanted| wanted.name == job.name)
        });
        Ok(Exporting {
            work: Work::tagged(ctx, deployment),
            args,
            version,
            jobs,
        })
    }

    /// What must be compiled first. The stemcell need not be one of the deployment's.
    async fn plan(&self) -> Result<ExportPlan, Error> {
        let (work, args) = (&self.work, &self.args);
        let stored = UpdateDeployment::default();
        let mut documents = documents::load(&work.ctx, &work.deployment, &stored)
            .await?
            .documents;
        let manifest = &mut documents.manifest;
        manifest
            .releases
            .retain(|release| release.name.as_str() == args.release_name);
        manifest.stemcells = vec![StemcellEntry {
            alias: "default".into(),
            os: Some(args.stemcell_os.clone()),
            name: None,
            version: args.stemcell_version.clone(),
        }];
        manifest.instance_groups.clear();
        documents.runtime.clear();
        let bound = bind::run(&work.ctx, documents).await?;
        let input = snapshot::for_compilation(work, &bound).await?;
        let jobs: Vec<JobName> = self
            .jobs
            .iter()
            .map(|job| JobName::new(job.name.clone()))
            .collect();
        let release = args.release_name.as_str().into();
        planner::plan_export(&input, &release, &jobs).map_err(problems::error)
    }

    /// Collects blobs, packs them and stores the tarball: its id and digest.
    async fn store(&self, folder: &WorkFolder) -> Result<(BlobId, String), Error> {
        let packages = self.packages().await?;
        let ctx = &self.work.ctx;
        let stage = ctx
            .events
            .stage("copying packages", &[], packages.len() as u64);
        let to = folder.path("compiled_packages");
        fs_err::tokio::create_dir_all(&to).await.map_err(disk)?;
        for (package, compiled) in &packages {
            ctx.checkpoint().await?;
            let file = to.join(format!("{}.tgz", package.name));
            stage
                .run(
                    format!("{}/{}", package.name, package.version),
                    self.fetch(&compiled.blob_id, &compiled.sha1, file),
                )
                .await?;
        }
        let stage = ctx
            .events
            .stage("copying jobs", &[], self.jobs.len() as u64);
        let to = folder.path("jobs");
        fs_err::tokio::create_dir_all(&to).await.map_err(disk)?;
        for job in &self.jobs {
            ctx.checkpoint().await?;
            let file = to.join(format!("{}.tgz", job.name));
            stage
                .run(
                    format!("{}/{}", job.name, job.version),
                    self.fetch(&job.blob_id, &job.sha1, file),
                )
                .await?;
        }
        fs_err::tokio::write(folder.path("release.MF"), self.manifest(&packages))
            .await
            .map_err(disk)?;
        let (parts, tarball) = (folder.path(""), folder.path("release.tgz"));
        let (sha2, out) = (self.args.sha2, tarball.clone());
        let digest = blobs::blocking(move || pack(&parts, &out, sha2).map_err(disk)).await?;
        // The same id for every worker of this task: a repeated upload replaces its own.
        let name = format!("{}/export/{}", ctx.services.director_uuid, ctx.task.id);
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
        let id = BlobId::new(id.to_string());
        blobs::store_file(&ctx.services, &id, Kind::ExportedRelease, &tarball).await?;
        Ok((id, digest))
    }

    async fn fetch(&self, blob: &str, digest: &str, to: PathBuf) -> Result<(), Error> {
        let expected = MultiDigest::parse(digest).ok();
        let blobs = &self.work.ctx.services.blobs;
        blobs
            .get_to_file(&BlobId::new(blob), &to, expected.as_ref())
            .await
            .map_err(blobs::failed)
    }

    /// The jobs' packages and all that these depend on, each with what it was compiled to.
    async fn packages(&self) -> Result<Vec<(Package, CompiledPackage)>, Error> {
        let (db, args) = (self.work.db(), &self.args);
        let all = rows::packages_of(db, self.version.id).await?;
        let mut names: Vec<String> = Vec::new();
        let mut open: Vec<String> = self
            .jobs
            .iter()
            .filter_map(|job| job.spec["packages"].as_array())
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        while let Some(name) = open.pop() {
            if names.contains(&name) {
                continue;
            }
            if let Some(package) = all.iter().find(|package| package.name == name) {
                open.extend(package.dependencies.iter().cloned());
            }
            names.push(name);
        }
        let nodes: Vec<Compiled> = all.iter().map(Compiled::of_row).collect();
        let mut exported = Vec::new();
        for package in all
            .into_iter()
            .filter(|package| names.contains(&package.name))
        {
            let key = dependency_key(&nodes, &package.name);
            let (os, version) = (&args.stemcell_os, &args.stemcell_version);
            let found = compiled_packages::of_name(
                db,
                &package.name,
                &package.fingerprint,
                os,
                version,
                &key,
            )
            .await?;
            let Some(found) = found else {
                return Err(Error::new(
                    code::PACKAGE_MISSING_SOURCE_CODE,
                    format!(
                        "Package '{}/{}' is not compiled against stemcell '{os}/{version}', and has no source code to compile it from",
                        package.name, package.fingerprint
                    ),
                )
                .hint("Export the release for the stemcell that it was compiled for."));
            };
            exported.push((package, found));
        }
        Ok(exported)
    }

    /// `release.MF`, keys in the original's order; no license.
    fn manifest(&self, packages: &[(Package, CompiledPackage)]) -> String {
        let stemcell = format!("{}/{}", self.args.stemcell_os, self.args.stemcell_version);
        let packages = packages.iter().map(|(package, compiled)| {
            json!({
                "name": package.name,
                "version": package.version,
                "fingerprint": package.fingerprint,
                "sha1": compiled.sha1,
                "stemcell": stemcell,
                "dependencies": package.dependencies,
            })
        });
        let jobs = self.jobs.iter().map(|job| {
            json!({
                "name": job.name,
                "version": job.version,
                "fingerprint": job.fingerprint,
                "sha1": job.sha1,
            })
        });
        let document = json!({
            "compiled_packages": packages.collect::<Vec<_>>(),
            "jobs": jobs.collect::<Vec<_>>(),
            "commit_hash": self.version.commit_hash,
            "uncommitted_changes": self.version.uncommitted_changes,
            "name": self.version.name,
            "version": self.version.version,
        });
        let value = serde_yaml::to_value(document).unwrap_or_default();
        manifest::yaml::to_director_string(&value)
    }
}

/// Packs `release.MF`, `jobs` and `compiled_packages`, in this order; the tarball's digest.
fn pack(parts: &Path, out: &Path, sha2: bool) -> std::io::Result<String> {
    let file = fs_err::File::create(out)?;
    // The archives inside are compressed already.
    let gzip = flate2::write::GzEncoder::new(
        std::io::BufWriter::with_capacity(256 * 1024, file),
        flate2::Compression::fast(),
    );
    let mut tar = tar::Builder::new(gzip);
    append(&mut tar, "./release.MF", &parts.join("release.MF"))?;
    for folder in ["jobs", "compiled_packages"] {
        append(&mut tar, &format!("./{folder}/"), &parts.join(folder))?;
        let mut files: Vec<_> = fs_err::read_dir(parts.join(folder))?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for name in files {
            let inside = format!("./{folder}/{}", name.to_string_lossy());
            append(&mut tar, &inside, &parts.join(folder).join(&name))?;
        }
    }
    std::io::Write::flush(&mut tar.into_inner()?.finish()?)?;
    let algorithm = if sha2 {
        domain::DigestAlgorithm::Sha256
    } else {
        domain::DigestAlgorithm::Sha1
    };
    let digest =
        Digest::of_reader(algorithm, fs_err::File::open(out)?).map_err(std::io::Error::other)?;
    Ok(digest.to_string())
}

/// Adds a file or folder under a name that begins with `./`, which `Header::set_path` would take away.
fn append(
    tar: &mut tar::Builder<impl std::io::Write>,
    name: &str,
    path: &Path,
) -> std::io::Result<()> {
    let folder = name.ends_with('/');
    let mut header = tar::Header::new_gnu();
    header.set_mode(if folder { 0o755 } else { 0o644 });
    header.set_entry_type(match folder {
        true => tar::EntryType::Directory,
        false => tar::EntryType::Regular,
    });
    header.set_size(match folder {
        true => 0,
        false => fs_err::metadata(path)?.len(),
    });
    let room = &mut header.as_old_mut().name;
    let fits = name.len() < room.len();
    if fits {
        room[..name.len()].copy_from_slice(name.as_bytes());
    }
    header.set_cksum();
    match (folder, fits) {
        (true, _) => tar.append(&header, std::io::empty()),
        (false, true) => tar.append(&header, fs_err::File::open(path)?),
        (false, false) => tar.append_data(&mut header, name, fs_err::File::open(path)?),
    }
}
