//! Deploying: from a manifest to running instances, and back.

pub mod args;
