//! What is written down about a step, and which order of entries is legal.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// One journal entry of one step. Serialised into `task_step_events.event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum StepEvent {
    /// Written before the effect. `attempt` counts from 1 and goes up by one each time.
    Started { attempt: u32 },
    /// Written after the effect; `output` is what later steps read instead of memory (a VM CID, a blob id).
    /// Never a secret: it is stored in plain.
    Succeeded { output: Json },
    /// The effect was tried and refused.
    Failed { failure: StepFailure },
    /// Given up on purpose: the task was cancelled, or the step is no longer needed.
    Abandoned,
}

/// Why a step failed: enough to end the task with the same error after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct StepFailure {
    /// The director's error code (manifests-and-planning §8); 100 when there is none.
    pub code: u32,
    /// For the user; never a secret.
    pub message: String,
    /// True when trying again may help (a time-out, a CPI error with `ok_to_retry`).
    #[serde(default)]
    pub retryable: bool,
}

/// Where a step stands after its entries so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum StepStatus {
    /// No entry yet.
    #[default]
    Pending,
    /// Started and not ended: running now, or left half done by a crash.
    Running {
        attempt: u32,
    },
    Succeeded {
        output: Json,
    },
    Failed {
        attempt: u32,
        failure: StepFailure,
    },
    Abandoned,
}

/// A pair that may not happen. A bug in the caller, or a damaged journal: never repaired silently.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "step journal: {event} can't follow {status}; the journal of this step is damaged or another worker writes to it"
)]
pub struct IllegalTransition {
    pub status: &'static str,
    pub event: &'static str,
}

impl StepStatus {
    /// The status after `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] for everything that is not in the table below.
    pub fn next(self, event: &StepEvent) -> Result<StepStatus, IllegalTransition> {
        use StepEvent as E;
        use StepStatus as S;
        match (self, event) {
            (S::Pending, E::Started { attempt: 1 }) => Ok(S::Running { attempt: 1 }),
            // After a crash the next worker starts what was left running; after a failure the same one may.
            (
                S::Running { attempt: old } | S::Failed { attempt: old, .. },
                E::Started { attempt },
            ) if *attempt == old + 1 => Ok(S::Running { attempt: *attempt }),
            (S::Running { .. }, E::Succeeded { output }) => Ok(S::Succeeded {
                output: output.clone(),
            }),
            (S::Running { attempt }, E::Failed { failure }) => Ok(S::Failed {
                attempt,
                failure: failure.clone(),
            }),
            (S::Pending | S::Running { .. } | S::Failed { .. }, E::Abandoned) => Ok(S::Abandoned),
            (status, event) => Err(IllegalTransition {
                status: status.name(),
                event: event.name(),
            }),
        }
    }

    /// True when nothing more may be recorded.
    pub fn is_final(&self) -> bool {
        matches!(self, StepStatus::Succeeded { .. } | StepStatus::Abandoned)
    }

    fn name(&self) -> &'static str {
        match self {
            StepStatus::Pending => "pending",
            StepStatus::Running { .. } => "running",
            StepStatus::Succeeded { .. } => "succeeded",
            StepStatus::Failed { .. } => "failed",
            StepStatus::Abandoned => "abandoned",
        }
    }
}

impl StepEvent {
    fn name(&self) -> &'static str {
        match self {
            StepEvent::Started { .. } => "started",
            StepEvent::Succeeded { .. } => "succeeded",
            StepEvent::Failed { .. } => "failed",
            StepEvent::Abandoned => "abandoned",
        }
    }
}

/// The status after all of a step's entries, oldest first.
///
/// # Errors
/// [`IllegalTransition`] at the first illegal pair.
pub fn replay<'a>(
    events: impl IntoIterator<Item = &'a StepEvent>,
) -> Result<StepStatus, IllegalTransition> {
    events
        .into_iter()
        .try_fold(StepStatus::Pending, StepStatus::next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> StepFailure {
        StepFailure {
            code: 100,
            message: "no".into(),
            retryable: false,
        }
    }

    /// Every status against every event: what is not listed here is illegal.
    #[test]
    fn the_transition_table_is_exactly_this() {
        let statuses = [
            StepStatus::Pending,
            StepStatus::Running { attempt: 1 },
            StepStatus::Succeeded { output: Json::Null },
            StepStatus::Failed {
                attempt: 1,
                failure: failure(),
            },
            StepStatus::Abandoned,
        ];
        let events = [
            StepEvent::Started { attempt: 1 },
            StepEvent::Started { attempt: 2 },
            StepEvent::Started { attempt: 3 },
            StepEvent::Succeeded { output: Json::Null },
            StepEvent::Failed { failure: failure() },
            StepEvent::Abandoned,
        ];
        let mut table = String::new();
        for status in &statuses {
            let row: Vec<String> = events
                .iter()
                .map(|e| match status.clone().next(e) {
                    Ok(next) => next.name().to_string(),
                    Err(_) => "-".into(),
                })
                .collect();
            table.push_str(&format!("{}: {}\n", status.name(), row.join(" ")));
        }
        assert_eq!(
            table,
            "pending: running - - - - abandoned\n\
             running: - running - succeeded failed abandoned\n\
             succeeded: - - - - - -\n\
             failed: - running - - - abandoned\n\
             abandoned: - - - - - -\n"
        );
    }

    #[test]
    fn replay_stops_at_the_first_illegal_pair_and_names_it() {
        let events = [
            StepEvent::Started { attempt: 1 },
            StepEvent::Succeeded { output: Json::Null },
            StepEvent::Started { attempt: 2 },
        ];
        let error = replay(&events).unwrap_err();
        assert_eq!((error.status, error.event), ("succeeded", "started"));
    }

    #[test]
    fn events_keep_their_stored_form() {
        let event = StepEvent::Succeeded {
            output: serde_json::json!({"vm_cid": "vm-1"}),
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"event":"succeeded","output":{"vm_cid":"vm-1"}}"#);
        assert_eq!(serde_json::from_str::<StepEvent>(&text).unwrap(), event);
    }
}
