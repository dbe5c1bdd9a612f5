//! `sync_dns` and `sync_dns_with_signed_url` (`docs/spec/agent-protocol.md` §3.13).

use agent_protocol::SyncDnsWithSignedUrl;
use fs_err as fs;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::blobs::BlobRef;
use crate::dispatch::Call;
use crate::error::{Context, Error, Result, plain};
use crate::files;

/// The part of the records blob that the hosts file is made of.
#[derive(Deserialize)]
struct Records {
    version: u64,
    #[serde(default)]
    records: Vec<(String, String)>,
}

/// By blob.
pub async fn sync_dns(call: Call) -> Result<Value> {
    let (id, digest): (String, String) = (call.argument(0, 3)?, call.argument(1, 3)?);
    let version: u64 = call.argument(2, 3)?;
    let blob = BlobRef {
        signed_url: "",
        headers: &Default::default(),
        blob_id: &id,
        digest: &digest,
    };
    sync(&call.agent, &blob, version).await
}

/// By URL.
pub async fn sync_dns_with_signed_url(call: Call) -> Result<Value> {
    let wire: SyncDnsWithSignedUrl = call.argument(0, 1)?;
    let blob = BlobRef {
        signed_url: &wire.signed_url,
        headers: &wire.blobstore_headers,
        blob_id: "",
        digest: &wire.multi_digest,
    };
    sync(&call.agent, &blob, wire.version).await
}

async fn sync(agent: &Agent, blob: &BlobRef<'_>, version: u64) -> Result<Value> {
    let path = agent.layout.dns_records();
    let current: Option<Records> = files::read_json(&path).unwrap_or_default();
    if current.is_some_and(|current| current.version >= version) {
        return Ok(json!("synced"));
    }
    let file = agent
        .blobs()
        .get(blob)
        .await
        .context("getting DNS blob from blobstore")?;
    let content = fs::read(&file).map_err(plain).context("reading DNS blob")?;
    let records: Records = serde_json::from_slice(&content).context("unmarshalling DNS records")?;
    if records.version != version {
        return Err(Error::new(
            "version from unpacked dns blob does not match version supplied by director",
        ));
    }
    let hosts = hosts_file(&agent.id(), &records.records);
    let hosts_path = agent.platform.hosts_file();
    // A container's hosts file may be a mount of its own, which can't be renamed over.
    files::replace(&hosts_path, hosts.as_bytes(), 0o644)
        .or_else(|_| fs::write(&hosts_path, &hosts).map_err(plain))
        .context("saving DNS records")?;
    files::replace(&path, &content, 0o640).context("saving DNS records")?;
    agent.platform.give_to_vcap(&path)?;
    Ok(json!("synced"))
}

/// The hosts file of a VM.
pub fn hosts_file(agent_id: &str, records: &[(String, String)]) -> String {
    let mut text = format!(
        "127.0.0.1 localhost {agent_id}\n\n\
         # The following lines are desirable for IPv6 capable hosts\n\
         ::1 localhost ip6-localhost ip6-loopback {agent_id}\n\
         fe00::0 ip6-localnet\n\
         ff00::0 ip6-mcastprefix\n\
         ff02::1 ip6-allnodes\n\
         ff02::2 ip6-allrouters\n\
         ff02::3 ip6-allhosts\n"
    );
    for (ip, name) in records {
        text.push_str(&format!("\n{ip} {name}"));
    }
    if !records.is_empty() {
        text.push('\n');
    }
    text
}
