//! The decision about a step when a task is started or taken over.

use serde_json::Value as Json;

use crate::event::{IllegalTransition, StepEvent, StepFailure, StepStatus, replay};
use crate::kind::{Interrupted, StepKind};

/// How often one step may be begun. A step that kills the director each time must not be taken over for
/// ever; five survives a bad day (a deploy of the director, a machine that reboots twice).
pub const MAX_ATTEMPTS: u32 = 5;

/// What to do with a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Do it: for the first time (`attempt` 1) or again. Record `Started { attempt }` first.
    Repeat { attempt: u32 },
    /// Record `Started { attempt }`, ask the world whether it happened, and either record the outcome or do it.
    Probe { attempt: u32 },
    /// Don't do it: the task ends with this failure.
    Surface(StepFailure),
    /// It is done; this is the recorded output.
    Done(Json),
}

/// Decides from a step's kind and its entries so far (oldest first; empty for a new step).
///
/// A failure that was recorded is final for the task that recorded it (the task ends with the same error as
/// it would have without the crash) unless it was marked retryable.
///
/// # Errors
/// [`IllegalTransition`] when the entries are in no legal order: don't go on with this task.
pub fn recover(kind: StepKind, events: &[StepEvent]) -> Result<Decision, IllegalTransition> {
    Ok(match replay(events)? {
        StepStatus::Pending => Decision::Repeat { attempt: 1 },
        StepStatus::Succeeded { output } => Decision::Done(output),
        StepStatus::Abandoned => Decision::Surface(StepFailure {
            code: 10001,
            message: format!(
                "The step '{kind}' was given up when the task was cancelled. Start a new task."
            ),
            retryable: false,
        }),
        StepStatus::Failed { attempt, failure } if failure.retryable && attempt < MAX_ATTEMPTS => {
            Decision::Repeat {
                attempt: attempt + 1,
            }
        }
        StepStatus::Failed { failure, .. } => Decision::Surface(failure),
        StepStatus::Running { attempt } if attempt >= MAX_ATTEMPTS => {
            Decision::Surface(StepFailure {
                code: 100,
                message: format!(
                    "The step '{kind}' was begun {attempt} times and never ended: the director stopped each time. \
                     Look into the director's log, then start the task again."
                ),
                retryable: false,
            })
        }
        StepStatus::Running { attempt } => match kind.interrupted() {
            Interrupted::Repeat => Decision::Repeat {
                attempt: attempt + 1,
            },
            Interrupted::Probe => Decision::Probe {
                attempt: attempt + 1,
            },
            Interrupted::Surface => Decision::Surface(StepFailure {
                code: 100,
                message: format!(
                    "The director was stopped during the step '{kind}': nobody knows whether it took effect, \
                     and doing it again may do harm. Check its outcome, then start the task again."
                ),
                retryable: false,
            }),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(attempt: u32) -> StepEvent {
        StepEvent::Started { attempt }
    }

    fn failed(retryable: bool) -> StepEvent {
        StepEvent::Failed {
            failure: StepFailure {
                code: 450002,
                message: "Timed out".into(),
                retryable,
            },
        }
    }

    #[test]
    fn a_new_step_is_run_for_the_first_time_whatever_its_kind() {
        for kind in [StepKind::CreateVm, StepKind::Apply, StepKind::RunErrand] {
            assert_eq!(recover(kind, &[]), Ok(Decision::Repeat { attempt: 1 }));
        }
    }

    #[test]
    fn a_step_left_running_is_repeated_probed_or_surfaced_by_its_kind() {
        let left = [started(1)];
        assert_eq!(
            recover(StepKind::Apply, &left),
            Ok(Decision::Repeat { attempt: 2 })
        );
        assert_eq!(
            recover(StepKind::CreateVm, &left),
            Ok(Decision::Probe { attempt: 2 })
        );
        let Ok(Decision::Surface(failure)) = recover(StepKind::RunErrand, &left) else {
            panic!("an errand must not run twice");
        };
        assert!(failure.message.contains("run_errand"), "{failure}");
    }

    #[test]
    fn a_finished_step_gives_its_recorded_output_and_is_not_run_again() {
        let output = serde_json::json!({"vm_cid": "vm-7"});
        let events = [
            started(1),
            started(2),
            StepEvent::Succeeded {
                output: output.clone(),
            },
        ];
        assert_eq!(
            recover(StepKind::CreateVm, &events),
            Ok(Decision::Done(output))
        );
    }

    #[test]
    fn a_recorded_failure_ends_the_task_the_same_way_unless_it_may_be_retried() {
        let Ok(Decision::Surface(failure)) =
            recover(StepKind::WaitForAgent, &[started(1), failed(false)])
        else {
            panic!("a final failure must be surfaced");
        };
        assert_eq!(
            (failure.code, failure.message.as_str()),
            (450002, "Timed out")
        );
        assert_eq!(
            recover(StepKind::WaitForAgent, &[started(1), failed(true)]),
            Ok(Decision::Repeat { attempt: 2 })
        );
    }

    #[test]
    fn a_step_that_stops_the_director_every_time_is_not_taken_over_for_ever() {
        let events: Vec<_> = (1..=MAX_ATTEMPTS).map(started).collect();
        assert!(matches!(
            recover(StepKind::Apply, &events),
            Ok(Decision::Surface(_))
        ));
        let all_but_one = &events[..events.len() - 1];
        assert_eq!(
            recover(StepKind::Apply, all_but_one),
            Ok(Decision::Repeat {
                attempt: MAX_ATTEMPTS
            })
        );
    }

    #[test]
    fn entries_in_no_legal_order_are_refused() {
        assert!(recover(StepKind::Apply, &[failed(true)]).is_err());
    }
}
