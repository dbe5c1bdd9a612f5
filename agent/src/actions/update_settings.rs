//! `update_settings(settings)` (`docs/spec/agent-protocol.md` §3.11).
//!
//! The original ends its process when the message bus or the blobstore changed, to be started again with the new
//! settings, and the director loses a reply in between. Here the connection is renewed instead, before the old one is
//! closed, and nothing is lost; the answer comes when the new certificate is in use, so the director may withdraw the
//! old one.

use agent_protocol::UpdateSettings;
use serde_json::{Value, json};

use crate::dispatch::Call;
use crate::error::{Context, Error, Result};
use crate::files;

/// Takes over certificates, disk names, blobstores and message bus.
pub async fn update_settings(call: Call) -> Result<Value> {
    let new: UpdateSettings = call.argument(0, 1)?;
    let agent = &call.agent;
    agent
        .settings()
        .reload()
        .context("Refreshing the settings")?;
    for association in &new.disk_associations {
        let disk = agent.settings().disk(&association.cid).ok_or_else(|| {
            Error::new(format!(
                "Fetching disk settings: Persistent disk with volume id '{}' could not be found",
                association.cid
            ))
        })?;
        files::make_dir(&agent.layout.instance_disks(), 0o755)?;
        let link = agent.layout.instance_disks().join(&association.name);
        files::point(&link, &disk.path())?;
    }
    agent
        .platform
        .trust_certificates(&new.trusted_certs)
        .await
        .context("Updating trusted certificates")?;
    let changed = agent.settings().merge(new)?;
    if changed {
        agent.bus.renew().await;
    }
    Ok(json!("ok"))
}
