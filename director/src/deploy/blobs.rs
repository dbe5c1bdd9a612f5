//! How agents get at blobs: by signed URLs where stemcell and blobstore can, else with credentials
//! (agent-protocol §1.7, §4.2).

use std::time::Duration;

use agent_protocol::{ApplySpec, Target, UploadBlob};
use base64::Engine as _;
use blobstore::{Method, new_id};
use domain::BlobId;
use serde_json::{Value as Json, json};

use super::work::Work;
use crate::agents;
use crate::error::Error;

/// The original's lifetime of signed URLs.
const EXPIRY: Duration = Duration::from_secs(24 * 3600);

/// What fits into a message of 1 MiB once it is base64 in JSON.
const MESSAGE_ROOM: usize = 770_000;

/// The first stemcell API whose agents take signed URLs.
const SIGNED_SINCE: u32 = 3;

/// Whether an agent of this stemcell works with signed URLs.
pub fn signs(work: &Work, stemcell_api_version: u32) -> bool {
    let probe = BlobId::new("00000000-0000-4000-8000-000000000000");
    stemcell_api_version >= SIGNED_SINCE
        && work
            .ctx
            .services
            .blobs
            .signed_url(Method::Get, &probe, EXPIRY)
            .is_some()
}

/// `env.bosh.blobstores` of a new VM: without credentials where URLs are signed.
pub fn agent_blobstores(work: &Work, stemcell_api_version: u32) -> Option<Json> {
    let settings = work
        .ctx
        .services
        .blobs
        .agent_settings(signs(work, stemcell_api_version));
    Some(json!([settings]))
}

/// A URL to read a blob.
pub async fn signed_get(work: &Work, id: &str) -> Result<String, Error> {
    work.ctx
        .services
        .blobs
        .signed_url(Method::Get, &BlobId::new(id), EXPIRY)
        .ok_or_else(unsigned)
}

/// A new blob's id and the URL to write it to.
pub async fn signed_upload(work: &Work) -> Result<(String, String), Error> {
    let id = new_id();
    let url = work
        .ctx
        .services
        .blobs
        .signed_url(Method::Put, &id, EXPIRY)
        .ok_or_else(unsigned)?;
    Ok((id.into_string(), url))
}

fn unsigned() -> Error {
    Error::unclassified("The blobstore gives no signed URLs.")
        .hint("Check the blobstore section of the director's settings.")
}

/// Adds the URLs of a spec's packages, if this VM's agent works with URLs.
pub async fn sign(
    work: &Work,
    mut spec: ApplySpec,
    stemcell_api_version: u32,
) -> Result<ApplySpec, Error> {
    if signs(work, stemcell_api_version) {
        for package in spec
            .packages
            .iter_mut()
            .flat_map(|packages| packages.values_mut())
        {
            package.signed_url = signed_get(work, &package.blobstore_id).await?;
        }
    }
    Ok(spec)
}

/// Sends a small blob in a message: rendered templates have no signed form. The agent keeps it until the
/// next `prepare` or `apply` has used it.
pub async fn hand_over(work: &Work, to: &Target, id: &str, digest: &str) -> Result<(), Error> {
    let bytes = work
        .ctx
        .services
        .blobs
        .get_bytes(&BlobId::new(id), None)
        .await
        .map_err(|error| {
            Error::unclassified(format!(
                "The rendered templates of '{}' can't be read from the blobstore.",
                to.instance
            ))
            .hint("Check the blobstore, then deploy again.")
            .caused_by(error)
        })?;
    if bytes.len() > MESSAGE_ROOM {
        return Err(Error::unclassified(format!(
            "The rendered templates of '{}' are too large for a message: {} bytes packed, {MESSAGE_ROOM} fit.",
            to.instance,
            bytes.len()
        ))
        .hint("Move large files of its jobs from templates to packages."));
    }
    let blob = UploadBlob {
        blob_id: id.to_owned(),
        checksum: digest.to_owned(),
        payload: base64::engine::general_purpose::STANDARD.encode(&bytes),
    };
    work.agents()
        .upload_blob(to, &blob)
        .await
        .map_err(agents::failed)
}
