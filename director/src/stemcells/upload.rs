//! The task `update_stemcell`: one uploaded tarball into the clouds and rows (director-api.md §9).

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use cpi::{Cpi, CreateStemcell};
use journal::StepKind;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::CPIS;
use super::manifest::StemcellManifest;
use crate::blobs::{Incoming, Noun, blocking};
use crate::cloud;
use crate::error::{Error, code};
use crate::events::Stage;
use crate::releases::WorkFolder;
use crate::store::stemcells::{self as rows, NewStemcell};
use crate::tasks::{Context, Handler};

/// Arguments of the task, as the API queues it.
#[derive(Clone, Serialize, Deserialize)]
pub struct UploadArgs {
    #[serde(flatten)]
    pub source: Incoming,
    /// Digest string of the tarball.
    #[serde(default)]
    pub sha1: Option<String>,
    #[serde(default)]
    pub fix: bool,
}

/// Handler of `update_stemcell`.
pub struct Upload;

#[async_trait]
impl Handler for Upload {
    async fn run(&self, context: &Context) -> Result<String, Error> {
        let args: UploadArgs = context.args()?;
        let work = WorkFolder::new(&context.services, context.task.id)?;
        let result = run(context, &args, &work).await;
        if result
            .as_ref()
            .err()
            .is_none_or(|error| !error.is_interrupted())
        {
            work.remove(&args.source);
        }
        result
    }
}

async fn run(context: &Context, args: &UploadArgs, work: &WorkFolder) -> Result<String, Error> {
    let remote = matches!(args.source, Incoming::Remote(_));
    // Extract, verify the manifest; check, upload, save for each CPI; download and verify before.
    let total = 2 + 3 * CPIS.len() + usize::from(remote) + usize::from(args.sha1.is_some());
    let stage = context.events.stage("Update stemcell", &[], total as u64);
    let tarball = match &args.source {
        Incoming::File(path) => path.clone(),
        Incoming::Remote(url) => {
            let tarball = work.path("stemcell.tgz");
            stage
                .run(
                    "Downloading remote stemcell",
                    Noun::Stemcell.download(url, &tarball),
                )
                .await?;
            tarball
        }
    };
    if let Some(digest) = &args.sha1 {
        let step = if remote {
            "Verifying remote stemcell"
        } else {
            "Verifying stemcell"
        };
        stage
            .run(step, Noun::Stemcell.verify(&tarball, digest))
            .await?;
    }
    let folder = work.path("stemcell");
    stage
        .run(
            "Extracting stemcell archive",
            extract(tarball, folder.clone()),
        )
        .await?;
    let manifest = stage
        .run("Verifying stemcell manifest", verify(&folder))
        .await?;
    let name = format!("lock:stemcells:{}:{}", manifest.name, manifest.version);
    let lock = context
        .lock(&name, Duration::from_secs(900 * CPIS.len() as u64))
        .await?;
    let ended = take_in(context, args, &stage, &manifest, &folder).await;
    let released = lock.release().await;
    ended?;
    released?;
    Ok(format!("/stemcells/{}", manifest.slug()))
}

async fn extract(tarball: PathBuf, folder: PathBuf) -> Result<(), Error> {
    let unpacked = blocking(move || -> std::io::Result<()> {
        fs_err::create_dir_all(&folder)?;
        release_archive::tarball::unpack(fs_err::File::open(tarball)?.into_parts().0, &folder)
    });
    unpacked.await.map_err(|error| {
        let text = "Extracting stemcell archive failed. Check task debug log for details.";
        Error::new(code::STEMCELL_INVALID_ARCHIVE, text).caused_by(error)
    })
}

async fn verify(folder: &Path) -> Result<StemcellManifest, Error> {
    let text = fs_err::tokio::read_to_string(folder.join("stemcell.MF"))
        .await
        .map_err(|error| {
            Error::new(
                code::STEMCELL_INVALID_ARCHIVE,
                "Stemcell manifest not found",
            )
            .hint("A stemcell tarball has stemcell.MF and image at its root.")
            .caused_by(error)
        })?;
    let manifest = StemcellManifest::parse(&text)?;
    if !folder.join("image").is_file() {
        return Err(
            Error::new(code::STEMCELL_IMAGE_NOT_FOUND, "Stemcell image not found")
                .hint("A stemcell tarball has stemcell.MF and image at its root."),
        );
    }
    Ok(manifest)
}

async fn take_in(
    context: &Context,
    args: &UploadArgs,
    stage: &Stage,
    manifest: &StemcellManifest,
    folder: &Path,
) -> Result<(), Error> {
    let cpis = context.services.cpis.for_task(context);
    let mut taken = 0;
    for name in CPIS {
        let cpi = cpis.get(name)?;
        if supports(cpi.as_ref(), manifest).await? {
            taken += 1;
            take_into(context, args, stage, manifest, folder, (name, cpi.as_ref())).await?;
        }
        let StemcellManifest {
            name: stemcell,
            version,
            ..
        } = manifest;
        rows::record_upload(context.services.store.pool(), stemcell, version, name).await?;
    }
    if taken == 0 {
        let text = format!(
            "Stemcell '{}' has formats {} that no CPI of this director supports",
            manifest.slug(),
            json!(manifest.formats)
        );
        return Err(Error::new(code::STEMCELL_NOT_SUPPORTED, text)
            .hint("Upload the stemcell that is made for this infrastructure."));
    }
    Ok(())
}

/// Whether CPI and stemcell have a format in common; one that says nothing may try.
async fn supports(cpi: &dyn Cpi, manifest: &StemcellManifest) -> Result<bool, Error> {
    let formats = match cpi.info().await {
        Ok(info) => info.stemcell_formats,
        Err(error) if error.is_not_implemented() => Vec::new(),
        Err(error) => return Err(cloud::failed(error)),
    };
    Ok(formats.is_empty()
        || manifest.formats.is_empty()
        || manifest
            .formats
            .iter()
            .any(|format| formats.contains(format)))
}

async fn take_into(
    context: &Context,
    args: &UploadArgs,
    stage: &Stage,
    manifest: &StemcellManifest,
    folder: &Path,
    (cpi_name, cpi): (&str, &dyn Cpi),
) -> Result<(), Error> {
    let db = context.services.store.pool();
    let suffix = if cpi_name.is_empty() {
        String::new()
    } else {
        format!(" (cpi: {cpi_name})")
    };
    let known = stage
        .run(
            format!("Checking if this stemcell already exists{suffix}"),
            async { Ok(rows::find(db, &manifest.name, &manifest.version, cpi_name).await?) },
        )
        .await?;
    // What this task itself has made before it was taken over is not a known one.
    let own = context
        .step_output::<String>(&create_step(cpi_name))
        .is_some();
    if known.is_some_and(|row| row.cid.is_some()) && !args.fix && !own {
        return Ok(());
    }
    let row = rows::ensure(db, &new_row(manifest, cpi_name)).await?;
    let slug = manifest.slug();
    let cid: String = stage
        .run(
            format!("Uploading stemcell {slug} to the cloud{suffix}"),
            async {
                context
                    .step(
                        &create_step(cpi_name),
                        StepKind::CreateStemcell,
                        async |_| {
                            // The contract has no way to ask for a stemcell, so one begun by a dead worker is made again.
                            let request = CreateStemcell {
                                image_path: folder.join("image"),
                                cloud_properties: manifest.cloud_properties.clone(),
                                env: None,
                            };
                            let cid = cpi.create_stemcell(request).await.map_err(cloud::failed)?;
                            Ok(cid.into_string())
                        },
                    )
                    .await
            },
        )
        .await?;
    stage
        .run(format!("Save stemcell {slug} ({cid}){suffix}"), async {
            Ok(rows::set_cid(db, row.id, &cid).await?)
        })
        .await
}

fn create_step(cpi: &str) -> String {
    format!("create_stemcell/{cpi}")
}

fn new_row(manifest: &StemcellManifest, cpi: &str) -> NewStemcell {
    NewStemcell {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        operating_system: manifest.operating_system.clone(),
        cpi: cpi.to_owned(),
        sha1: Some(manifest.sha1.clone()),
        api_version: manifest.api_version,
        formats: json!(manifest.formats),
        cloud_properties: manifest.cloud_properties.clone(),
    }
}
