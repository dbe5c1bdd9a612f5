//! Removes ended tasks and audit events beyond what the settings keep (operations.md §1.4, §2). A reconciler:
//! started by a timer, idempotent, no retry of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::services::Services;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(3600);

/// Looks once an hour until `stop`.
pub async fn run(services: Arc<Services>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled() => return,
        }
        let settings = &services.settings;
        let tasks = services.store.prune_tasks(settings.max_tasks, None).await;
        let events = services.store.prune_audit(settings.max_events).await;
        match (tasks, events) {
            (Ok(tasks), Ok(events)) => {
                tracing::info!(tasks, events, "old tasks and events removed")
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "old tasks and events are not removed")
            }
        }
    }
}
