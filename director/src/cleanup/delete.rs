//! Task type `delete_artifacts`.

use std::time::Duration;

use async_trait::async_trait;

use super::plan::{self, Config, Plan};
use crate::blobs;
use crate::deploy::bounded::at_most;
use crate::deploy::prepare::snapshot::MAX_THREADS;
use crate::disks;
use crate::error::Error;
use crate::releases;
use crate::stemcells;
use crate::store::stemcells::Stemcell;
use crate::store::{self, compiled_packages, dns_blobs};
use crate::tasks::{Context, Handler};
use crate::vms;

/// Waiting for somebody else who deletes or uploads the same.
const PATIENCE: Duration = Duration::from_secs(10);

/// Handler of `delete_artifacts`.
pub struct DeleteArtifacts;

#[async_trait]
impl Handler for DeleteArtifacts {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let config: Config = ctx.args()?;
        // What an earlier worker of this task deleted counts too.
        let plan = plan::plan(&ctx.services, config).await?;
        let vms = orphaned_vms(ctx, &plan).await?;
        let releases = releases(ctx, &plan).await?;
        let stemcells = stemcells(ctx, &plan).await?;
        let packages = compiled_packages(ctx, &plan).await?;
        let disks = orphaned_disks(ctx, &plan).await?;
        let exported = exported_releases(ctx, &plan).await?;
        let dns = ctx
            .events
            .stage("Deleting dns blobs", &[], 1)
            .run("DNS blobs", delete_dns_blobs(ctx, config.remove_all))
            .await?;
        Ok(format!(
            "Deleted {releases} release(s), {stemcells} stemcell(s), {packages} extra compiled package(s), \
             {disks} orphaned disk(s), {vms} orphaned vm(s), {exported} exported release(s), {dns}"
        ))
    }
}

async fn orphaned_vms(ctx: &Context, plan: &Plan) -> Result<usize, Error> {
    let all = &plan.orphaned_vms;
    let stage = ctx
        .events
        .stage("Deleting orphaned vms", &[], all.len() as u64);
    at_most(MAX_THREADS as usize, all, |vm| {
        stage.run(vm.cid.clone(), vms::delete_orphan(ctx, vm, PATIENCE))
    })
    .await?;
    Ok(all.len())
}

async fn releases(ctx: &Context, plan: &Plan) -> Result<usize, Error> {
    let count = plan
        .releases
        .iter()
        .map(|(_, versions)| versions.len())
        .sum();
    let stage = ctx.events.stage("Deleting releases", &[], count as u64);
    at_most(MAX_THREADS as usize, &plan.releases, |(name, versions)| {
        let stage = stage.clone();
        async move {
            let guard = ctx.lock(&format!("lock:release:{name}"), PATIENCE).await?;
            for version in versions {
                ctx.checkpoint().await?;
                stage
                    .run(
                        format!("{name}/{version}"),
                        releases::delete_version(ctx, name, version),
                    )
                    .await?;
            }
            guard.release().await
        }
    })
    .await?;
    Ok(count)
}

async fn stemcells(ctx: &Context, plan: &Plan) -> Result<usize, Error> {
    let all = &plan.stemcells;
    let stage = ctx
        .events
        .stage("Deleting stemcells", &[], all.len() as u64);
    at_most(MAX_THREADS as usize, all, |row| {
        stage.run(
            format!("{}/{}", row.name, row.version),
            delete_stemcell(ctx, row),
        )
    })
    .await?;
    Ok(all.len())
}

async fn delete_stemcell(ctx: &Context, row: &Stemcell) -> Result<(), Error> {
    let db = ctx.services.store.pool();
    let lock = format!("lock:stemcells:{}:{}", row.name, row.version);
    let guard = ctx.lock(&lock, PATIENCE).await?;
    // A deploy may have begun to use it.
    if store::stemcells::deployments_of(db, row.id)
        .await?
        .is_empty()
    {
        stemcells::delete_one(ctx, row, false).await?;
    }
    guard.release().await
}

async fn compiled_packages(ctx: &Context, plan: &Plan) -> Result<usize, Error> {
    let db = ctx.services.store.pool();
    // Some went with their release.
    let left: Vec<i64> = compiled_packages::list_all(db)
        .await?
        .into_iter()
        .map(|package| package.id)
        .collect();
    let all: Vec<_> = plan
        .compiled_packages
        .iter()
        .filter(|package| left.contains(&package.id))
        .collect();
    let stage = ctx
        .events
        .stage("Deleting compiled packages", &[], all.len() as u64);
    at_most(MAX_THREADS as usize, &all, |package| {
        let title = format!(
            "{} for {}/{}",
            package.name, package.stemcell_os, package.stemcell_version
        );
        stage.run(title, async move {
            blobs::delete(&ctx.services, &package.blob_id, false).await?;
            Ok(compiled_packages::delete(db, package.id).await?)
        })
    })
    .await?;
    Ok(all.len())
}

async fn orphaned_disks(ctx: &Context, plan: &Plan) -> Result<usize, Error> {
    let all = &plan.orphaned_disks;
    let stage = ctx
        .events
        .stage("Deleting orphaned disks", &[], all.len() as u64);
    at_most(MAX_THREADS as usize, all, |disk| {
        stage.run(disk.cid.clone(), disks::delete_orphan(ctx, disk))
    })
    .await?;
    Ok(all.len())
}

async fn exported_releases(ctx: &Context, plan: &Plan) -> Result<usize, Error> {
    let all = &plan.exported_releases;
    let stage = ctx
        .events
        .stage("Deleting exported releases", &[], all.len() as u64);
    for id in all {
        ctx.checkpoint().await?;
        stage
            .run(id.clone(), blobs::delete(&ctx.services, id, false))
            .await?;
    }
    Ok(all.len())
}

/// Deletes expired DNS blobs; what it did, in words.
pub(super) async fn delete_dns_blobs(ctx: &Context, remove_all: bool) -> Result<String, Error> {
    let db = ctx.services.store.pool();
    let (cutoff, expired) = plan::expired_dns_blobs(&ctx.services, remove_all).await?;
    for (version, blob) in &expired {
        blobs::delete(&ctx.services, blob, false).await?;
        dns_blobs::delete(db, *version).await?;
    }
    Ok(format!(
        "Deleted {} dns blob(s) created before {}",
        expired.len(),
        time_text(cutoff)
    ))
}

/// As the original prints times in texts.
pub(super) fn time_text(time: chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S +0000").to_string()
}
