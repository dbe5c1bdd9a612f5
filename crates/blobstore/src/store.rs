//! The trait, and what all stores do alike.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{BlobId, MultiDigest};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

/// The bytes of an object as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, std::io::Error>> + Send>>;

/// An object being read.
pub struct Object {
    /// Its size in bytes, if the store says.
    pub size: Option<u64>,
    /// Its content.
    pub content: ByteStream,
}

/// What a signed URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reading an object.
    Get,
    /// Writing an object.
    Put,
    /// Asking whether it is there.
    Head,
}

impl Method {
    /// The HTTP method.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Head => "HEAD",
        }
    }
}

/// Why a store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("Blob '{0}' is not in the blobstore")]
    NotFound(String),
    /// The id is not one that this store could have given out.
    #[error("'{0}' is not a valid blob id")]
    InvalidId(String),
    /// The content is not what was promised.
    #[error("Blob '{id}' is damaged")]
    Digest {
        /// The object.
        id: String,
        /// Expected and actual digest.
        #[source]
        source: domain::digest::Error,
    },
    /// A file could not be read or written.
    #[error("Failed to {act} blob '{id}'")]
    Io {
        /// `read`, `write`, `delete`, `look for`.
        act: &'static str,
        /// The object.
        id: String,
        /// The file's error.
        #[source]
        source: std::io::Error,
    },
    /// The server could not be reached or broke off.
    #[error("The blobstore at {host} did not {act} blob '{id}'")]
    Request {
        /// `read`, `write`, `delete`, `look for`.
        act: &'static str,
        /// The object.
        id: String,
        /// The server.
        host: String,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// The server refused.
    #[error(
        "The blobstore at {host} refused to {act} blob '{id}' with status {status}. Check the blobstore's credentials and disk space"
    )]
    Refused {
        /// `read`, `write`, `delete`, `look for`.
        act: &'static str,
        /// The object.
        id: String,
        /// The server.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// The configured options can't be used.
    #[error("The options of the '{provider}' blobstore can't be used: {reason}")]
    Options {
        /// `local`, `dav`, `s3`, `gcs`.
        provider: &'static str,
        /// Which option, and why.
        reason: String,
    },
}

impl Error {
    /// Whether the object is known not to be there (in contrast to: nobody knows).
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// A fresh id. Write it down before the object is stored under it.
pub fn new_id() -> BlobId {
    BlobId::new(uuid::Uuid::new_v4().to_string())
}

/// A place for blobs.
#[async_trait]
pub trait Blobstore: Send + Sync {
    /// Stores an object of `size` bytes (if known) under an id, whole or not at all; one that is there is replaced.
    async fn put(&self, id: &BlobId, size: Option<u64>, content: ByteStream) -> Result<(), Error>;

    /// Opens an object.
    async fn get(&self, id: &BlobId) -> Result<Object, Error>;

    /// Whether the object is there.
    async fn exists(&self, id: &BlobId) -> Result<bool, Error>;

    /// Deletes an object; one that isn't there is no error.
    async fn delete(&self, id: &BlobId) -> Result<(), Error>;

    /// A URL that lets whoever has it read or write this one object for `expiry`; `None` if the store has no way.
    fn signed_url(&self, method: Method, id: &BlobId, expiry: Duration) -> Option<String>;

    /// `{"provider", "options"}` for agents. Without `signed` they hold the credentials that agents then need.
    fn agent_settings(&self, signed: bool) -> Value;

    /// Stores a file.
    async fn put_file(&self, id: &BlobId, path: &Path) -> Result<(), Error> {
        let fail = |source| Error::Io {
            act: "read",
            id: id.to_string(),
            source,
        };
        let file = fs_err::tokio::File::open(path).await.map_err(fail)?;
        let size = file.metadata().await.map_err(fail)?.len();
        self.put(
            id,
            Some(size),
            Box::pin(ReaderStream::with_capacity(file, 64 * 1024)),
        )
        .await
    }

    /// Stores bytes.
    async fn put_bytes(&self, id: &BlobId, bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.put(id, Some(size), Box::pin(stream::iter([Ok(bytes)])))
            .await
    }

    /// Reads an object to memory, verified if a digest is given.
    async fn get_bytes(&self, id: &BlobId, expected: Option<&MultiDigest>) -> Result<Bytes, Error> {
        let object = self.get(id).await?;
        let fail = |source| Error::Io {
            act: "read",
            id: id.to_string(),
            source,
        };
        let mut bytes = Vec::with_capacity(object.size.unwrap_or(0).min(64 << 20) as usize);
        let mut content = object.content;
        while let Some(chunk) = content.next().await {
            bytes.extend_from_slice(&chunk.map_err(fail)?);
        }
        verify(id, expected, &bytes[..])?;
        Ok(bytes.into())
    }

    /// Reads an object to a file, verified if a digest is given. After an error the file is not there.
    async fn get_to_file(
        &self,
        id: &BlobId,
        path: &Path,
        expected: Option<&MultiDigest>,
    ) -> Result<(), Error> {
        let object = self.get(id).await?;
        let written = write_file(path, object.content).await;
        let checked = match written {
            Ok(()) => verify_file(id, expected, path).await,
            Err(source) => Err(Error::Io {
                act: "read",
                id: id.to_string(),
                source,
            }),
        };
        if checked.is_err() {
            // The error that counts is the first one.
            let _ = fs_err::tokio::remove_file(path).await;
        }
        checked
    }

    /// Stores the object's content again under another id.
    async fn copy(&self, from: &BlobId, to: &BlobId) -> Result<(), Error> {
        let object = self.get(from).await?;
        self.put(to, object.size, object.content).await
    }
}

async fn write_file(path: &Path, content: ByteStream) -> std::io::Result<()> {
    let mut file = fs_err::tokio::File::create(path).await?;
    let mut content = content;
    while let Some(chunk) = content.try_next().await? {
        file.write_all(&chunk).await?;
    }
    file.flush().await
}

async fn verify_file(
    id: &BlobId,
    expected: Option<&MultiDigest>,
    path: &Path,
) -> Result<(), Error> {
    let Some(expected) = expected.cloned() else {
        return Ok(());
    };
    let (id, path) = (id.clone(), path.to_owned());
    let checked = tokio::task::spawn_blocking(move || {
        let file = fs_err::File::open(path).map_err(|source| Error::Io {
            act: "read",
            id: id.to_string(),
            source,
        })?;
        verify(&id, Some(&expected), file)
    });
    checked
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn verify(
    id: &BlobId,
    expected: Option<&MultiDigest>,
    content: impl std::io::Read,
) -> Result<(), Error> {
    match expected {
        Some(expected) => expected.verify(content).map_err(|source| Error::Digest {
            id: id.to_string(),
            source,
        }),
        None => Ok(()),
    }
}

/// Refuses ids that could be paths. The original's are UUIDs; older stores have other names of the same characters.
pub(crate) fn checked(id: &BlobId) -> Result<&str, Error> {
    let text = id.as_str();
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 128 && text.chars().all(safe) {
        Ok(text)
    } else {
        Err(Error::InvalidId(text.to_owned()))
    }
}
