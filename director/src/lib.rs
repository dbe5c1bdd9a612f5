//! bosun-director: turns manifests into running, supervised, self-healing fleets of VMs.
//!
//! A library, so that tests and the benchmark reach the rooms, and one thin binary (`main.rs`).
//! Each room is named by the domain's word for what it does; all SQL is in [`store`], all
//! conversions of errors to HTTP in [`error`].

pub mod agents;
pub mod api;
pub mod auth;
pub mod blobs;
pub mod cleanup;
pub mod cloud;
pub mod compile;
pub mod config;
pub mod configs;
pub mod deploy;
pub mod disks;
pub mod errands;
pub mod error;
pub mod events;
pub mod health;
pub mod instances;
pub mod locks;
pub mod logs;
pub mod metrics;
pub mod nats;
pub mod releases;
pub mod render;
pub mod run;
pub mod schedule;
pub mod services;
pub mod snapshots;
pub mod ssh;
pub mod stemcells;
pub mod store;
pub mod tasks;
pub mod vms;

/// The version that `/info` and events name.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
