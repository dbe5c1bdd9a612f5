//! Durable tasks: a queue in Postgres, workers with leases, fenced writes, journaled steps.
//!
//! The API calls [`enqueue`]; the [`Engine`] of any director claims the row, looks its type up in
//! [`dispatch`] and runs the handler with a [`Context`]. The room guarantees:
//!
//! ```text
//!  queued ──claim──> processing ──handler──> done | error
//!     │                  │  ▲
//!  cancel             cancel └── worker gone: lease runs out, another claims it (epoch + 1) and goes on
//!     ▼                  ▼
//!  cancelled <──── cancelling ──checkpoint──> cancelled
//! ```
//!
//! - a worker that lost its lease can't write output, steps, plan or result (each statement names its epoch);
//! - output is readable before the final state is;
//! - steps already done are not done again (`journal::recover` decides about half-done ones).
//!
//! What it leaves to handlers: to call [`Context::checkpoint`] at safe places, and to wrap effects in
//! [`Context::step`]. Specs: director-api.md §3, operations.md §1.

mod context;
pub mod dispatch;
mod engine;
pub mod output;
pub mod retention;
mod steps;
pub mod trace;

pub use crate::store::tasks::{Fence, NewTask, Task};
pub use context::Context;
pub(crate) use context::Signals;
pub use dispatch::Handler;
pub use engine::{Engine, Options};
pub use steps::Attempt;

use crate::error::Error;
use crate::store::Store;

/// Queues a task and wakes a worker. The caller answers 302 to `/tasks/<id>`.
pub async fn enqueue(store: &Store, new: NewTask) -> Result<Task, Error> {
    Ok(store.insert_task(&new).await?)
}
