//! Work that nobody asks for: queued as tasks of the user `scheduler` when its time comes
//! (docs/spec/operations.md §2).
//!
//! Every director of an environment runs [`run`]; a row in the database lets only one of them queue a moment's
//! task. A moment that passed while no director was up is skipped, as in the original.

mod cron;

pub use cron::Cron;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use crate::cleanup;
use crate::error::Error;
use crate::services::Services;
use crate::store::schedule as rows;
use crate::tasks::{NewTask, enqueue};

/// A kind of task with its schedule.
struct Job {
    kind: &'static str,
    description: &'static str,
    schedule: Cron,
}

fn jobs(services: &Services) -> Vec<Job> {
    let settings = &services.settings;
    let mut jobs = vec![
        Job {
            kind: "scheduled_orphaned_vm_cleanup",
            description: "scheduled ScheduledOrphanedVMCleanup",
            schedule: settings.vms.cleanup_schedule.clone(),
        },
        Job {
            kind: "scheduled_orphaned_disk_cleanup",
            description: "clean up orphan disks",
            schedule: settings.disks.cleanup_schedule.clone(),
        },
        Job {
            kind: "scheduled_dns_blobs_cleanup",
            description: "clean up local dns blobs",
            schedule: Cron::fixed("0 0,30 * * * * UTC"),
        },
    ];
    if settings.enable_snapshots {
        jobs.push(Job {
            kind: "snapshot_deployments",
            description: "scheduled SnapshotDeployments",
            schedule: settings.snapshot_schedule.clone(),
        });
    }
    jobs
}

/// Queues what is due until `stop`.
pub async fn run(services: Arc<Services>, stop: CancellationToken) {
    let jobs = jobs(&services);
    let mut seen = Utc::now();
    loop {
        let next = jobs.iter().filter_map(|job| job.schedule.after(seen)).min();
        let Some(next) = next else { return };
        let pause = (next - Utc::now()).to_std().unwrap_or(Duration::ZERO);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        for job in jobs
            .iter()
            .filter(|job| job.schedule.after(seen) == Some(next))
        {
            if let Err(error) = queue(&services, job, next).await {
                tracing::warn!(
                    job = job.kind,
                    error = error.chain(),
                    "a scheduled task is not queued"
                );
            }
        }
        seen = next.max(Utc::now() - chrono::TimeDelta::seconds(1));
    }
}

async fn queue(services: &Services, job: &Job, due: chrono::DateTime<Utc>) -> Result<(), Error> {
    if !rows::claim(services.store.pool(), job.kind, due).await? || !has_work(services, job).await?
    {
        return Ok(());
    }
    enqueue(
        &services.store,
        NewTask {
            kind: job.kind.into(),
            description: job.description.into(),
            user: "scheduler".into(),
            args: serde_json::json!({}),
            ..NewTask::default()
        },
    )
    .await?;
    Ok(())
}

/// A clean-up without anything to clean up makes no task.
async fn has_work(services: &Services, job: &Job) -> Result<bool, Error> {
    let store = &services.store;
    Ok(match job.kind {
        "scheduled_orphaned_vm_cleanup" => !store.orphan_vms().await?.is_empty(),
        "scheduled_orphaned_disk_cleanup" => {
            let cutoff = cleanup::orphan_cutoff(services);
            !store.old_orphan_disks(cutoff).await?.is_empty()
        }
        "scheduled_dns_blobs_cleanup" => !cleanup::expired_dns_blobs(services, false)
            .await?
            .1
            .is_empty(),
        _ => true,
    })
}
