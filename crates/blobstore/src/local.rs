//! A folder of files named by id. The director serves them by signed URLs; agents on the same machine may read the
//! folder itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use domain::BlobId;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::signed::{self, SigningKey};
use crate::store::{Blobstore, ByteStream, Error, Method, Object, checked};

/// Blobs in a folder of this machine.
pub struct LocalBlobstore {
    folder: PathBuf,
    base_url: String,
    secret: SigningKey,
    ca: Option<String>,
}

impl LocalBlobstore {
    /// Opens the folder, making it if need be. `base_url` is where agents reach the director's `/signed/` paths.
    pub fn open(
        folder: impl Into<PathBuf>,
        base_url: impl Into<String>,
        secret: SigningKey,
    ) -> Result<Self, Error> {
        let folder = folder.into();
        fs_err::create_dir_all(&folder).map_err(|error| Error::Options {
            provider: "local",
            reason: error.to_string(),
        })?;
        let base_url = base_url.into().trim_end_matches('/').to_owned();
        Ok(Self {
            folder,
            base_url,
            secret,
            ca: None,
        })
    }

    /// The certificate (PEM) that agents check the server of the `/signed/` paths against, when it is not one that
    /// every machine knows (docs/spec/agent-protocol.md §4.2).
    #[must_use]
    pub fn with_ca(mut self, ca: Option<String>) -> Self {
        self.ca = ca;
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, id: &BlobId) -> Result<PathBuf, Error> {
        Ok(self.folder.join(checked(id)?))
    }
}

fn io(act: &'static str, id: &BlobId) -> impl Fn(std::io::Error) -> Error {
    let id = id.to_string();
    move |source| match source.kind() {
        std::io::ErrorKind::NotFound if act == "read" => Error::NotFound(id.clone()),
        _ => Error::Io {
            act,
            id: id.clone(),
            source,
        },
    }
}

#[async_trait]
impl Blobstore for LocalBlobstore {
    async fn put(&self, id: &BlobId, _: Option<u64>, content: ByteStream) -> Result<(), Error> {
        let fail = io("write", id);
        let path = self.path(id)?;
        // Deleted when dropped, so a broken upload leaves nothing.
        let temporary = tempfile::Builder::new()
            .prefix(".upload-")
            .tempfile_in(&self.folder)
            .map_err(&fail)?;
        let (file, temporary) = temporary.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let mut content = content;
        while let Some(chunk) = content.try_next().await.map_err(&fail)? {
            file.write_all(&chunk).await.map_err(&fail)?;
        }
        file.flush().await.map_err(&fail)?;
        // Whoever is told that the object is stored may forget its other copy.
        file.sync_all().await.map_err(&fail)?;
        temporary.persist(path).map_err(|error| fail(error.error))
    }

    async fn get(&self, id: &BlobId) -> Result<Object, Error> {
        let fail = io("read", id);
        let file = fs_err::tokio::File::open(self.path(id)?)
            .await
            .map_err(&fail)?;
        let size = file.metadata().await.map_err(&fail)?.len();
        let content = ReaderStream::with_capacity(file, 64 * 1024);
        Ok(Object {
            size: Some(size),
            content: Box::pin(content),
        })
    }

    async fn exists(&self, id: &BlobId) -> Result<bool, Error> {
        let path = self.path(id)?;
        tokio::fs::try_exists(path)
            .await
            .map_err(io("look for", id))
    }

    async fn delete(&self, id: &BlobId) -> Result<(), Error> {
        match fs_err::tokio::remove_file(self.path(id)?).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(io("delete", id)),
        }
    }

    fn signed_url(&self, method: Method, id: &BlobId, expiry: Duration) -> Option<String> {
        Some(signed::url(
            &self.base_url,
            &self.secret,
            method,
            id,
            expiry,
        ))
    }

    fn agent_settings(&self, _: bool) -> Value {
        let mut options = json!({"blobstore_path": self.folder});
        if let Some(ca) = &self.ca {
            options["tls"] = json!({"cert": {"ca": ca}});
        }
        json!({"provider": "local", "options": options})
    }
}
