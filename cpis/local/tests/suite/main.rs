//! The local CPI against the real kernel and the real OCI runtime, as the processes that a director would start.
//!
//! Needs root. Each test works in a network namespace and a store of its own; its inventory of the host must be the same
//! before and after. Without the rights for namespaces only the tests of plain isolation run.

mod conformance;
mod host;
mod lifecycle;
mod rootfs;
