//! What the schedule cleans up: old orphaned disks, orphaned VMs, old DNS blobs (docs/spec/operations.md §2).

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::delete::{delete_dns_blobs, time_text};
use crate::deploy::bounded::at_most;
use crate::deploy::prepare::snapshot::MAX_THREADS;
use crate::disks;
use crate::error::Error;
use crate::services::Services;
use crate::tasks::{Context, Handler};
use crate::vms;

/// Waiting for somebody else who deletes the same VM.
const PATIENCE: Duration = Duration::from_secs(5);

/// Disks orphaned before this moment are to be deleted.
pub fn orphan_cutoff(services: &Services) -> DateTime<Utc> {
    let days = services.settings.disks.max_orphaned_age_in_days;
    Utc::now() - TimeDelta::days(i64::from(days))
}

/// Handler of `scheduled_orphaned_disk_cleanup`: tries all; how many failed is the error.
pub struct OldDisks;

#[async_trait]
impl Handler for OldDisks {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let cutoff = orphan_cutoff(&ctx.services);
        let old = ctx.services.store.old_orphan_disks(cutoff).await?;
        let stage = ctx
            .events
            .stage("Deleting orphan disks", &[], old.len() as u64);
        let mut failed = 0;
        for disk in &old {
            ctx.checkpoint().await?;
            let step = stage.task(disk.cid.clone());
            match disks::delete_orphan(ctx, disk).await {
                Err(error) if error.is_interrupted() => return Err(error),
                Err(error) => {
                    failed += 1;
                    ctx.debug(format!(
                        "Failed to delete orphan disk with cid {}. Failed with {}",
                        disk.cid,
                        error.chain()
                    ));
                }
                Ok(()) => {}
            }
            // compat: a failure is told at the end only.
            step.finish();
        }
        let text = format!(
            "Deleted {} orphaned disk(s) older than {}. Failed to delete {failed} disk(s).",
            old.len() - failed,
            time_text(cutoff)
        );
        match failed {
            0 => Ok(text),
            _ => Err(Error::unclassified(text).hint("The task's debug output says why.")),
        }
    }
}

/// Handler of `scheduled_orphaned_vm_cleanup`.
pub struct OrphanedVms;

#[async_trait]
impl Handler for OrphanedVms {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let all = ctx.services.store.orphan_vms().await?;
        at_most(MAX_THREADS as usize, &all, |vm| {
            vms::delete_orphan(ctx, vm, PATIENCE)
        })
        .await?;
        Ok(String::new())
    }
}

/// Handler of `scheduled_dns_blobs_cleanup`.
pub struct DnsBlobs;

#[async_trait]
impl Handler for DnsBlobs {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        delete_dns_blobs(ctx, false).await
    }
}
