//! What the end-to-end suite stands on: whole environments made by `bosun up`, driven by the CLI as a process, and an
//! inventory of everything that they may leave on a machine.

mod environment;
mod inventory;
mod wait;

pub use environment::{
    Environment, Run, cached_release, manifest_path, program, repository, stemcell,
    stemcell_version,
};
pub use inventory::Inventory;
pub use wait::wait_for;
