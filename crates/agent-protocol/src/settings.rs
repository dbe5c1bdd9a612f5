//! The settings document that a CPI leaves for the agent, and `update_settings`
//! (`docs/spec/agent-protocol.md` §5.2, §5.3, §3.11). It holds keys and passwords: none of this is `Debug`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::envelope::null_as_default;

/// The settings of one VM.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The agent's identity on NATS and the VM's hostname.
    #[serde(deserialize_with = "null_as_default")]
    pub agent_id: String,
    /// Echoed by `get_state`.
    #[serde(deserialize_with = "null_as_default")]
    pub vm: VmSettings,
    /// Network name to settings.
    #[serde(deserialize_with = "null_as_default")]
    pub networks: BTreeMap<String, NetworkSettings>,
    /// Device hints.
    #[serde(deserialize_with = "null_as_default")]
    pub disks: Disks,
    /// What the director and the manifest ask for.
    #[serde(deserialize_with = "null_as_default")]
    pub env: Env,
    /// The message bus, used if `env.bosh.mbus.urls` is empty.
    #[serde(deserialize_with = "null_as_default")]
    pub mbus: String,
    /// Time servers, used if `env.bosh.ntp` is absent.
    #[serde(deserialize_with = "null_as_default")]
    pub ntp: Vec<String>,
    /// The blobstore, used if `env.bosh.blobstores` is empty.
    #[serde(deserialize_with = "null_as_default")]
    pub blobstore: BlobstoreSettings,
}

impl Settings {
    /// The message bus URLs in force: `update_settings`' over the environment's over the document's.
    pub fn mbus_urls(&self, update: &UpdateSettings) -> Vec<String> {
        if let Some(mbus) = &update.mbus
            && !mbus.urls.is_empty()
        {
            return mbus.urls.clone();
        }
        if !self.env.bosh.mbus.urls.is_empty() {
            return self.env.bosh.mbus.urls.clone();
        }
        Some(self.mbus.clone())
            .filter(|url| !url.is_empty())
            .into_iter()
            .collect()
    }

    /// The client certificate in force: `update_settings`' if its CA is given.
    pub fn mbus_cert(&self, update: &UpdateSettings) -> MbusCert {
        match &update.mbus {
            Some(mbus) if !mbus.cert.ca.is_empty() => mbus.cert.clone(),
            _ => self.env.bosh.mbus.cert.clone(),
        }
    }

    /// The blobstore in force.
    pub fn blobstore(&self, update: &UpdateSettings) -> BlobstoreSettings {
        let updated = update.blobstores.as_ref().and_then(|list| list.first());
        updated
            .or(self.env.bosh.blobstores.first())
            .unwrap_or(&self.blobstore)
            .clone()
    }

    /// The address of the default network: the first that has one, unless a network says it is default for something
    /// (the last of those wins).
    pub fn default_ip(&self) -> Option<String> {
        let mut ip = None;
        for network in self.networks.values().filter(|n| !n.ip.is_empty()) {
            if ip.is_none() || !network.default.is_empty() {
                ip = Some(network.ip.clone());
            }
        }
        ip
    }
}

/// The VM's name as the CPI chose it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmSettings {
    /// The name.
    pub name: String,
    /// The cid, where the CPI tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// One network of the VM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSettings {
    /// `manual`, `dynamic` or `vip`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// The address; empty if DHCP gives it.
    #[serde(deserialize_with = "null_as_default")]
    pub ip: String,
    /// The netmask.
    #[serde(deserialize_with = "null_as_default")]
    pub netmask: String,
    /// The gateway.
    #[serde(deserialize_with = "null_as_default")]
    pub gateway: String,
    /// Prefix length; 32 or 128 for a single address.
    #[serde(deserialize_with = "null_as_default")]
    pub prefix: Value,
    /// What the network is default for: `dns`, `gateway`, `addressable`.
    #[serde(deserialize_with = "null_as_default")]
    pub default: Vec<String>,
    /// DNS servers.
    #[serde(deserialize_with = "null_as_default")]
    pub dns: Vec<String>,
    /// The interface's MAC, lower case.
    #[serde(deserialize_with = "null_as_default")]
    pub mac: String,
    /// Asks for DHCP.
    #[serde(deserialize_with = "null_as_default")]
    pub use_dhcp: bool,
    /// Somebody else configured the interface: only DNS is set.
    #[serde(deserialize_with = "null_as_default")]
    pub preconfigured: bool,
    /// All other keys.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Device hints. Persistent ones arrive by `add_persistent_disk` nowadays.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Disks {
    /// Informational.
    pub system: Value,
    /// The ephemeral device; empty if there is none.
    pub ephemeral: Value,
    /// Cid to hint.
    #[serde(deserialize_with = "null_as_default")]
    pub persistent: BTreeMap<String, DiskHint>,
    /// Instance-store devices.
    pub raw_ephemeral: Value,
}

/// How to find a disk: a string on the wire is both path and volume id (§3.10).
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct DiskHint {
    /// Device path, or the mounted directory of a container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// SCSI volume id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub volume_id: String,
    /// Device id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// LUN.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lun: String,
    /// Host adapter of the LUN.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host_device_id: String,
    /// iSCSI target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iscsi_settings: Option<IscsiSettings>,
}

/// iSCSI target and credentials.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IscsiSettings {
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
    /// Initiator.
    pub initiator_name: String,
    /// Target.
    pub target: String,
}

impl<'de> Deserialize<'de> for DiskHint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Object {
            path: String,
            volume_id: String,
            id: String,
            lun: String,
            host_device_id: String,
            iscsi_settings: Option<IscsiSettings>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Text(String),
            Object(Object),
        }
        Ok(match Option::<Wire>::deserialize(deserializer)? {
            None => Self::default(),
            Some(Wire::Text(path)) => Self {
                volume_id: path.clone(),
                path,
                ..Self::default()
            },
            Some(Wire::Object(o)) => Self {
                path: o.path,
                volume_id: o.volume_id,
                id: o.id,
                lun: o.lun,
                host_device_id: o.host_device_id,
                iscsi_settings: o.iscsi_settings,
            },
        })
    }
}

/// `env` of the settings.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Env {
    /// What the agent acts on.
    #[serde(deserialize_with = "null_as_default")]
    pub bosh: BoshEnv,
    /// `ext4`, `xfs` or empty.
    #[serde(deserialize_with = "null_as_default")]
    pub persistent_disk_fs: String,
    /// Mount options of the persistent disk.
    #[serde(deserialize_with = "null_as_default")]
    pub persistent_disk_mount_options: Vec<String>,
    /// `parted`, `sfdisk` or empty.
    #[serde(deserialize_with = "null_as_default")]
    pub persistent_disk_partitioner: String,
    /// All other keys.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// `env.bosh`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BoshEnv {
    /// Crypt hash for `vcap` and `root`; empty means no password login.
    #[serde(deserialize_with = "null_as_default")]
    pub password: String,
    /// Leaves root's password alone.
    #[serde(deserialize_with = "null_as_default")]
    pub keep_root_password: bool,
    /// Keys of `vcap`.
    #[serde(deserialize_with = "null_as_default")]
    pub authorized_keys: Vec<String>,
    /// Message bus with the agent's certificate.
    #[serde(deserialize_with = "null_as_default")]
    pub mbus: MbusSettings,
    /// The first is used.
    #[serde(deserialize_with = "null_as_default")]
    pub blobstores: Vec<BlobstoreSettings>,
    /// Time servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntp: Option<Vec<String>>,
    /// Workers of `prepare`, 5 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<usize>,
    /// All other keys.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Message bus of an environment or of `update_settings`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MbusSettings {
    /// The client certificate.
    #[serde(deserialize_with = "null_as_default")]
    pub cert: MbusCert,
    /// Server URLs.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub urls: Vec<String>,
}

/// A client certificate for NATS with its CA, all PEM.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MbusCert {
    /// Root of the server's certificate; empty means the system's.
    #[serde(deserialize_with = "null_as_default")]
    pub ca: String,
    /// The certificate.
    #[serde(deserialize_with = "null_as_default")]
    pub certificate: String,
    /// Its key.
    #[serde(deserialize_with = "null_as_default")]
    pub private_key: String,
}

/// A blobstore as agents know it.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlobstoreSettings {
    /// `dummy`, `local`, `dav`, `s3` …; empty with signed URLs.
    #[serde(
        rename = "provider",
        alias = "type",
        deserialize_with = "null_as_default"
    )]
    pub provider: String,
    /// The provider's own options; credentials may be in here.
    #[serde(deserialize_with = "null_as_default")]
    pub options: Map<String, Value>,
}

impl BlobstoreSettings {
    /// An option that is a string.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).and_then(Value::as_str)
    }

    /// `options.tls.cert.ca`: the CA of signed URLs.
    pub fn ca(&self) -> Option<&str> {
        self.options
            .get("tls")?
            .get("cert")?
            .get("ca")?
            .as_str()
            .filter(|ca| !ca.is_empty())
    }
}

/// The argument of `update_settings`, and what the agent merges from all of them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateSettings {
    /// PEM bundle or empty.
    #[serde(deserialize_with = "null_as_default")]
    pub trusted_certs: String,
    /// Names of several persistent disks.
    #[serde(deserialize_with = "null_as_default")]
    pub disk_associations: Vec<DiskAssociation>,
    /// Sent only if the blobstore changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobstores: Option<Vec<BlobstoreSettings>>,
    /// Sent only if certificates changed; then mostly without `urls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbus: Option<MbusSettings>,
}

/// A name for a persistent disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskAssociation {
    /// The name.
    pub name: String,
    /// The disk.
    pub cid: String,
}
