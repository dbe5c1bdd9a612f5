//! The director's blobs: every object has a row before it is stored, so none is ever lost sight of.
//!
//! Rooms store, copy and delete through here; the API serves blobs and, for a local blobstore, the signed URLs that
//! agents were given.

mod incoming;

pub(crate) use incoming::blocking;
pub use incoming::{Incoming, Noun};

use std::path::Path;

use bytes::Bytes;
use domain::BlobId;

use crate::error::{Error, code};
use crate::services::Services;
use crate::store;

/// What an object is for; kept in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ReleasePackage,
    ReleaseJob,
    CompiledPackage,
    RenderedTemplates,
    Logs,
    ExportedRelease,
    Dns,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::ReleasePackage => "release_package",
            Kind::ReleaseJob => "release_job",
            Kind::CompiledPackage => "compiled_package",
            Kind::RenderedTemplates => "rendered_templates",
            Kind::Logs => "logs",
            Kind::ExportedRelease => "exported-release",
            Kind::Dns => "dns",
        }
    }
}

/// Stores a file under an id that the caller has made up (and can make up again when it is repeated).
pub async fn store_file(
    services: &Services,
    id: &BlobId,
    kind: Kind,
    path: &Path,
) -> Result<(), Error> {
    store::blobs::insert(services.store.pool(), id.as_str(), kind.name()).await?;
    services.blobs.put_file(id, path).await.map_err(failed)
}

/// Stores bytes under an id that the caller has made up.
pub async fn store_bytes(
    services: &Services,
    id: &BlobId,
    kind: Kind,
    bytes: Bytes,
) -> Result<(), Error> {
    store::blobs::insert(services.store.pool(), id.as_str(), kind.name()).await?;
    services.blobs.put_bytes(id, bytes).await.map_err(failed)
}

/// Stores the content of one object again under another id.
pub async fn copy(
    services: &Services,
    from: &BlobId,
    to: &BlobId,
    kind: Kind,
) -> Result<(), Error> {
    store::blobs::insert(services.store.pool(), to.as_str(), kind.name()).await?;
    services.blobs.copy(from, to).await.map_err(failed)
}

/// Deletes an object and then its row. With `force` a blobstore that fails is passed over; the row then stays, so
/// that a later clean-up finds the object.
pub async fn delete(services: &Services, id: &str, force: bool) -> Result<(), Error> {
    match services.blobs.delete(&BlobId::new(id)).await {
        Ok(()) => {}
        Err(error) if force => {
            tracing::warn!(blob = id, %error, "a blob could not be deleted, going on because of force");
            return Ok(());
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(store::blobs::delete(services.store.pool(), id).await?)
}

/// A blobstore's error as the user sees it.
pub fn failed(error: blobstore::Error) -> Error {
    let code = if error.is_not_found() {
        code::RESOURCE_NOT_FOUND
    } else {
        code::RESOURCE_ERROR
    };
    Error::new(code, error.to_string())
        .hint("Look at the director's log and at the blobstore.")
        .caused_by(error)
}
