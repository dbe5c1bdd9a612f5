//! Where large things are kept: packages, job templates, compiled packages, rendered templates, logs.
//!
//! One trait, [`Blobstore`], over a local folder (which the director serves), a WebDAV server, S3 and Google's storage.
//! Providers and their options are the original's, because agents get them too: `docs/spec/operations.md` §12.
//! Guarantees: an object is there whole or not at all; what is read with an expected digest has it; an id never leads
//! outside of the store.

mod dav;
mod gcs;
mod http;
mod local;
mod s3;
mod s3_access;
pub mod signed;
mod store;

pub use dav::DavBlobstore;
pub use gcs::GcsBlobstore;
pub use local::LocalBlobstore;
pub use s3::S3Blobstore;
pub use store::{Blobstore, ByteStream, Error, Method, Object, new_id};
