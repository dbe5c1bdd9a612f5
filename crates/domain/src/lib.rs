//! The words every part of bosun shares: names, ids, versions, digests, secrets.
//!
//! Pure: no I/O (a digest reads from a `std::io::Read` that the caller opened), no async. Every other crate may
//! depend on this one; it depends on none of them.

pub mod digest;
mod ids;
mod secret;
pub mod version;

pub use digest::{Digest, DigestAlgorithm, MultiDigest};
pub use ids::*;
pub use secret::{Secret, without_credentials};
pub use version::{ReleaseVersion, StemcellVersion, Version};
