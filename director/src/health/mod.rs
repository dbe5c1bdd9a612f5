//! The health monitor: what agents say of themselves, unasked (`docs/spec/operations.md` §4).
//!
//! Subscribes to heartbeats, alerts and shutdown notices; keeps the last state of each agent for listings;
//! turns alerts into audit events; marks agents unresponsive that have been silent too long. It holds nothing
//! that can't be lost: a restarted director hears from every agent within 30 seconds. [`watch`] is the reconciler that
//! finds silent agents, in one director at a time; the resurrector will be another beside it.

mod monitor;
mod watch;

pub use monitor::{Heard, Monitor};
pub use watch::watch;
