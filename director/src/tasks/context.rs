//! What a handler gets: its task, the services, its outputs, checkpoints, locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::output::{Kind, Output};
use super::steps::Journal;
use crate::error::Error;
use crate::events::{AuditTrail, EventLog};
use crate::locks::{self, LockGuard};
use crate::services::Services;
use crate::store::tasks::{Fence, Task};

/// A running task as its handler sees it. Cheap to clone; may be moved into spawned futures.
#[derive(Clone)]
pub struct Context {
    pub task: Arc<Task>,
    pub services: Arc<Services>,
    /// The user's event log (director-api.md §4).
    pub events: EventLog,
    pub output: Output,
    pub(super) fence: Fence,
    pub(super) owner: Arc<str>,
    pub(super) journal: Journal,
    pub(crate) signals: Signals,
}

/// What may end a task early.
#[derive(Clone)]
pub(crate) struct Signals {
    /// The lease is not ours any more: stop at once, write nothing.
    pub lost: CancellationToken,
    /// The director is going down: let the running step end, then leave.
    pub shutdown: CancellationToken,
    cancel: Arc<AtomicBool>,
    cancel_token: CancellationToken,
}

impl Signals {
    pub(super) fn new(shutdown: CancellationToken, cancelled: bool) -> Signals {
        let signals = Signals {
            lost: CancellationToken::new(),
            shutdown,
            cancel: Arc::new(AtomicBool::new(false)),
            cancel_token: CancellationToken::new(),
        };
        if cancelled {
            signals.request_cancel();
        }
        signals
    }

    /// The worker must let go; the task goes on elsewhere.
    pub(crate) fn interrupted(&self) -> bool {
        self.lost.is_cancelled() || self.shutdown.is_cancelled()
    }

    pub(super) fn request_cancel(&self) {
        self.cancel.store(true, Ordering::SeqCst);
        self.cancel_token.cancel();
    }
}

impl Context {
    /// The arguments that the task was queued with.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(self.task.args.clone()).map_err(|error| {
            Error::unclassified(format!(
                "The arguments of task {} can't be read.",
                self.task.id
            ))
            .caused_by(error)
        })
    }

    /// Ends the handler here if the task was cancelled, the lease is lost or the director goes down.
    /// Call it at safe places (operations.md §1.2).
    pub async fn checkpoint(&self) -> Result<(), Error> {
        self.check_interrupted()?;
        if self.signals.cancel.load(Ordering::SeqCst) {
            return Err(Error::cancelled(self.task.id));
        }
        Ok(())
    }

    /// Like [`Context::checkpoint`], but a cancel request does not count: for what must not stop half-way.
    pub fn check_interrupted(&self) -> Result<(), Error> {
        if self.signals.lost.is_cancelled() {
            return Err(Error::interrupted(
                "This worker's lease on the task is over.",
            ));
        }
        if self.signals.shutdown.is_cancelled() {
            return Err(Error::interrupted("The director is going down."));
        }
        Ok(())
    }

    /// Resolves when a cancel is requested; for `select!` around long waits.
    pub async fn cancelled(&self) {
        self.signals.cancel_token.cancelled().await;
    }

    /// Resolves when the worker must let go (lease lost or director going down).
    pub async fn interrupted(&self) {
        tokio::select! {
            () = self.signals.lost.cancelled() => {}
            () = self.signals.shutdown.cancelled() => {}
        }
    }

    /// Runs `work` until it ends, a cancel is requested, or the worker must let go. Only for work that may
    /// be dropped at any await.
    pub async fn until_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            done = work => Ok(done),
            () = self.cancelled() => Err(Error::cancelled(self.task.id)),
            () = self.interrupted() => { self.check_interrupted()?; Err(Error::interrupted("interrupted")) }
        }
    }

    /// Appends to the `result` output (director-api.md §5).
    pub fn result_output(&self, text: impl Into<String>) {
        self.output.append(Kind::Result, text.into());
    }

    /// Appends one line to the debug output, with the time in front.
    pub fn debug(&self, text: impl AsRef<str>) {
        let mut line = chrono::Utc::now()
            .format("[%Y-%m-%dT%H:%M:%S%.6f] ")
            .to_string();
        line.push_str(text.as_ref());
        line.push('\n');
        self.output.append(Kind::Debug, line);
    }

    /// Appends the (redacted) log of a CPI call to the cpi output.
    pub fn cpi_log(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        let mut bytes = text.as_bytes().to_vec();
        if !text.is_empty() && !text.ends_with('\n') {
            bytes.push(b'\n');
        }
        self.output.append(Kind::Cpi, bytes);
    }

    /// Stores the plan before the first step; a worker that takes over loads it instead of planning again.
    pub async fn store_plan(
        &self,
        planner_version: &str,
        plan: &impl Serialize,
    ) -> Result<(), Error> {
        let plan = serde_json::to_value(plan)
            .map_err(|error| Error::unclassified("The plan can't be stored.").caused_by(error))?;
        if self
            .services
            .store
            .store_plan(self.fence, planner_version, &plan)
            .await?
        {
            return Ok(());
        }
        self.signals.lost.cancel();
        Err(Error::interrupted(
            "This worker's lease on the task is over.",
        ))
    }

    /// The plan that an earlier worker stored, with the version of the planner that made it.
    pub async fn load_plan<T: DeserializeOwned>(&self) -> Result<Option<(String, T)>, Error> {
        let Some((version, plan)) = self.services.store.load_plan(self.task.id).await? else {
            return Ok(None);
        };
        let plan = serde_json::from_value(plan).map_err(|error| {
            Error::unclassified(format!(
                "The stored plan of task {} can't be read.",
                self.task.id
            ))
            .hint("It was made by another version of the director: deploy again.")
            .caused_by(error)
        })?;
        Ok(Some((version, plan)))
    }

    /// Takes a lock, waiting at most `timeout`, and records both ends in the audit trail. A lock that an
    /// earlier worker of this task held is inherited. Released by [`LockGuard::release`], or when the guard
    /// is dropped, or when the task ends.
    pub async fn lock(&self, name: &str, timeout: Duration) -> Result<LockGuard, Error> {
        locks::acquire(
            &self.services,
            locks::Request {
                name: name.to_owned(),
                timeout,
                task: Some(self.task.id),
                owner: self.owner.clone(),
                user: self.task.username.clone(),
                deployment: self.task.deployment_name.clone(),
            },
            self,
        )
        .await
    }

    /// The audit trail with this task's user, deployment and id filled in.
    pub fn audit(&self) -> AuditTrail {
        AuditTrail::of_task(self.services.store.clone(), &self.task)
    }
}
