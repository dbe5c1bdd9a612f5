//! Listings of instances and VMs (director-api §12.3): plain ones from rows, at once; detailed ones with the
//! agents' words, as a task. Called by the API and by the task engine.

mod full;
mod plain;
pub mod select;

pub use full::ListFull;
pub use plain::{instances, vms};
