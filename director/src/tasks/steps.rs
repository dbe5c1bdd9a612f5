//! Journaled steps: written down before and after their effect, not done twice.
//!
//! The meaning of a half-done step is decided by `journal::recover`, a pure function; this file only reads
//! and writes rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use journal::{Decision, StepEvent, StepFailure, StepKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use crate::error::Error;
use crate::store::Store;

/// How a step is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// An earlier attempt was cut off and may have had its effect: ask the world first.
    pub probe: bool,
}

/// The journal of a task as far as this worker knows it: loaded at the claim, extended by its own writes.
#[derive(Clone, Default)]
pub(super) struct Journal {
    steps: Arc<Mutex<BTreeMap<String, Vec<StepEvent>>>>,
}

impl Journal {
    pub(super) async fn load(store: &Store, task: i64) -> Result<Journal, Error> {
        let mut steps: BTreeMap<String, Vec<StepEvent>> = BTreeMap::new();
        for row in store.step_events(task).await? {
            let event = serde_json::from_value(row.event).map_err(|error| {
                Error::unclassified(format!(
                    "The journal of step '{}' of task {task} can't be read.",
                    row.step_key
                ))
                .caused_by(error)
            })?;
            steps.entry(row.step_key).or_default().push(event);
        }
        Ok(Journal {
            steps: Arc::new(Mutex::new(steps)),
        })
    }

    fn events(&self, key: &str) -> Vec<StepEvent> {
        let steps = self
            .steps
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        steps.get(key).cloned().unwrap_or_default()
    }

    fn push(&self, key: &str, event: StepEvent) {
        let mut steps = self
            .steps
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        steps.entry(key.to_owned()).or_default().push(event);
    }
}

impl Context {
    /// Does a step, or returns what it returned before: `run` is called once per attempt, between two
    /// journal entries. `key` is unique within the task and the same on every run of it (say
    /// `create_vm/<agent id>`).
    ///
    /// A step begun by a dead worker is entered again with [`Attempt::probe`] set if its kind asks for that.
    /// A failed step is recorded and ends with its error; entering it again tries again. Cancel requests are
    /// not looked at (use [`Context::checkpoint`] between steps); an interruption before the step begins is.
    pub async fn step<T, F>(
        &self,
        key: &str,
        kind: StepKind,
        run: impl FnOnce(Attempt) -> F,
    ) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Error>>,
    {
        let events = self.journal.events(key);
        let decision = journal::recover(kind, &events).map_err(|error| {
            Error::unclassified(format!(
                "Step '{key}' of task {} can't be resumed.",
                self.task.id
            ))
            .caused_by(error)
        })?;
        let attempt = match decision {
            Decision::Done(output) => {
                return serde_json::from_value(output).map_err(|error| {
                    Error::unclassified(format!(
                        "The recorded output of step '{key}' can't be read."
                    ))
                    .caused_by(error)
                });
            }
            Decision::Surface(failure) => return Err(from_failure(failure)),
            Decision::Repeat { attempt } => Attempt {
                number: attempt,
                probe: false,
            },
            Decision::Probe { attempt } => Attempt {
                number: attempt,
                probe: true,
            },
        };
        self.check_interrupted()?;
        self.record(
            key,
            kind,
            StepEvent::Started {
                attempt: attempt.number,
            },
        )
        .await?;
        match run(attempt).await {
            Ok(output) => {
                let value = serde_json::to_value(&output).map_err(|error| {
                    Error::unclassified(format!("The output of step '{key}' can't be recorded."))
                        .caused_by(error)
                })?;
                self.record(key, kind, StepEvent::Succeeded { output: value })
                    .await?;
                Ok(output)
            }
            // Not an end: the next worker finds the step begun and decides.
            Err(error) if error.is_interrupted() => Err(error),
            Err(error) => {
                let failure = StepFailure {
                    code: error.code,
                    message: error.message.clone(),
                    retryable: false,
                };
                self.record(key, kind, StepEvent::Failed { failure })
                    .await?;
                Err(error)
            }
        }
    }

    /// The recorded output of a step that has succeeded, in this worker's life or an earlier one's.
    pub fn step_output<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.journal
            .events(key)
            .into_iter()
            .rev()
            .find_map(|event| match event {
                StepEvent::Succeeded { output } => serde_json::from_value(output).ok(),
                _ => None,
            })
    }

    /// Writes one journal entry. Never given up while the lease is ours: a lost entry would do a step twice.
    async fn record(&self, key: &str, kind: StepKind, event: StepEvent) -> Result<(), Error> {
        let value = serde_json::to_value(&event).map_err(|error| {
            Error::unclassified("A journal entry can't be written.").caused_by(error)
        })?;
        let mut pause = Duration::from_millis(50);
        loop {
            match self
                .services
                .store
                .append_step_event(self.fence, key, &kind.name(), &value)
                .await
            {
                Ok(true) => {
                    self.journal.push(key, event);
                    return Ok(());
                }
                Ok(false) => {
                    self.signals.lost.cancel();
                    return Err(Error::interrupted(
                        "This worker's lease on the task is over.",
                    ));
                }
                Err(error) => {
                    tracing::warn!(task = self.task.id, key, %error, "journal entry not written, trying again");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.signals.lost.cancelled() => {
                            return Err(Error::interrupted("This worker's lease on the task is over."));
                        }
                    }
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
            }
        }
    }
}

fn from_failure(failure: StepFailure) -> Error {
    Error::new(failure.code, failure.message)
}
