//! The Cloud Provider Interface: what the director asks of an infrastructure.
//!
//! The director (and `create-env`) use [`Cpi`] through [`ExternalCpi`], which runs a CPI executable;
//! bosun's own CPIs implement the same trait and hand it to [`server::run`].
//! Whether an executable keeps the contract is checked by [`conformance`]. Wire formats: `docs/spec/cpi.md`.
//!
//! ```text
//! director ── Cpi ── ExternalCpi ══ stdin/stdout JSON ══ server::run ── Cpi ── local, libvirt, aws …
//! ```

pub mod conformance;
mod contract;
mod error;
mod external;
mod redact;
pub mod server;
mod wire;

pub use contract::{
    AttachDisk, Cpi, CreateDisk, CreateNetwork, CreateStemcell, CreateVm, CreatedNetwork,
    CreatedVm, DeleteVm, DetachDisk, DiskHint, Info, Metadata, ResizeDisk, SnapshotDisk,
    UpdateDisk, VmResources,
};
pub use error::{Error, Fault, FaultKind};
pub use external::{CallLog, ExternalCpi, ExternalCpiConfig, NoLog};
pub use wire::{Context, Request};

/// The example of the CPI author's page, compiled so that it stays true.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/cpi-author.md")]
struct CpiAuthorPage;
