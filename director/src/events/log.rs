//! The event output of a task, line by line (director-api.md §4). Handlers write it; the CLI prints it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Error;
use crate::store::Store;
use crate::tasks::output::{Kind, Output};

/// Writer of a task's event log. Cheap to clone. Lines are appended without waiting, in call order.
#[derive(Clone)]
pub struct EventLog {
    output: Output,
    /// Steps whose lines an earlier worker has already written, with their last state.
    before: Arc<BTreeMap<StepName, Before>>,
}

/// Stage, tags, task: what matches the lines of one step.
type StepName = (String, Vec<String>, String);

#[derive(Clone)]
struct Before {
    finished: bool,
    index: u64,
    progress: u64,
}

/// A stage line, keys in the original's order.
#[derive(Serialize, Deserialize)]
struct Line {
    time: i64,
    stage: String,
    tags: Vec<String>,
    total: Option<u64>,
    task: String,
    index: u64,
    state: String,
    progress: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

impl EventLog {
    pub fn new(output: Output) -> EventLog {
        EventLog {
            output,
            before: Arc::default(),
        }
    }

    /// The log of a task that another worker began: steps it has shown as started or finished are not shown
    /// as started again.
    pub async fn resume(store: &Store, task: i64, output: Output) -> Result<EventLog, Error> {
        let size = store
            .output_size(task, Kind::Event.name())
            .await?
            .unwrap_or(0);
        let text = store.read_output(task, Kind::Event.name(), 0, size).await?;
        let mut before: BTreeMap<StepName, Before> = BTreeMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<Line>(line) else {
                continue;
            };
            let finished = line.state == "finished" || line.state == "failed";
            before.insert(
                (line.stage, line.tags, line.task),
                Before {
                    finished,
                    index: line.index,
                    progress: line.progress,
                },
            );
        }
        Ok(EventLog {
            output,
            before: Arc::new(before),
        })
    }

    /// Opens a stage. It writes nothing by itself: a stage without steps leaves no line. `total`: number of
    /// steps announced, `None` if unknown.
    pub fn stage(&self, name: &str, tags: &[&str], total: impl Into<Option<u64>>) -> Stage {
        Stage {
            log: self.clone(),
            name: name.into(),
            tags: tags
                .iter()
                .map(|tag| (*tag).to_owned())
                .collect::<Vec<_>>()
                .into(),
            total: total.into(),
            next: Arc::new(Mutex::new(1)),
        }
    }

    /// A stage of one step of the same name, around `work`.
    pub async fn single<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.stage(name, &[], 1).run(name, work).await
    }

    pub fn warning(&self, message: &str) {
        self.message("warning", message);
    }

    pub fn deprecation(&self, message: &str) {
        self.message("deprecation", message);
    }

    fn message(&self, kind: &str, message: &str) {
        self.write(&json!({"time": now(), "type": kind, "message": message}));
    }

    fn write(&self, line: &impl Serialize) {
        let mut text = serde_json::to_vec(line).expect("event lines are plain JSON");
        text.push(b'\n');
        self.output.append(Kind::Event, text);
    }
}

/// A group of steps in the log. Cheap to clone; steps may run at once.
#[derive(Clone)]
pub struct Stage {
    log: EventLog,
    name: Arc<str>,
    tags: Arc<[String]>,
    total: Option<u64>,
    next: Arc<Mutex<u64>>,
}

impl Stage {
    /// Begins a step: writes `started` (unless an earlier worker did).
    pub fn task(&self, name: impl Into<String>) -> StageTask {
        let task = name.into();
        let key = (self.name.to_string(), self.tags.to_vec(), task);
        let before = self.log.before.get(&key).cloned();
        let index = {
            let mut next = self
                .next
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            let index = before.as_ref().map_or(*next, |before| before.index);
            *next += 1;
            index
        };
        let task = StageTask {
            stage: self.clone(),
            name: key.2,
            index,
            progress: Mutex::new(before.as_ref().map_or(0, |before| before.progress.min(99))),
            silent: before.as_ref().is_some_and(|before| before.finished),
        };
        if before.is_none() {
            task.line("started", 0, None);
        }
        task
    }

    /// A step around `work`: finished or failed with its error.
    pub async fn run<T>(
        &self,
        name: impl Into<String>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let task = self.task(name);
        match work.await {
            Ok(value) => {
                task.finish();
                Ok(value)
            }
            // The next worker ends the step.
            Err(error) if error.is_interrupted() => Err(error),
            Err(error) => {
                task.fail(&error.message);
                Err(error)
            }
        }
    }
}

/// A step of a stage that has been shown as started. Without [`StageTask::finish`] or [`StageTask::fail`] it
/// stays open, as it should when the worker is interrupted.
pub struct StageTask {
    stage: Stage,
    name: String,
    index: u64,
    progress: Mutex<u64>,
    /// An earlier worker has shown its end.
    silent: bool,
}

impl StageTask {
    /// Shows what the step is doing; `add` is added to its progress (of 100).
    pub fn progress(&self, status: &str, add: u64) {
        let progress = {
            let mut progress = self
                .progress
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            *progress = (*progress + add).min(100);
            *progress
        };
        self.line("in_progress", progress, Some(json!({"status": status})));
    }

    pub fn finish(self) {
        self.line("finished", 100, None);
    }

    pub fn fail(self, error: &str) {
        self.line("failed", 100, Some(json!({"error": error})));
    }

    fn line(&self, state: &str, progress: u64, data: Option<Value>) {
        if self.silent {
            return;
        }
        self.stage.log.write(&Line {
            time: now(),
            stage: self.stage.name.to_string(),
            tags: self.stage.tags.to_vec(),
            total: self.stage.total,
            task: self.name.clone(),
            index: self.index,
            state: state.into(),
            progress,
            data,
        });
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
