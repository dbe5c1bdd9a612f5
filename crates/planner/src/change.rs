//! Why an instance is touched (§4.1).

use serde::{Deserialize, Serialize};

/// The original's symbols, in the order in which it computes and prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Dirty,
    Restart,
    Recreate,
    RecreatePersistentDisks,
    CloudProperties,
    Stemcell,
    Env,
    Network,
    Packages,
    PersistentDisk,
    Configuration,
    Job,
    State,
    Dns,
    TrustedCerts,
    BlobstoreConfig,
    NatsConfig,
    Tags,
}

impl ChangeKind {
    /// As in audit events (`cloud_properties`).
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Dirty => "dirty",
            ChangeKind::Restart => "restart",
            ChangeKind::Recreate => "recreate",
            ChangeKind::RecreatePersistentDisks => "recreate_persistent_disks",
            ChangeKind::CloudProperties => "cloud_properties",
            ChangeKind::Stemcell => "stemcell",
            ChangeKind::Env => "env",
            ChangeKind::Network => "network",
            ChangeKind::Packages => "packages",
            ChangeKind::PersistentDisk => "persistent_disk",
            ChangeKind::Configuration => "configuration",
            ChangeKind::Job => "job",
            ChangeKind::State => "state",
            ChangeKind::Dns => "dns",
            ChangeKind::TrustedCerts => "trusted_certs",
            ChangeKind::BlobstoreConfig => "blobstore_config",
            ChangeKind::NatsConfig => "nats_config",
            ChangeKind::Tags => "tags",
        }
    }

    /// Whether it takes a new VM (§4.2).
    pub fn recreates_vm(self) -> bool {
        matches!(
            self,
            ChangeKind::Recreate
                | ChangeKind::CloudProperties
                | ChangeKind::Stemcell
                | ChangeKind::Env
                | ChangeKind::Network
        )
    }
}

/// One difference with its reason in words: `stemcell 1.2 → 1.3`, `property router.port 80 → 8080`.
/// Never a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub kind: ChangeKind,
    pub reason: String,
}

impl Change {
    pub(crate) fn new(kind: ChangeKind, reason: impl Into<String>) -> Self {
        Change {
            kind,
            reason: reason.into(),
        }
    }
}

/// What is done to an instance, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing differs; only stored rows may be refreshed.
    None,
    /// New instance.
    Create,
    /// The VM is replaced; uuid, disk and index stay.
    Recreate,
    /// Stop, apply, start on the same VM.
    Update,
    /// DNS records and metadata only: jobs are not touched.
    Refresh,
    /// Jobs started on a VM that exists.
    Start,
    Stop,
    Restart,
    /// The VM goes, the disk stays.
    Detach,
    /// The instance goes, its disk becomes an orphan.
    Delete,
}

impl Action {
    /// As shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::None => "unchanged",
            Action::Create => "create",
            Action::Recreate => "recreate",
            Action::Update => "update",
            Action::Refresh => "refresh",
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Restart => "restart",
            Action::Detach => "detach",
            Action::Delete => "delete",
        }
    }
}
