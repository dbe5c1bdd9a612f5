//! VMs outside of a deploy: one deleted by its CID, and those that were orphaned
//! (docs/spec/director-api.md §17, operations.md §7).

mod delete;
mod orphans;

pub use delete::DeleteVm;
pub use orphans::delete_orphan;
