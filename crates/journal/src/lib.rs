//! The step journal, as pure data: which events a step may record, in which order, and what to do with a
//! step that a dead director left half done.
//!
//! Called by the director's task engine, twice for each step: live (before and after the effect) and when a
//! task is taken over by another worker. It does no I/O: the rows are the director's (`task_step_events`).
//!
//! ```text
//!  live                                      taking over after a crash
//!  ----                                      -------------------------
//!  recover(kind, [])       -> Repeat{1}      events = rows of this step, in order
//!  append Started{1}                         recover(kind, &events)
//!  do it (CPI, agent, rows)                    Repeat{n}   -> append Started{n}, do it again
//!  append Succeeded(output)                    Probe{n}    -> append Started{n}, ask the world, then finish or do it
//!    or Failed(failure)                        Surface(..) -> end the task with this failure
//!                                              Done(out)   -> use the recorded output, do nothing
//! ```
//!
//! Guarantees: [`StepStatus::next`] is the only place that knows the legal order; it is used when recording
//! and when replaying, so an illegal pair is found either way. [`recover`] depends on nothing but its
//! arguments, so a crash test can compare decisions.

mod event;
mod kind;
mod recovery;

pub use event::{IllegalTransition, StepEvent, StepFailure, StepStatus, replay};
pub use kind::{Interrupted, StepKind};
pub use recovery::{Decision, MAX_ATTEMPTS, recover};
