//! Uploaded tarballs on their way in: a file that the API has received, or a URL that the task downloads
//! (director-api.md §7).

use std::path::{Path, PathBuf};

use domain::{MultiDigest, without_credentials};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::error::{Error, code};

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 9;

/// Where an upload comes from; part of its task's arguments (`{"path": …}` or `{"location": …}`).
#[derive(Clone, Serialize, Deserialize)]
pub enum Incoming {
    /// A file below this director's data folder. It is deleted when the task ends, in any case.
    #[serde(rename = "path")]
    File(PathBuf),
    /// A URL that the task downloads.
    #[serde(rename = "location")]
    Remote(String),
}

/// What is uploaded, as error texts call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    Release,
    Stemcell,
}

impl Noun {
    fn text(self) -> &'static str {
        match self {
            Noun::Release => "release",
            Noun::Stemcell => "stemcell",
        }
    }

    fn digest_code(self) -> u32 {
        match self {
            Noun::Release => code::RELEASE_SHA1_DOES_NOT_MATCH,
            Noun::Stemcell => code::STEMCELL_SHA1_DOES_NOT_MATCH,
        }
    }

    /// Downloads a URL to a file.
    pub async fn download(self, url: &str, to: &Path) -> Result<(), Error> {
        let failed = |source: Option<reqwest::Error>| {
            let noun = self.text();
            let text =
                format!("Downloading remote {noun} failed. Check task debug log for details.");
            let error = Error::new(code::RESOURCE_ERROR, text);
            match source {
                // The URL may hold a password.
                Some(source) => error.caused_by(source.without_url()),
                None => error,
            }
        };
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::limited(MAX_REDIRECTS))
            .connect_timeout(std::time::Duration::from_secs(30))
            .build()
            .map_err(|error| failed(Some(error)))?;
        let response = match client.get(url).send().await {
            Err(error) if error.is_redirect() => {
                let text = format!("Too many redirects at '{}'.", without_credentials(url));
                return Err(Error::new(code::RESOURCE_ERROR, text));
            }
            other => other.map_err(|error| failed(Some(error)))?,
        };
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            let text = format!(
                "No {} found at '{}'.",
                self.text(),
                without_credentials(url)
            );
            return Err(Error::new(code::RESOURCE_NOT_FOUND, text));
        }
        if !response.status().is_success() {
            let status =
                std::io::Error::other(format!("the server answered {}", response.status()));
            return Err(failed(None).caused_by(status));
        }
        let file_failed = |error: std::io::Error| failed(None).caused_by(error);
        let mut file = fs_err::tokio::File::create(to).await.map_err(file_failed)?;
        let mut content = response.bytes_stream();
        while let Some(chunk) = content
            .try_next()
            .await
            .map_err(|error| failed(Some(error)))?
        {
            file.write_all(&chunk).await.map_err(file_failed)?;
        }
        file.flush().await.map_err(file_failed)
    }

    /// Compares a file with the digest string that its uploader gave.
    pub async fn verify(self, file: &Path, digest: &str) -> Result<(), Error> {
        let fail = |error: domain::digest::Error| {
            Error::new(self.digest_code(), error.to_string()).caused_by(error)
        };
        let expected = MultiDigest::parse(digest).map_err(fail)?;
        let file = file.to_owned();
        blocking(move || {
            let file = fs_err::File::open(file).map_err(domain::digest::Error::Read)?;
            expected.verify(file)
        })
        .await
        .map_err(fail)
    }
}

/// Runs work that reads and writes files on a thread for such work.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
