//! The settings in force: fetched from where the CPI left them, cached, and overlaid with `update_settings`
//! (`docs/spec/agent-protocol.md` §5, §6).

pub mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;

use agent_protocol::{
    BlobstoreSettings, DiskHint, IscsiSettings, MbusCert, Settings, UpdateSettings,
};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::files;
use crate::layout::Layout;
use source::Source;

/// Fetches and keeps the settings. Not shared: the agent wraps it in a lock.
pub struct Service {
    layout: Layout,
    sources: Vec<Source>,
    current: Settings,
    update: UpdateSettings,
    hints: BTreeMap<String, StoredHint>,
}

impl Service {
    /// Fetches the settings for the first time.
    pub fn load(layout: Layout, sources: Vec<Source>) -> Result<Self> {
        let update = files::read_json(&layout.update_settings())
            .context("Reading update settings")?
            .unwrap_or_default();
        let hints = files::read_json(&layout.disk_hints())
            .context("Reading persistent disk hints")?
            .unwrap_or_default();
        let mut service = Self {
            layout,
            sources,
            current: Settings::default(),
            update,
            hints,
        };
        service.reload()?;
        Ok(service)
    }

    /// Fetches the settings again. If no source has them any more, those of the last time stay in force.
    pub fn reload(&mut self) -> Result<()> {
        let mut problems = Vec::new();
        for source in &self.sources {
            match source.fetch() {
                Ok(settings) => {
                    files::replace_json(&self.layout.settings(), &settings, 0o600)
                        .context("Writing settings json")?;
                    self.current = settings;
                    return Ok(());
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        match files::read_json(&self.layout.settings()) {
            Ok(Some(settings)) => {
                self.current = settings;
                Ok(())
            }
            _ => Err(crate::error::Error::new(format!(
                "Invoking settings fetcher: {}",
                problems.join("; ")
            ))),
        }
    }

    /// The fetched settings.
    pub fn current(&self) -> &Settings {
        &self.current
    }

    /// The message bus URLs in force.
    pub fn mbus_urls(&self) -> Vec<String> {
        self.current.mbus_urls(&self.update)
    }

    /// The client certificate in force.
    pub fn mbus_cert(&self) -> MbusCert {
        self.current.mbus_cert(&self.update)
    }

    /// The blobstore in force.
    pub fn blobstore(&self) -> BlobstoreSettings {
        self.current.blobstore(&self.update)
    }

    /// Merges and saves an `update_settings`. Says whether message bus or blobstore changed.
    pub fn merge(&mut self, new: UpdateSettings) -> Result<bool> {
        let mut changed = false;
        let mut merged = self.update.clone();
        merged.trusted_certs = new.trusted_certs;
        merged.disk_associations = new.disk_associations;
        if new.mbus.is_some() && new.mbus != merged.mbus {
            merged.mbus = new.mbus;
            changed = true;
        }
        if new.blobstores.is_some() && new.blobstores != merged.blobstores {
            merged.blobstores = new.blobstores;
            changed = true;
        }
        files::replace_json(&self.layout.update_settings(), &merged, 0o600)
            .context("Writing update settings")?;
        self.update = merged;
        Ok(changed)
    }

    /// The hint of an attached disk: what `add_persistent_disk` brought wins over the settings.
    pub fn disk(&self, cid: &str) -> Option<Disk> {
        let stored = match self.hints.get(cid) {
            Some(stored) => stored.clone(),
            None => self.stored_hint(cid, self.current.disks.persistent.get(cid)?),
        };
        Some(Disk(stored))
    }

    /// The cids of all attached disks, sorted.
    pub fn disk_cids(&self) -> Vec<String> {
        let mut cids: Vec<_> = self.hints.keys().cloned().collect();
        cids.extend(self.current.disks.persistent.keys().cloned());
        cids.sort();
        cids.dedup();
        cids
    }

    /// Remembers where an attached disk is.
    pub fn add_disk(&mut self, cid: &str, hint: &DiskHint) -> Result<()> {
        let stored = self.stored_hint(cid, hint);
        self.hints.insert(cid.to_owned(), stored);
        self.save_hints()
    }

    /// Forgets a disk; an unknown one is fine.
    pub fn remove_disk(&mut self, cid: &str) -> Result<()> {
        match self.hints.remove(cid) {
            Some(_) => self.save_hints(),
            None => Ok(()),
        }
    }

    fn stored_hint(&self, cid: &str, hint: &DiskHint) -> StoredHint {
        let env = &self.current.env;
        let iscsi: IscsiSettings = hint.iscsi_settings.clone().unwrap_or_default();
        StoredHint {
            id: cid.to_owned(),
            device_id: hint.id.clone(),
            volume_id: hint.volume_id.clone(),
            lun: hint.lun.clone(),
            host_device_id: hint.host_device_id.clone(),
            path: hint.path.clone(),
            iscsi: StoredIscsi {
                initiator_name: iscsi.initiator_name,
                username: iscsi.username,
                target: iscsi.target,
                password: iscsi.password,
            },
            file_system_type: env.persistent_disk_fs.clone(),
            mount_options: env.persistent_disk_mount_options.clone(),
            partitioner: env.persistent_disk_partitioner.clone(),
        }
    }

    fn save_hints(&self) -> Result<()> {
        files::replace_json(&self.layout.disk_hints(), &self.hints, 0o600)
            .context("Saving persistent disk hints")
    }
}

/// A disk as persistent_disk_hints.json has it (§6).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StoredHint {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "DeviceID")]
    device_id: String,
    #[serde(rename = "VolumeID")]
    volume_id: String,
    lun: String,
    #[serde(rename = "HostDeviceID")]
    host_device_id: String,
    path: String,
    #[serde(rename = "ISCSISettings")]
    iscsi: StoredIscsi,
    file_system_type: String,
    #[serde(deserialize_with = "null_as_empty")]
    mount_options: Vec<String>,
    partitioner: String,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StoredIscsi {
    initiator_name: String,
    username: String,
    target: String,
    password: String,
}

/// An attached persistent disk.
#[derive(Clone)]
pub struct Disk(StoredHint);

impl Disk {
    /// Its cid.
    pub fn cid(&self) -> &str {
        &self.0.id
    }

    /// Where it is: a device, or a mounted directory in containers.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.0.path)
    }

    /// The disk as the original prints it in results. The iSCSI password is left out.
    pub fn describe(&self) -> String {
        let d = &self.0;
        format!(
            "{{ID:{} DeviceID:{} VolumeID:{} Lun:{} HostDeviceID:{} Path:{} ISCSISettings:{{InitiatorName:{} Username:{} Target:{} Password:}} FileSystemType:{} MountOptions:[{}] Partitioner:{}}}",
            d.id,
            d.device_id,
            d.volume_id,
            d.lun,
            d.host_device_id,
            d.path,
            d.iscsi.initiator_name,
            d.iscsi.username,
            d.iscsi.target,
            d.file_system_type,
            d.mount_options.join(" "),
            d.partitioner,
        )
    }
}
