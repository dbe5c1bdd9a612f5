//! Deployment manifests and configs as documents: reading, changing, interpolating, comparing, writing.

pub mod documents;
pub mod yaml;
