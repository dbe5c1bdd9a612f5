//! Claims tasks, runs their handlers, renews leases, ends tasks.
//!
//! One per director. `Engine::start` spawns three loops: *claim* (woken by NOTIFY, by a finished task and by
//! the end of the next foreign lease), *renew* (all leases and locks of this process in two statements) and
//! *listen* (notifications → wake-ups and cancel flags). Nothing polls the database while nothing happens.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::Signals;
use super::output::{Kind, Output};
use super::steps::Journal;
use super::{Context, Handler, dispatch};
use crate::error::Error;
use crate::events::EventLog;
use crate::services::Services;
use crate::store::tasks::{CANCEL, Fence, QUEUED, Task};
use crate::store::{Store, locks::RELEASED};

/// Finds the handler of a type; the dispatch table, or a test's own.
pub type Lookup = Arc<dyn Fn(&str) -> Option<Box<dyn Handler>> + Send + Sync>;

/// How an engine works.
#[derive(Clone)]
pub struct Options {
    /// Tasks of all queues at a time; one more worker serves the urgent queue alone.
    pub workers: usize,
    /// How long a worker may be silent before another takes its task over.
    pub lease: Duration,
    /// Identifies this director's data folder: tasks with local files run only here.
    pub instance: String,
    /// `<instance>#<this process>`: the owner of leases and locks.
    pub owner: Arc<str>,
    pub lookup: Lookup,
}

impl Options {
    /// The production table and a lease of 10 s.
    pub fn new(workers: usize, instance: String, owner: Arc<str>) -> Options {
        Options {
            workers,
            lease: Duration::from_secs(10),
            instance,
            owner,
            lookup: Arc::new(dispatch::handler),
        }
    }
}

/// A task that has been claimed this often has brought its worker down each time: it is given up.
const MAX_CLAIMS: i64 = 50;

/// Before a task that lost its database connection is tried again.
const AFTER_TROUBLE: Duration = Duration::from_secs(1);

struct Running {
    fence: Fence,
    signals: Signals,
}

struct Shared {
    services: Arc<Services>,
    options: Options,
    running: Mutex<HashMap<i64, Running>>,
    wake: Notify,
    /// No new claims.
    closing: CancellationToken,
    /// Running handlers shall leave after their step.
    shutdown: CancellationToken,
    /// Everything ends now.
    stopped: CancellationToken,
    tracker: TaskTracker,
}

/// A started engine. Dropping it does not stop it: call [`Engine::shutdown`].
pub struct Engine {
    shared: Arc<Shared>,
    handlers: TaskTracker,
}

impl Engine {
    /// Takes over what earlier processes of this data folder left (the caller holds the folder's lock), then
    /// starts to work.
    pub async fn start(services: Arc<Services>, options: Options) -> Result<Engine, Error> {
        let store = &services.store;
        let taken = store
            .expire_leases_of(&options.instance, &options.owner)
            .await?;
        if taken > 0 {
            tracing::info!(
                tasks = taken,
                "going on with the tasks of this director's last run"
            );
        }
        store
            .expire_locks_of(&options.instance, &options.owner)
            .await?;
        let handlers = TaskTracker::new();
        let shared = Arc::new(Shared {
            services,
            options,
            running: Mutex::default(),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            stopped: CancellationToken::new(),
            tracker: handlers.clone(),
        });
        tokio::spawn(listen(shared.clone()));
        tokio::spawn(renew(shared.clone()));
        tokio::spawn(claim_all(shared.clone(), vec!["urgent"], 1));
        tokio::spawn(claim_all(
            shared.clone(),
            vec!["normal", "urgent", "dynamic_disks"],
            shared.options.workers.max(1),
        ));
        Ok(Engine { shared, handlers })
    }

    /// Takes no new task, lets running steps end, lets tasks go for the next worker. Waits at most
    /// `patience`; what runs longer keeps its lease until it runs out.
    pub async fn shutdown(self, patience: Duration) {
        self.shared.closing.cancel();
        self.shared.shutdown.cancel();
        self.handlers.close();
        if tokio::time::timeout(patience, self.handlers.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "some tasks are still in a step; another worker goes on with them when their lease is over"
            );
        }
        self.shared.stopped.cancel();
    }

    /// Stops dead, as a crash would: nothing is written or released any more. For tests of take-over.
    pub fn abandon(self) {
        self.shared.closing.cancel();
        for running in self.shared.lock_running().values() {
            running.signals.lost.cancel();
        }
        self.shared.stopped.cancel();
    }

    /// Number of tasks running here.
    pub fn running(&self) -> usize {
        self.shared.lock_running().len()
    }
}

impl Shared {
    fn lock_running(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Running>> {
        self.running
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn store(&self) -> &Store {
        &self.services.store
    }
}

/// Claims while there is work and a free worker; sleeps otherwise.
async fn claim_all(shared: Arc<Shared>, queues: Vec<&'static str>, workers: usize) {
    let free = Arc::new(Semaphore::new(workers));
    while !shared.closing.is_cancelled() {
        let permit = tokio::select! {
            permit = free.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            () = shared.closing.cancelled() => return,
        };
        // Register before looking, so that a wake-up in between is not missed.
        let woken = shared.wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let options = &shared.options;
        match shared
            .store()
            .claim_task(&options.owner, &options.instance, &queues, options.lease)
            .await
        {
            Ok(Some(task)) => {
                let shared = shared.clone();
                shared.tracker.clone().spawn(run_task(shared, task, permit));
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the task queue can't be read, trying again"),
        }
        drop(permit);
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(next_look(&shared).await) => {}
            () = shared.closing.cancelled() => return,
        }
    }
}

/// When to look without being woken: just after the next foreign lease ends, at most 15 s from now (a
/// notification may be lost with its connection).
async fn next_look(shared: &Shared) -> Duration {
    let longest = Duration::from_secs(15);
    match shared.store().next_lease_end().await {
        Ok(Some(end)) => (end - chrono::Utc::now())
            .to_std()
            .unwrap_or_default()
            .clamp(Duration::from_millis(200), longest),
        Ok(None) => longest,
        Err(_) => Duration::from_secs(1),
    }
}

async fn run_task(shared: Arc<Shared>, task: Task, permit: OwnedSemaphorePermit) {
    let id = task.id;
    let fence = Fence {
        task: id,
        epoch: task.lease_epoch,
    };
    let signals = Signals::new(shared.shutdown.clone(), task.cancel_requested);
    shared.lock_running().insert(
        id,
        Running {
            fence,
            signals: signals.clone(),
        },
    );
    let output = Output::start(shared.store().clone(), fence, signals.lost.clone());
    let traced = super::trace::register(id, output.clone());
    let span = tracing::info_span!(
        "task",
        id,
        kind = task.kind,
        deployment = task.deployment_name
    );
    let outcome = {
        let work = AssertUnwindSafe(handle(
            &shared,
            task,
            fence,
            signals.clone(),
            output.clone(),
        ));
        let work = tracing::Instrument::instrument(work.catch_unwind(), span);
        tokio::select! {
            outcome = work => outcome.unwrap_or_else(|panic| Err(Error::unclassified(format!(
                "The director failed inside (a bug): {}", panic_text(&*panic))))),
            // A worker whose lease is over is dropped at its next await: nothing it does may go on.
            () = signals.lost.cancelled() => Err(Error::interrupted("This worker's lease on the task is over.")),
        }
    };
    // Before the output is flushed for the last time; the handle must not outlive the task.
    drop(traced);
    let interrupted = matches!(&outcome, Err(error) if error.is_interrupted());
    if !signals.lost.is_cancelled() {
        finish(&shared, fence, &output, outcome).await;
    }
    // The locks of a task that goes on elsewhere wait for its next worker.
    if !interrupted && let Err(error) = shared.store().unlock_task(id, &shared.options.owner).await
    {
        tracing::warn!(task = id, %error, "the task's locks are not released; they will expire");
    }
    shared.lock_running().remove(&id);
    drop(permit);
    shared.wake.notify_waiters();
}

async fn handle(
    shared: &Shared,
    task: Task,
    fence: Fence,
    signals: Signals,
    output: Output,
) -> Result<String, Error> {
    // A cancelled task that never ran ends here, without a word.
    if task.cancel_requested && task.lease_epoch == 1 {
        return Err(Error::cancelled(task.id));
    }
    if task.lease_epoch > MAX_CLAIMS {
        return Err(Error::unclassified(format!(
            "Task {} was begun {MAX_CLAIMS} times and its director stopped each time. Look into the director's log, then start it again.",
            task.id
        )));
    }
    let handler = (shared.options.lookup)(&task.kind).ok_or_else(|| {
        Error::unclassified(format!(
            "This director can't run tasks of type '{}'.",
            task.kind
        ))
    })?;
    if task.lease_epoch > 1 {
        shared
            .store()
            .disown_locks(task.id, crate::locks::LEASE)
            .await?;
    }
    let journal = Journal::load(shared.store(), task.id).await?;
    let events = if task.lease_epoch == 1 {
        EventLog::new(output.clone())
    } else {
        EventLog::resume(shared.store(), task.id, output.clone()).await?
    };
    let context = Context {
        task: Arc::new(task),
        services: shared.services.clone(),
        events,
        output,
        fence,
        owner: shared.options.owner.clone(),
        journal,
        signals,
    };
    let task = &context.task;
    if task.lease_epoch == 1 {
        context.debug(format!("Director Version: {}", crate::VERSION));
        context.debug(format!("Task: {} {}", task.id, task.description));
    } else {
        context.debug(format!(
            "Another worker goes on with task {} (attempt {})",
            task.id, task.lease_epoch
        ));
    }
    context.checkpoint().await?;
    let result = handler.run(&context).await;
    if let Err(error) = &result {
        context.debug(format!("Ended with: {}", error.chain()));
    }
    result
}

/// Writes the last event line and the final state, trying again while the database is away.
async fn finish(shared: &Shared, fence: Fence, output: &Output, outcome: Result<String, Error>) {
    let (state, result) = match &outcome {
        Err(error) if error.is_interrupted() => {
            tracing::info!(
                task = fence.task,
                reason = error.chain(),
                "the task goes on elsewhere or later"
            );
            if !shared.shutdown.is_cancelled() {
                // The database was away: give it a moment instead of using up the attempts.
                tokio::time::sleep(AFTER_TROUBLE).await;
            }
            output.flush().await;
            if let Err(error) = shared.store().release_task(fence).await {
                tracing::warn!(task = fence.task, %error, "the task is not let go; its lease will run out");
            }
            return;
        }
        Ok(result) => ("done", result.clone()),
        Err(error) => {
            let line = serde_json::json!({
                "time": chrono::Utc::now().timestamp(),
                "error": error.to_json("message"),
            });
            output.append(Kind::Event, format!("{line}\n"));
            if let Some(hint) = &error.hint {
                output.append(Kind::Debug, format!("{hint}\n"));
            }
            if error.is_cancelled() {
                tracing::info!(task = fence.task, "task cancelled");
                ("cancelled", "task cancelled".to_owned())
            } else {
                tracing::warn!(task = fence.task, error = error.chain(), "task failed");
                ("error", error.message.clone())
            }
        }
    };
    // Everything must be readable before the final state is (director-api.md §3.1).
    output.flush().await;
    let mut pause = Duration::from_millis(50);
    loop {
        match shared.store().finish_task(fence, state, &result).await {
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(task = fence.task, %error, "the task's end is not written, trying again");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = shared.stopped.cancelled() => return,
                }
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".to_owned())
}

/// Renews leases and locks at a third of the lease, only while something runs. A lease that could not be
/// renewed for its whole length is given up here too: by then another worker may have the task.
async fn renew(shared: Arc<Shared>) {
    let lease = shared.options.lease;
    let mut last_success = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(lease / 3) => {}
            () = shared.stopped.cancelled() => return,
        }
        let held: Vec<Fence> = shared
            .lock_running()
            .values()
            .map(|running| running.fence)
            .collect();
        if held.is_empty() {
            last_success = tokio::time::Instant::now();
            continue;
        }
        match tokio::time::timeout(lease / 2, renew_once(&shared, &held)).await {
            Ok(Ok(())) => last_success = tokio::time::Instant::now(),
            Ok(Err(error)) => tracing::warn!(%error, "leases not renewed"),
            Err(_) => tracing::warn!("leases not renewed: the database does not answer"),
        }
        if last_success.elapsed() > lease {
            for running in shared.lock_running().values() {
                running.signals.lost.cancel();
            }
        }
    }
}

async fn renew_once(shared: &Shared, held: &[Fence]) -> Result<(), crate::store::Error> {
    let options = &shared.options;
    let ours: HashMap<i64, bool> = shared
        .store()
        .renew_leases(held, options.lease)
        .await?
        .into_iter()
        .collect();
    {
        let running = shared.lock_running();
        for fence in held {
            let Some(entry) = running
                .get(&fence.task)
                .filter(|entry| entry.fence == *fence)
            else {
                continue;
            };
            match ours.get(&fence.task) {
                Some(true) => entry.signals.request_cancel(),
                Some(false) => {}
                None => entry.signals.lost.cancel(),
            }
        }
    }
    shared
        .store()
        .renew_locks(&options.owner, crate::locks::LEASE)
        .await?;
    Ok(())
}

/// Turns notifications into wake-ups. Connects again for ever; after each connect everything is looked at
/// once, since notifications may have been missed.
async fn listen(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            result = listen_once(&shared) => {
                if let Err(error) = result {
                    tracing::warn!(%error, "not listening to the database, connecting again");
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn listen_once(shared: &Shared) -> Result<(), crate::store::Error> {
    let mut listener = shared.store().listener().await?;
    listener.listen_all([QUEUED, CANCEL, RELEASED]).await?;
    shared.wake.notify_waiters();
    crate::locks::wake_all();
    loop {
        let Some(note) = listener.try_recv().await? else {
            return Ok(());
        };
        match note.channel() {
            QUEUED => shared.wake.notify_waiters(),
            CANCEL => {
                if let Ok(id) = note.payload().parse::<i64>()
                    && let Some(entry) = shared.lock_running().get(&id)
                {
                    entry.signals.request_cancel();
                }
            }
            RELEASED => crate::locks::wake_all(),
            _ => {}
        }
    }
}
