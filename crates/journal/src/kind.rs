//! The kinds of steps, and what an interrupted one of each kind means.

use serde::{Deserialize, Serialize};

/// What a step does, in the words of the domain. One kind per variant of the planner's `Step`, plus the
/// director's own (uploads, errands, cloud check).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    // The world outside, by the CPI.
    CreateNetwork,
    DeleteNetwork,
    CreateStemcell,
    DeleteStemcell,
    CreateVm,
    DeleteVm,
    RebootVm,
    SetVmMetadata,
    CreateDisk,
    DeleteDisk,
    AttachDisk,
    DetachDisk,
    ResizeDisk,
    UpdateDisk,
    SetDiskMetadata,
    SnapshotDisk,
    DeleteSnapshot,
    // The agent.
    WaitForAgent,
    UpdateSettings,
    Prepare,
    PreStop,
    Drain,
    Stop,
    PostStop,
    Apply,
    PreStart,
    Start,
    WatchRunning,
    PostStart,
    PostDeploy,
    MountDisk,
    UnmountDisk,
    MigrateDisk,
    Shutdown,
    CompilePackage,
    /// Starting one; its end is [`StepKind::AwaitErrand`].
    RunErrand,
    AwaitErrand,
    FetchLogs,
    // The director's rows and blobs.
    RenderTemplates,
    StoreTemplates,
    ReserveAddresses,
    ReleaseAddresses,
    ActivateVm,
    OrphanVm,
    OrphanDisk,
    DeleteInstance,
    RecordInstance,
    RecordDeployment,
    SyncDns,
    UploadBlob,
}

/// What it means that a step was begun and no end was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// Doing it twice ends where doing it once ends.
    Repeat,
    /// It may have happened; doing it again would double or fail it, but the world can be asked: does the
    /// agent answer, does the CPI know the disk, is the row there?
    Probe,
    /// It may have happened, nothing can be asked, and doing it again may harm: a person decides.
    Surface,
}

impl StepKind {
    /// The meaning of an interrupted step of this kind.
    pub fn interrupted(self) -> Interrupted {
        use StepKind as K;
        match self {
            // Creations: the row with the idempotency key was written first, so the world can be asked for it.
            K::CreateNetwork
            | K::CreateStemcell
            | K::CreateVm
            | K::CreateDisk
            | K::SnapshotDisk
            | K::CompilePackage => Interrupted::Probe,
            // Disk moves: a second attach or detach is an error with most CPIs; `get_disks`, `has_disk`
            // and the agent's `list_disk` tell where the disk is.
            K::AttachDisk | K::DetachDisk | K::ResizeDisk | K::UpdateDisk | K::MigrateDisk => {
                Interrupted::Probe
            }
            // A reboot that happened shows in nothing; a second one does no more harm than the first.
            K::RebootVm => Interrupted::Repeat,
            // An errand is somebody else's program: starting it twice may, say, migrate a database twice. One that is
            // known to have been started goes on in the agent and can be waited for again.
            K::RunErrand => Interrupted::Surface,
            K::DeleteNetwork
            | K::DeleteStemcell
            | K::DeleteVm
            | K::DeleteDisk
            | K::DeleteSnapshot
            | K::SetVmMetadata
            | K::SetDiskMetadata
            | K::WaitForAgent
            | K::UpdateSettings
            | K::Prepare
            | K::PreStop
            | K::Drain
            | K::Stop
            | K::PostStop
            | K::Apply
            | K::PreStart
            | K::Start
            | K::WatchRunning
            | K::PostStart
            | K::PostDeploy
            | K::MountDisk
            | K::UnmountDisk
            | K::Shutdown
            | K::AwaitErrand
            | K::FetchLogs
            | K::RenderTemplates
            | K::StoreTemplates
            | K::ReserveAddresses
            | K::ReleaseAddresses
            | K::ActivateVm
            | K::OrphanVm
            | K::OrphanDisk
            | K::DeleteInstance
            | K::RecordInstance
            | K::RecordDeployment
            | K::SyncDns
            | K::UploadBlob => Interrupted::Repeat,
        }
    }

    /// The name as stored (`create_vm`).
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => unreachable!("a unit variant serialises as a string"),
        }
    }
}

impl std::fmt::Display for StepKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}
