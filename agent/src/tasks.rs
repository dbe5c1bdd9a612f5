//! Long actions: queued, run one at a time in their order, asked about by `get_task`
//! (`docs/spec/agent-protocol.md` §1.3, §1.6, §6).
//!
//! Tasks outlive the agent: requests and results are in tasks.json. After a restart a finished task still answers; one
//! that was under way runs again if doing it twice is the same as doing it once, and fails with a plain text if not.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use agent_protocol::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::{Context, Error, Result};
use crate::files;

/// Results are kept of so many tasks.
const KEEP_FINISHED: usize = 50;

/// What becomes of a task when the agent is restarted while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRestart {
    /// It is done again.
    Repeat,
    /// It has failed: nobody knows how far it came, and doing it twice may do harm.
    Fail,
    /// It is not kept: its request is too large or too secret for the disk.
    Forget,
}

/// A task to run.
pub struct Job {
    /// Its id.
    pub id: String,
    /// The request.
    pub request: Request,
    /// Fires when somebody cancels it.
    pub cancel: CancellationToken,
}

struct Task {
    id: String,
    method: String,
    /// Base64 of the request while it is needed.
    payload: Option<String>,
    on_restart: OnRestart,
    cancellable: bool,
    cancel: CancellationToken,
    outcome: Option<Result<Value, String>>,
}

/// The tasks of this agent. Clones share them.
#[derive(Clone)]
pub struct Tasks {
    file: PathBuf,
    tasks: Arc<Mutex<VecDeque<Task>>>,
    queue: mpsc::UnboundedSender<Job>,
}

/// An entry of tasks.json. `Outcome` is ours; the original knows only tasks that are under way.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    #[serde(rename = "TaskID")]
    task_id: String,
    method: String,
    #[serde(default)]
    payload: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<StoredOutcome>,
    #[serde(default)]
    fails_on_restart: bool,
}

#[derive(Serialize, Deserialize)]
enum StoredOutcome {
    Value(Value),
    Exception(String),
}

impl Tasks {
    /// Loads the tasks of an earlier agent. The receiver gets what is to be run, beginning with what has to be
    /// repeated.
    pub fn load(file: PathBuf) -> Result<(Self, mpsc::UnboundedReceiver<Job>)> {
        let stored: Map<String, Value> = files::read_json(&file)
            .context("Reading tasks")?
            .unwrap_or_default();
        let (queue, receiver) = mpsc::unbounded_channel();
        let mut tasks = VecDeque::new();
        for (id, value) in stored {
            let stored: Stored = serde_json::from_value(value).context("Reading tasks")?;
            tasks.push_back(revive(id, stored, &queue));
        }
        let this = Self {
            file,
            tasks: Arc::new(Mutex::new(tasks)),
            queue,
        };
        this.save(&this.lock())?;
        Ok((this, receiver))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Task>> {
        self.tasks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Queues a request; returns the task's id. It is on disk before that.
    pub fn submit(
        &self,
        request: Request,
        on_restart: OnRestart,
        cancellable: bool,
    ) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        let cancel = CancellationToken::new();
        let mut tasks = self.lock();
        let payload = serde_json::to_vec(&request).context("Marshalling task payload")?;
        tasks.push_back(Task {
            id: id.clone(),
            method: request.method.clone(),
            payload: Some(STANDARD.encode(payload)),
            on_restart,
            cancellable,
            cancel: cancel.clone(),
            outcome: None,
        });
        let finished = |task: &Task| task.outcome.is_some();
        while tasks.iter().filter(|task| finished(task)).count() > KEEP_FINISHED {
            if let Some(oldest) = tasks.iter().position(finished) {
                tasks.remove(oldest);
            }
        }
        self.save(&tasks)?;
        let job = Job {
            id: id.clone(),
            request,
            cancel,
        };
        self.queue
            .send(job)
            .map_err(|_| Error::new("the task worker has ended"))?;
        Ok(id)
    }

    /// Records how a task ended.
    pub fn finish(&self, id: &str, outcome: Result<Value>) {
        let mut tasks = self.lock();
        if let Some(task) = tasks.iter_mut().find(|task| task.id == id) {
            task.outcome = Some(outcome.map_err(|error| error.to_string()));
            task.payload = None;
        }
        if let Err(error) = self.save(&tasks) {
            tracing::error!(%error, task = id, "a task's result can't be saved; it is lost if the agent ends");
        }
    }

    /// The answer of `get_task`.
    pub fn answer(&self, id: &str) -> Result<Value> {
        let tasks = self.lock();
        let task = find(&tasks, id)?;
        match &task.outcome {
            None => Ok(json!({"agent_task_id": id, "state": "running"})),
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(error)) => Err(Error::new(format!("Task {id} result: {error}"))),
        }
    }

    /// Cancels a task; one that has ended stays as it is.
    pub fn cancel(&self, id: &str) -> Result<()> {
        let tasks = self.lock();
        let task = find(&tasks, id)?;
        if task.outcome.is_some() {
            return Ok(());
        }
        if !task.cancellable {
            return Err(Error::new("not supported"));
        }
        task.cancel.cancel();
        Ok(())
    }

    fn save(&self, tasks: &VecDeque<Task>) -> Result<()> {
        let mut stored = Map::new();
        for task in tasks {
            if task.on_restart == OnRestart::Forget {
                continue;
            }
            let entry = Stored {
                task_id: task.id.clone(),
                method: task.method.clone(),
                payload: task.payload.clone().unwrap_or_default(),
                outcome: task.outcome.as_ref().map(|outcome| match outcome {
                    Ok(value) => StoredOutcome::Value(value.clone()),
                    Err(error) => StoredOutcome::Exception(error.clone()),
                }),
                fails_on_restart: task.on_restart == OnRestart::Fail,
            };
            let entry = serde_json::to_value(entry).context("Marshalling tasks")?;
            stored.insert(task.id.clone(), entry);
        }
        files::replace_json(&self.file, &stored, 0o600).context("Writing tasks")
    }
}

fn find<'a>(tasks: &'a VecDeque<Task>, id: &str) -> Result<&'a Task> {
    tasks
        .iter()
        .find(|task| task.id == id)
        .ok_or_else(|| Error::new(format!("Task with id {id} could not be found")))
}

/// A task of an earlier agent: finished, to be repeated, or failed.
fn revive(id: String, stored: Stored, queue: &mpsc::UnboundedSender<Job>) -> Task {
    let cancel = CancellationToken::new();
    let mut task = Task {
        id: id.clone(),
        method: stored.method,
        payload: Some(stored.payload),
        on_restart: if stored.fails_on_restart {
            OnRestart::Fail
        } else {
            OnRestart::Repeat
        },
        cancellable: false,
        cancel: cancel.clone(),
        outcome: stored.outcome.map(|outcome| match outcome {
            StoredOutcome::Value(value) => Ok(value),
            StoredOutcome::Exception(error) => Err(error),
        }),
    };
    if task.outcome.is_some() {
        task.payload = None;
        return task;
    }
    let request = task
        .payload
        .as_deref()
        .and_then(|payload| STANDARD.decode(payload).ok())
        .and_then(|payload| serde_json::from_slice::<Request>(&payload).ok());
    match request {
        Some(request) if task.on_restart == OnRestart::Repeat => {
            tracing::info!(task = id, method = task.method, "repeating after a restart");
            let _ = queue.send(Job {
                id,
                request,
                cancel,
            });
        }
        _ => {
            let text = format!(
                "the agent was restarted while '{}' ran, so its result is unknown; run it again",
                task.method
            );
            task.outcome = Some(Err(text));
            task.payload = None;
        }
    }
    task
}
