//! Compiling one package on one VM.

use std::time::Duration;

use agent_protocol::{
    CompilePackage as Request, CompilePackageWithSignedUrl, Dependency, DependencyWithSignedUrl,
};
use journal::StepKind;
use planner::{CompilePackage, PackageRef};

use super::worker::{Pool, Worker};
use crate::agents;
use crate::deploy::blobs;
use crate::deploy::work::Work;
use crate::error::{Error, code};
use crate::store::compiled_packages::{self, CompiledPackage};

/// Waiting for another task that compiles the same package.
const LOCK_PATIENCE: Duration = Duration::from_secs(900);

/// Compiles, or takes what another task has compiled meanwhile.
pub async fn compile(
    work: &Work,
    pool: &Pool<'_>,
    need: &CompilePackage,
    dependencies: Vec<PackageRef>,
) -> Result<PackageRef, Error> {
    work.ctx.checkpoint().await?;
    let key = need.step_key();
    work.ctx
        .step(&key, StepKind::CompilePackage, |_| async {
            let name = (
                need.name.as_str(),
                need.fingerprint.as_str(),
                need.source_blob.as_str(),
            );
            let package_id = compiled_packages::package_id(work.db(), name.0, name.1, name.2)
                .await?
                .ok_or_else(|| {
                    Error::unclassified(format!(
                        "Package '{}' is not uploaded any more.",
                        need.title()
                    ))
                    .hint("Upload the release again.")
                })?;
            let lock = format!(
                "lock:compile:{package_id}:{}/{}",
                need.stemcell.os, need.stemcell.version
            );
            let guard = work.ctx.lock(&lock, LOCK_PATIENCE).await?;
            let found = find(work, package_id, need).await?;
            let compiled = match found {
                Some(compiled) => compiled,
                None => on_a_worker(work, pool, package_id, need, &dependencies).await?,
            };
            guard.release().await?;
            Ok(PackageRef {
                name: need.name.clone(),
                version: format!("{}.{}", need.fingerprint, compiled.build),
                sha1: compiled.sha1,
                blobstore_id: compiled.blob_id.into(),
            })
        })
        .await
}

async fn find(
    work: &Work,
    package_id: i64,
    need: &CompilePackage,
) -> Result<Option<CompiledPackage>, Error> {
    let stemcell = &need.stemcell;
    Ok(compiled_packages::find(
        work.db(),
        package_id,
        &stemcell.os,
        &stemcell.version,
        &need.dependency_key,
    )
    .await?)
}

async fn on_a_worker(
    work: &Work,
    pool: &Pool<'_>,
    package_id: i64,
    need: &CompilePackage,
    dependencies: &[PackageRef],
) -> Result<CompiledPackage, Error> {
    let stemcell = &need.stemcell;
    let build =
        compiled_packages::next_build(work.db(), package_id, &stemcell.os, &stemcell.version)
            .await?;
    let worker = pool.take(need).await?;
    let compiled = async {
        worker.label(work, need.name.as_str()).await?;
        let asked = ask(work, &worker, need, build, dependencies);
        work.ctx.until_cancelled(asked).await?
    }
    .await;
    if matches!(&compiled, Err(error) if error.is_interrupted()) {
        return Err(Error::interrupted("interrupted while compiling"));
    }
    // An agent that is still busy with a package nobody waits for can't take the next one.
    pool.give_back(worker, compiled.is_ok()).await?;
    let (blob_id, sha1) = compiled?;
    let row = CompiledPackage {
        id: 0,
        package_id,
        stemcell_os: stemcell.os.clone(),
        stemcell_version: stemcell.version.clone(),
        dependency_key: need.dependency_key.clone(),
        build,
        blob_id,
        sha1,
    };
    Ok(compiled_packages::insert(work.db(), &row).await?)
}

/// The agent's part: blob id and digest of the compiled package.
async fn ask(
    work: &Work,
    worker: &Worker,
    need: &CompilePackage,
    build: i64,
    dependencies: &[PackageRef],
) -> Result<(String, String), Error> {
    let version = format!("{}.{build}", need.fingerprint);
    let to = worker.target();
    if blobs::signs(work, need.stemcell_api_version) {
        let (id, upload) = blobs::signed_upload(work).await?;
        let mut deps = std::collections::BTreeMap::new();
        for package in dependencies {
            let dependency = DependencyWithSignedUrl {
                name: package.name.to_string(),
                version: package.version.clone(),
                sha1: package.sha1.clone(),
                blobstore_id: package.blobstore_id.to_string(),
                package_get_signed_url: blobs::signed_get(work, package.blobstore_id.as_str())
                    .await?,
                ..DependencyWithSignedUrl::default()
            };
            deps.insert(package.name.to_string(), dependency);
        }
        let request = CompilePackageWithSignedUrl {
            package_get_signed_url: blobs::signed_get(work, need.source_blob.as_str()).await?,
            upload_signed_url: upload,
            digest: need.source_sha1.clone(),
            name: need.name.to_string(),
            version,
            deps,
            ..CompilePackageWithSignedUrl::default()
        };
        let done = work
            .agents()
            .compile_package_with_signed_url(&to, &request)
            .await
            .map_err(agents::failed)?;
        return Ok((id, done.sha1));
    }
    let request = Request {
        blobstore_id: need.source_blob.to_string(),
        digest: need.source_sha1.clone(),
        name: need.name.to_string(),
        version,
        deps: dependencies
            .iter()
            .map(|package| {
                let dependency = Dependency {
                    name: package.name.to_string(),
                    version: package.version.clone(),
                    sha1: package.sha1.clone(),
                    blobstore_id: package.blobstore_id.to_string(),
                };
                (package.name.to_string(), dependency)
            })
            .collect(),
    };
    let done = work
        .agents()
        .compile_package(&to, &request)
        .await
        .map_err(agents::failed)?;
    match done.blobstore_id.filter(|id| !id.is_empty()) {
        Some(id) => Ok((id, done.sha1)),
        None => Err(Error::new(
            code::COMPILE_BLOB_MISSING,
            "Compilation task result contained an invalid blobstore object id",
        )
        .hint("The agent could not store the package: check its blobstore settings.")),
    }
}
