//! Releases as files: reading and checking tarballs (director, CLI), building them from a release folder (CLI).
//!
//! Fingerprints, index files, manifests and error texts are the original's, byte for byte where tools compare them:
//! `docs/spec/releases-and-templates.md` §1-§12. Everything here is synchronous; call it from a blocking thread.

pub mod dir;
pub mod document;
pub mod fingerprint;
mod glob;
pub mod job_spec;
pub mod manifest;
mod parallel;
pub mod problem;
pub mod progress;
pub mod release;
pub mod tarball;

pub use dir::{Blob, CreateOptions, ReleaseDir};
pub use job_spec::{JobArchive, JobSpec};
pub use manifest::ReleaseManifest;
pub use problem::Problem;
pub use progress::{Event, Kind, Progress};
pub use release::Release;
