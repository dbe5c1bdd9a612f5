//! `upload_blob({"blob_id", "checksum", "payload"})` (`docs/spec/agent-protocol.md` §3.12).

use agent_protocol::UploadBlob;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::MultiDigest;
use serde_json::{Value, json};

use crate::dispatch::Call;
use crate::error::{Context, Error, Result, plain};
use crate::files;

/// Keeps a small blob that came in the message: rendered templates, where agents have no credentials for a blobstore.
pub async fn upload_blob(call: Call) -> Result<Value> {
    let blob: UploadBlob = call.argument(0, 1)?;
    if blob.blob_id.is_empty() || blob.blob_id.contains('/') || blob.blob_id.starts_with('.') {
        return Err(Error::new(format!(
            "Blob id '{}' is not a plain name",
            blob.blob_id
        )));
    }
    let text: String = blob.payload.split_ascii_whitespace().collect();
    let content = STANDARD.decode(text).context("Decoding payload")?;
    let digest = MultiDigest::parse(&blob.checksum).map_err(plain)?;
    if digest.verify(content.as_slice()).is_err() {
        return Err(Error::new(format!(
            "Payload corrupted. Checksum mismatch. Expected '{digest}' but received a different payload"
        )));
    }
    let folder = call.agent.layout.sensitive_blobs();
    files::make_dir(&folder, 0o700)?;
    files::replace(&folder.join(&blob.blob_id), &content, 0o640)?;
    Ok(json!(blob.blob_id))
}
