//! Fetching releases and stemcells: files where they are, others into `~/.bosh/downloads` once (spec cli §17.1).

use super::manifest::Archive;
use super::read::object;
use super::stage::{Outcome, Stage};
use crate::error::{Error, Result, Within};
use crate::stemcell;
use domain::{Digest, MultiDigest, without_credentials};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// The folder of downloads.
pub struct Downloads {
    folder: PathBuf,
    http: reqwest::Client,
}

impl Downloads {
    pub fn new(folder: PathBuf) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| Error::from_chain(&error))?;
        Ok(Downloads { folder, http })
    }

    /// The archive's file on this machine.
    pub async fn get(&self, archive: &Archive, stage: &mut Stage) -> Result<PathBuf> {
        if !archive.url.starts_with("http") {
            let path = archive.url.trim_start_matches("file://");
            return crate::config::expand(path);
        }
        let name = format!("{}-{}", Digest::sha1(&archive.url).hex(), archive.sha1);
        let path = self.folder.join(name);
        let work = async {
            if path.is_file() {
                let reason = "Found in local cache".to_owned();
                return Ok(Outcome::Skipped((), reason));
            }
            self.download(archive, &path).await.map(Outcome::Done)
        };
        let step = format!("Downloading {}", archive.description);
        stage.step_or_skip(step, work).await?;
        Ok(path)
    }

    async fn download(&self, archive: &Archive, path: &Path) -> Result<()> {
        let mut attempt = 1;
        loop {
            match self.try_download(archive, path).await {
                Ok(()) => return Ok(()),
                Err(error) if attempt == ATTEMPTS => {
                    return Err(error.within(format!(
                        "Failed to download from '{}'",
                        without_credentials(&archive.url)
                    )));
                }
                Err(_) => {}
            }
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_download(&self, archive: &Archive, path: &Path) -> Result<()> {
        let digest =
            MultiDigest::parse(&archive.sha1).map_err(|error| Error::message(error.to_string()))?;
        fs_err::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        let network = |error: reqwest::Error| {
            Error::from_chain(&error.without_url()).within("Unable to download")
        };
        let response = self.http.get(&archive.url).send().await;
        let mut response = response
            .and_then(reqwest::Response::error_for_status)
            .map_err(network)?;
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            file.write_all(&chunk)?;
        }
        file.flush()?;
        digest
            .verify(fs_err::File::open(file.path())?)
            .map_err(|error| Error::message(error.to_string()))
            .within(|| "Verifying digest for downloaded file")?;
        file.persist(path)
            .map_err(|error| Error::from(error.error))
            .within(|| "Saving downloaded file in cache")?;
        Ok(())
    }
}

/// An unpacked stemcell, gone with the value.
pub struct Stemcell {
    pub name: String,
    pub version: String,
    pub api_version: u32,
    pub cloud_properties: serde_json::Value,
    folder: tempfile::TempDir,
}

impl Stemcell {
    /// Unpacks below `temporary`.
    pub fn unpack(tarball: &Path, temporary: &Path) -> Result<Self> {
        let (folder, manifest) = stemcell::unpack(tarball, temporary)?;
        let properties = object(&manifest.document(), "cloud_properties", stemcell::MANIFEST)?;
        Ok(Stemcell {
            name: manifest.text("name"),
            version: manifest.text("version"),
            api_version: manifest.text("api_version").parse().unwrap_or(0),
            cloud_properties: properties.into(),
            folder,
        })
    }

    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }
}
