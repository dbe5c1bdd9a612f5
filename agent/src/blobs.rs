//! Blobs: by signed URL, from the two local folders, or from the configured blobstore
//! (`docs/spec/agent-protocol.md` §4.2). Whatever is fetched is verified before anybody sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_protocol::{BlobstoreHeaders, BlobstoreSettings};
use domain::{DigestAlgorithm, MultiDigest};
use fs_err as fs;
use reqwest::Certificate;
use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::error::{Context, Error, Result, plain};
use crate::files;
use crate::layout::Layout;
use crate::platform::run_program;

/// Downloads of a signed URL are tried so often, this long apart.
const GET_ATTEMPTS: u32 = 3;
const GET_PAUSE: Duration = Duration::from_secs(5);

/// The `blobstore_path` that CPIs give the agents of `create-env`.
const CREATE_ENV_CACHE: &str = "/var/vcap/micro_bosh/data/cache";

/// A blob to fetch: by URL if there is one, else by id.
pub struct BlobRef<'a> {
    /// Signed URL or empty.
    pub signed_url: &'a str,
    /// Headers for the URL.
    pub headers: &'a BlobstoreHeaders,
    /// Blob id or empty.
    pub blob_id: &'a str,
    /// What the content must have.
    pub digest: &'a str,
}

/// Where blobs come from and go to.
pub struct Blobs {
    layout: Layout,
    settings: BlobstoreSettings,
}

impl Blobs {
    /// Uses the blobstore that is in force now.
    pub fn new(layout: Layout, settings: BlobstoreSettings) -> Self {
        Self { layout, settings }
    }

    /// Fetches and verifies a blob into a temporary file, which goes away with the result.
    pub async fn get(&self, blob: &BlobRef<'_>) -> Result<TempPath> {
        let digest = MultiDigest::parse(blob.digest).map_err(plain)?;
        if blob.signed_url.is_empty() && blob.blob_id.is_empty() {
            return Err(Error::new(
                "Both signedURL and blobID are blank which is invalid",
            ));
        }
        files::make_dir(&self.layout.tmp(), 0o755)?;
        let file = NamedTempFile::with_prefix_in("blob-", self.layout.tmp())
            .context("Creating temporary file")?
            .into_temp_path();
        if blob.signed_url.is_empty() {
            self.get_by_id(blob.blob_id, &file).await?;
        } else {
            self.get_url(blob.signed_url, blob.headers, &file).await?;
        }
        let path = file.to_path_buf();
        blocking(move || {
            let content = fs::File::open(&path).map_err(plain)?;
            digest.verify(content).map_err(plain)
        })
        .await
        .context("Checking downloaded blob")?;
        Ok(file)
    }

    async fn get_by_id(&self, id: &str, to: &Path) -> Result<()> {
        if !is_plain_name(id) {
            return Err(Error::new(format!("Blob id '{id}' is not a plain name")));
        }
        for folder in [self.layout.sensitive_blobs(), self.layout.blobs()] {
            let local = folder.join(id);
            if local.is_file() {
                fs::copy(&local, to).map_err(plain)?;
                return Ok(());
            }
        }
        match self.settings.provider.as_str() {
            "" => Err(Error::new(format!(
                "Getting blob '{id}': no blobstore is configured and the blob is not on this VM"
            ))),
            "dummy" => Ok(()),
            "local" => fs::copy(self.local_folder()?.join(id), to)
                .map(drop)
                .map_err(plain)
                .context("Getting blob from local blobstore"),
            _ => self.run_client(&["get", id, &to.to_string_lossy()]).await,
        }
    }

    /// Stores a file in the configured blobstore; returns the id it got.
    pub async fn put(&self, file: &Path) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        match self.settings.provider.as_str() {
            "" => return Err(Error::new("Uploading blob: no blobstore is configured")),
            "dummy" => {}
            "local" => {
                let folder = self.local_folder()?;
                fs::create_dir_all(&folder).map_err(plain)?;
                fs::copy(file, folder.join(&id)).map_err(plain)?;
            }
            _ => {
                let file = file.to_string_lossy();
                self.run_client(&["put", &file, &id]).await?;
            }
        }
        Ok(id)
    }

    fn local_folder(&self) -> Result<PathBuf> {
        self.settings
            .option("blobstore_path")
            .map(|path| match path {
                // compat: where `create-env` uploads to, whatever its CPIs say (§1.8).
                CREATE_ENV_CACHE => self.layout.blobs(),
                path => PathBuf::from(path),
            })
            .ok_or_else(|| Error::new("The local blobstore has no option 'blobstore_path'"))
    }

    /// Every provider but the built-in ones is an executable of the stemcell.
    async fn run_client(&self, arguments: &[&str]) -> Result<()> {
        let provider = &self.settings.provider;
        let config = self.layout.etc().join(format!("blobstore-{provider}.json"));
        files::replace_json(&config, &self.settings.options, 0o600)?;
        let program = format!("bosh-blobstore-{provider}");
        let config = config.to_string_lossy().into_owned();
        let mut all = vec!["-c", config.as_str()];
        all.extend_from_slice(arguments);
        let mut outcome = Ok(());
        for _ in 0..3 {
            outcome = run_program(&program, &all).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome.with_context(|| format!("Shelling out to {program} cli"))
    }

    fn http(&self) -> Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(30))
            .no_proxy();
        if let Some(ca) = self.settings.ca() {
            let roots = Certificate::from_pem_bundle(ca.as_bytes())
                .map_err(plain)
                .context("Reading the blobstore's CA")?;
            builder = builder.tls_certs_merge(roots);
        }
        builder.build().map_err(plain).context("Making HTTP client")
    }

    async fn get_url(&self, url: &str, headers: &BlobstoreHeaders, to: &Path) -> Result<()> {
        let client = self.http()?;
        let mut attempt = 1;
        loop {
            match download(&client, url, headers, to).await {
                Ok(()) => return Ok(()),
                Err(error) if attempt >= GET_ATTEMPTS => {
                    return Err(error).context("Downloading blob by signed URL");
                }
                Err(error) => tracing::warn!(%error, attempt, "download failed, trying again"),
            }
            attempt += 1;
            tokio::time::sleep(GET_PAUSE).await;
        }
    }

    /// Stores a file behind a signed URL: one attempt.
    pub async fn put_url(&self, url: &str, headers: &BlobstoreHeaders, file: &Path) -> Result<()> {
        let client = self.http()?;
        let content = tokio::fs::File::open(file).await.map_err(plain)?;
        let length = content.metadata().await.map_err(plain)?.len();
        let mut request = client
            .put(url)
            .header("Accept", "*/*")
            .header("Content-Length", length)
            .body(reqwest::Body::wrap_stream(ReaderStream::new(content)));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(without_url)?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Error::new(format!(
            "Uploading blob by signed URL: status {status}"
        )))
    }

    /// Removes a blob from the two local folders, and from nowhere else.
    pub fn forget_local(&self, id: &str) -> Result<()> {
        if is_plain_name(id) {
            files::remove(&self.layout.sensitive_blobs().join(id))?;
            files::remove(&self.layout.blobs().join(id))?;
        }
        Ok(())
    }
}

/// Whether the id leads to a file of the folder that it is looked for in.
pub fn is_plain_name(id: &str) -> bool {
    !id.is_empty() && !id.contains('/') && id != "." && id != ".."
}

async fn download(
    client: &reqwest::Client,
    url: &str,
    headers: &BlobstoreHeaders,
    to: &Path,
) -> Result<()> {
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = request.send().await.map_err(without_url)?;
    let status = response.status();
    if !status.is_success() {
        return Err(Error::new(format!("Get blob: status {status}")));
    }
    let mut file = tokio::fs::File::create(to).await.map_err(plain)?;
    while let Some(chunk) = response.chunk().await.map_err(without_url)? {
        file.write_all(&chunk).await.map_err(plain)?;
    }
    file.flush().await.map_err(plain)
}

/// The query of a signed URL is a credential: it must not get into error texts.
fn without_url(error: reqwest::Error) -> Error {
    let host = error
        .url()
        .map(|url| format!("{}://{}", url.scheme(), url.authority()))
        .unwrap_or_default();
    let text = plain(error.without_url());
    Error::new(format!("{host}: {text}"))
}

/// Digest of a file.
pub async fn digest_of(path: &Path, algorithm: DigestAlgorithm) -> Result<domain::Digest> {
    let path = path.to_path_buf();
    blocking(move || {
        let file = fs::File::open(&path).map_err(plain)?;
        domain::Digest::of_reader(algorithm, file).map_err(plain)
    })
    .await
}

/// Runs file work off the one thread that answers messages.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(format!("the work ended unexpectedly: {error}"))),
    }
}
