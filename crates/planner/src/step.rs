//! The steps of a plan: what the executor does, one journal entry each.

use domain::DiskCid;
use journal::StepKind;
use manifest::documents::WatchTime;
use serde::{Deserialize, Serialize};

use crate::catalogue::Hash;

/// One thing to do for one instance. What it acts on is in the [`crate::InstancePlan`] that holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Step {
    // A new VM.
    /// CPI `create_vm` (after writing the VM row with a fresh agent id), retried on creation failures. The new
    /// VM becomes the active one, unless `duplicate`.
    CreateVm {
        duplicate: bool,
    },
    /// CPI `set_vm_metadata`.
    SetVmMetadata,
    /// `ping` until it answers.
    WaitForAgent,
    /// CPI `attach_disk`, the agent's `add_persistent_disk` when there is a hint, CPI `set_disk_metadata`.
    AttachDisk {
        disk: DiskRef,
    },
    /// The agent's `mount_disk`; managed disks only.
    MountDisk {
        disk: DiskRef,
    },
    /// The agent's `update_settings`.
    UpdateSettings,
    /// The agent's `apply` of [`crate::InstanceSpec::identity_spec`], then `get_state` for dynamic addresses.
    ApplyIdentity,

    // An update.
    /// `update_completed` = false, pointers moved.
    BeginUpdate,
    /// Upload the archive of rendered templates, unless the stored one has the same configuration hash.
    StoreTemplates,
    /// The agent's `prepare`, while jobs still run. `packages_only` for a duplicate VM.
    Prepare {
        packages_only: bool,
    },
    PreStop {
        next: NextStates,
    },
    Drain {
        kind: DrainKind,
    },
    Stop,
    PostStop {
        next: NextStates,
    },
    /// Snapshots of the persistent disks.
    Snapshot,
    UnmountDisk {
        disk: DiskRef,
    },
    /// The agent's `remove_persistent_disk`, CPI `detach_disk`.
    DetachDisk {
        disk: DiskRef,
    },
    /// CPI `delete_vm` of the active VM (of all VMs when `all`); the row goes.
    DeleteVm {
        all: bool,
    },
    /// The newest inactive VM becomes active.
    ActivateVm,
    /// The VM that was replaced becomes an orphan with its addresses; the agent's `shutdown`.
    OrphanVm,
    /// Row with `key` first, then CPI `create_disk`; inactive until [`Step::ActivateDisk`].
    CreateDisk {
        key: String,
        name: String,
        size: u64,
        cloud_properties: Hash,
    },
    /// The agent's `migrate_disk`.
    MigrateDisk {
        from: DiskRef,
        to: DiskRef,
    },
    /// The row of the new disk becomes the active one.
    ActivateDisk {
        disk: DiskRef,
    },
    /// CPI `resize_disk` of a detached disk.
    ResizeDisk {
        disk: DiskRef,
        size: u64,
    },
    /// The row moves to the orphaned disks.
    OrphanDisk {
        disk: DiskRef,
    },
    /// Delete the rows of addresses in [`crate::InstancePlan::released`].
    ReleaseAddresses,
    /// Publish changed DNS records.
    SyncDns,
    /// The agent's `apply` of the full spec.
    Apply,
    PreStart,
    Start,
    WatchRunning {
        watch: WatchTime,
    },
    PostStart,
    /// Store spec and state; `update_completed` = true.
    EndUpdate {
        completed: bool,
    },
    /// Row, template blobs, DNS records go.
    DeleteInstance,
}

/// Which disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskRef {
    /// One that exists.
    Cid(DiskCid),
    /// The one that the [`Step::CreateDisk`] with this key made: its CID is in the journal.
    Created(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainKind {
    Update,
    Shutdown,
}

/// `BOSH_{VM,INSTANCE,DEPLOYMENT}_NEXT_STATE` of pre-stop scripts (agent-protocol §9.3): true = `delete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextStates {
    pub vm_deleted: bool,
    pub instance_deleted: bool,
    pub deployment_deleted: bool,
}

impl NextStates {
    /// The environment of the script.
    pub fn env(self) -> [(&'static str, &'static str); 3] {
        let word = |deleted| if deleted { "delete" } else { "keep" };
        [
            ("BOSH_VM_NEXT_STATE", word(self.vm_deleted)),
            ("BOSH_INSTANCE_NEXT_STATE", word(self.instance_deleted)),
            ("BOSH_DEPLOYMENT_NEXT_STATE", word(self.deployment_deleted)),
        ]
    }
}

impl Step {
    /// The name of the step itself (`begin_update`); several steps share a [`Step::kind`].
    pub fn name(&self) -> String {
        let tagged = serde_json::to_value(self).unwrap_or_default();
        tagged["do"].as_str().unwrap_or_default().to_string()
    }

    /// For the journal: decides what an interrupted one means.
    pub fn kind(&self) -> StepKind {
        match self {
            Step::CreateVm { .. } => StepKind::CreateVm,
            Step::SetVmMetadata => StepKind::SetVmMetadata,
            Step::WaitForAgent => StepKind::WaitForAgent,
            Step::AttachDisk { .. } => StepKind::AttachDisk,
            Step::MountDisk { .. } => StepKind::MountDisk,
            Step::UpdateSettings => StepKind::UpdateSettings,
            Step::ApplyIdentity | Step::Apply => StepKind::Apply,
            Step::BeginUpdate | Step::ActivateDisk { .. } | Step::EndUpdate { .. } => {
                StepKind::RecordInstance
            }
            Step::StoreTemplates => StepKind::StoreTemplates,
            Step::Prepare { .. } => StepKind::Prepare,
            Step::PreStop { .. } => StepKind::PreStop,
            Step::Drain { .. } => StepKind::Drain,
            Step::Stop => StepKind::Stop,
            Step::PostStop { .. } => StepKind::PostStop,
            Step::Snapshot => StepKind::SnapshotDisk,
            Step::UnmountDisk { .. } => StepKind::UnmountDisk,
            Step::DetachDisk { .. } => StepKind::DetachDisk,
            Step::DeleteVm { .. } => StepKind::DeleteVm,
            Step::ActivateVm => StepKind::ActivateVm,
            Step::OrphanVm => StepKind::OrphanVm,
            Step::CreateDisk { .. } => StepKind::CreateDisk,
            Step::MigrateDisk { .. } => StepKind::MigrateDisk,
            Step::ResizeDisk { .. } => StepKind::ResizeDisk,
            Step::OrphanDisk { .. } => StepKind::OrphanDisk,
            Step::ReleaseAddresses => StepKind::ReleaseAddresses,
            Step::SyncDns => StepKind::SyncDns,
            Step::PreStart => StepKind::PreStart,
            Step::Start => StepKind::Start,
            Step::WatchRunning { .. } => StepKind::WatchRunning,
            Step::PostStart => StepKind::PostStart,
            Step::DeleteInstance => StepKind::DeleteInstance,
        }
    }
}
