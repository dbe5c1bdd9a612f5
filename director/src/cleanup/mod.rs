//! Cleaning up what nobody uses: releases, stemcells, compiled packages, orphans, exported releases, DNS blobs
//! (docs/spec/operations.md §7, director-api.md §19.3).
//!
//! The API shows [`plan`] and queues `delete_artifacts`; the schedule queues the tasks of [`scheduled`]. What is in
//! use is never deleted: a plan is looked at again under the lock of each object.

mod delete;
mod plan;
mod scheduled;

pub use delete::DeleteArtifacts;
pub use plan::{Config, Plan, expired_dns_blobs, plan};
pub use scheduled::{DnsBlobs, OldDisks, OrphanedVms, orphan_cutoff};
