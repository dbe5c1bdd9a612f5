//! Named locks of the environment: rows with a lease, an owner and a fair queue (operations.md §1.3).
//!
//! Handlers take them by [`crate::tasks::Context::lock`]. A held lock is renewed by the engine's renewal loop;
//! one of a dead director expires within [`LEASE`], or is inherited by the next worker of its task. Who waits
//! is told for whom, as the original does.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use crate::error::Error;
use crate::events::AuditTrail;
use crate::services::Services;
use crate::store::Store;
use crate::store::audit::NewAudit;
use crate::tasks::{Context, Signals};

/// How long a lock outlives the last renewal. Renewals come every few seconds.
pub const LEASE: Duration = Duration::from_secs(30);

/// A lock someone wants.
pub struct Request {
    pub name: String,
    pub timeout: Duration,
    pub task: Option<i64>,
    pub owner: Arc<str>,
    pub user: String,
    pub deployment: Option<String>,
}

/// A held lock. [`LockGuard::release`] is preferred; dropping it releases in the background, unless the worker is
/// interrupted.
pub struct LockGuard {
    store: Store,
    name: String,
    uid: Uuid,
    audit: AuditTrail,
    signals: Signals,
    released: bool,
}

fn waiters() -> &'static Notify {
    static WAITERS: OnceLock<Notify> = OnceLock::new();
    WAITERS.get_or_init(Notify::new)
}

/// Called by the notification listener when any lock was released: all who wait in this process look again.
pub(crate) fn wake_all() {
    waiters().notify_waiters();
}

/// Waits for the lock, at most the request's timeout. The caller's cancel and interruption end the wait.
pub async fn acquire(
    services: &Services,
    request: Request,
    context: &Context,
) -> Result<LockGuard, Error> {
    let store = &services.store;
    let uid = Uuid::new_v4();
    let deadline = tokio::time::Instant::now() + request.timeout;
    loop {
        let woken = waiters().notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        if store
            .try_lock(&request.name, uid, request.task, &request.owner, LEASE)
            .await?
        {
            break;
        }
        if tokio::time::Instant::now() >= deadline {
            store.stop_waiting(uid).await?;
            return Err(refused(store, &request.name, uid).await?);
        }
        // A second look every 2 s: expiry sends no notification, and the place in the queue wants renewal.
        let pause = deadline.min(tokio::time::Instant::now() + Duration::from_secs(2));
        let stop = tokio::select! {
            () = woken => None,
            () = tokio::time::sleep_until(pause) => None,
            () = context.cancelled() => Some(()),
            () = context.interrupted() => Some(()),
        };
        if stop.is_some() {
            store.stop_waiting(uid).await?;
            context.checkpoint().await?;
        }
    }
    let audit = AuditTrail::new(
        store.clone(),
        &request.user,
        request.task,
        request.deployment.clone(),
    );
    let guard = LockGuard {
        store: store.clone(),
        name: request.name,
        uid,
        audit,
        signals: context.signals.clone(),
        released: false,
    };
    guard.record("acquire").await;
    Ok(guard)
}

async fn refused(store: &Store, name: &str, uid: Uuid) -> Result<Error, Error> {
    let holder = store.find_lock_holder(name).await?;
    Ok(Error::unclassified(match holder {
        Some((Some(task), description)) => format!(
            "Failed to acquire lock for {name} uid: {uid}. Locking task id is {task}, description: '{}'",
            description.unwrap_or_default()
        ),
        _ => format!("Failed to acquire lock for {name} uid: {uid}. Lock is gone"),
    }))
}

impl LockGuard {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the lock up and wakes who waits for it.
    pub async fn release(mut self) -> Result<(), Error> {
        self.released = true;
        self.store.unlock(self.uid).await?;
        self.record("release").await;
        Ok(())
    }

    async fn record(&self, action: &str) {
        self.audit
            .record_quietly(NewAudit {
                action: action.into(),
                object_type: "lock".into(),
                object_name: Some(self.name.clone()),
                ..NewAudit::default()
            })
            .await;
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // A task that goes on elsewhere keeps its locks: its next worker inherits them, nobody slips in between.
        if self.released || self.signals.interrupted() {
            return;
        }
        let (store, uid) = (self.store.clone(), self.uid);
        // Without a runtime the process is ending anyway; the lock expires.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = store.unlock(uid).await {
                    tracing::warn!(%error, "a lock is not released; it will expire");
                }
            });
        }
    }
}
