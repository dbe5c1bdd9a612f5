//! What happened, for people: the user's event log of a task, and the audit trail of the environment.

mod audit;
mod log;

pub use audit::{AuditTrail, Auditable};
pub use log::{EventLog, Stage, StageTask};
