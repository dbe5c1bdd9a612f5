//! Disks outside of a deploy: orphaned, deleted for good, attached to a stopped instance
//! (docs/spec/director-api.md §17, operations.md §7).
//!
//! The API queues `orphan_disk`, `delete_orphan_disks` and `attach_disk`; the clean-up and the schedule delete
//! orphans through [`delete_orphan`]. A row goes only after its disk and all its snapshots are gone.

mod attach;
mod orphans;

pub use attach::{AttachArgs, AttachDisk};
pub use orphans::{DeleteOrphans, OrphanDisk, delete_orphan};
