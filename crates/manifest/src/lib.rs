//! Deployment manifests and configs as documents: reading, changing, interpolating, comparing, writing.
//!
//! Pure: texts and values in, texts and values out. The director reads, compares and writes manifests with it; the
//! command line evaluates templates.
//!
//! - [`yaml`]: the only door for documents shared with the original tools
//! - [`documents`]: the typed manifest and configs
//! - [`pointer`], [`ops`]: paths and operations files
//! - [`interpolation`], [`template`]: `((variables))` and the command line's order of work
//! - [`diff`]: what a deploy would change, as lines

pub mod diff;
pub mod documents;
pub mod interpolation;
pub mod ops;
mod original;
pub mod pointer;
pub mod template;
pub mod yaml;
