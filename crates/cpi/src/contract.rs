//! The trait [`Cpi`] and its requests. Methods and their meaning: `docs/spec/cpi.md` §2; duties of an
//! implementation: §4. Sizes are MiB everywhere.

use async_trait::async_trait;
use domain::{AgentId, DiskCid, SnapshotCid, StemcellCid, VmCid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

use crate::{Error, Fault};

/// Tags of a VM, disk or snapshot. Values may be any JSON scalar; a CPI turns them into strings.
pub type Metadata = Map<String, Value>;

/// Where an attached disk is found by the agent: a non-empty string or object (`docs/spec/cpi.md` §6.3).
pub type DiskHint = Value;

/// What a CPI says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Formats of stemcells it can import; empty means "anything".
    #[serde(default)]
    pub stemcell_formats: Vec<String>,
    /// The highest version of the contract it speaks; 2 or 3.
    pub api_version: u32,
    /// Ours: repeating `create_vm` with the same agent id, or `create_disk` with the same idempotency key,
    /// gives the same resource. Absent from other people's CPIs, and then false.
    #[serde(default)]
    pub idempotent_creates: bool,
}

/// Arguments of `create_stemcell`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateStemcell {
    /// The unpacked stemcell's `image`; `stemcell.MF` lies beside it.
    pub image_path: PathBuf,
    pub cloud_properties: Value,
    /// `{"tags": {…}}`, sent only to CPIs that speak version 3.
    pub env: Option<Value>,
}

/// Arguments of `create_vm`. No `Debug`: `env` holds the VM's credentials.
#[derive(Clone, PartialEq)]
pub struct CreateVm {
    /// Also the idempotency key: bosun's own CPIs derive the VM CID from it.
    pub agent_id: AgentId,
    pub stemcell_cid: StemcellCid,
    pub cloud_properties: Value,
    /// By network name, `docs/spec/cpi.md` §2.1.
    pub networks: Map<String, Value>,
    /// Disks that will be attached later: a hint for placement.
    pub disk_cids: Vec<DiskCid>,
    pub env: Value,
    /// `api_version` of the stemcell (§2.3).
    pub stemcell_api_version: Option<u32>,
}

/// Result of `create_vm`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatedVm {
    pub vm_cid: VmCid,
    /// The networks as realised, normally an echo.
    pub networks: Value,
}

/// Arguments of `delete_vm`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteVm {
    pub vm_cid: VmCid,
    /// The version recorded for the VM (§2.3); 2 for a VM that the director does not know.
    pub stemcell_api_version: Option<u32>,
}

/// Arguments of `create_disk`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateDisk {
    pub size_mib: u64,
    pub cloud_properties: Value,
    /// The VM that it will be attached to, for placement.
    pub vm_cid: Option<VmCid>,
    /// Repeating a call with the same key gives the same disk. Travels as `context.idempotency_key`, which other
    /// people's CPIs ignore.
    pub idempotency_key: Option<String>,
}

/// Arguments of `attach_disk`.
#[derive(Debug, Clone, PartialEq)]
pub struct AttachDisk {
    pub vm_cid: VmCid,
    pub disk_cid: DiskCid,
    pub stemcell_api_version: Option<u32>,
}

/// Arguments of `detach_disk`.
#[derive(Debug, Clone, PartialEq)]
pub struct DetachDisk {
    pub vm_cid: VmCid,
    pub disk_cid: DiskCid,
    pub stemcell_api_version: Option<u32>,
}

/// Arguments of `resize_disk`.
#[derive(Debug, Clone, PartialEq)]
pub struct ResizeDisk {
    pub disk_cid: DiskCid,
    pub size_mib: u64,
}

/// Arguments of `update_disk`.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateDisk {
    pub disk_cid: DiskCid,
    pub size_mib: u64,
    pub cloud_properties: Value,
}

/// Arguments of `snapshot_disk`.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotDisk {
    pub disk_cid: DiskCid,
    pub metadata: Metadata,
}

/// Arguments of `create_network`: `{"type":"manual","cloud_properties":{…},"range"?,"gateway"?,"netmask_bits"?}`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateNetwork {
    pub definition: Value,
}

/// Result of `create_network`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatedNetwork {
    pub network_cid: String,
    /// `{"range","gateway","reserved"}`.
    pub subnet: Value,
    pub cloud_properties: Value,
}

/// What a VM should have; argument of `calculate_vm_cloud_properties`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmResources {
    pub cpu: u64,
    /// MiB.
    pub ram: u64,
    /// MiB.
    pub ephemeral_disk_size: u64,
}

/// An infrastructure. Every method but `info` answers `NotImplemented` unless an implementation says otherwise.
///
/// Callers promise (`docs/spec/cpi.md` §4): no two of delete/attach/detach/reboot on one VM at once, and
/// no two operations on one disk at once. Everything else may run in parallel, in several processes.
#[async_trait]
pub trait Cpi: Send + Sync {
    async fn info(&self) -> Result<Info, Error>;

    async fn create_stemcell(&self, _request: CreateStemcell) -> Result<StemcellCid, Error> {
        Err(Fault::not_implemented("create_stemcell").into())
    }
    /// Deleting a stemcell that is gone succeeds.
    async fn delete_stemcell(&self, _cid: &StemcellCid) -> Result<(), Error> {
        Err(Fault::not_implemented("delete_stemcell").into())
    }
    /// Returns once the VM runs; does not wait for its agent. A failing call leaves nothing behind.
    async fn create_vm(&self, _request: CreateVm) -> Result<CreatedVm, Error> {
        Err(Fault::not_implemented("create_vm").into())
    }
    /// Keeps persistent disks. A VM that is gone: `VMNotFound` or success, both mean deleted.
    async fn delete_vm(&self, _request: DeleteVm) -> Result<(), Error> {
        Err(Fault::not_implemented("delete_vm").into())
    }
    async fn has_vm(&self, _cid: &VmCid) -> Result<bool, Error> {
        Err(Fault::not_implemented("has_vm").into())
    }
    /// Also starts a stopped VM.
    async fn reboot_vm(&self, _cid: &VmCid) -> Result<(), Error> {
        Err(Fault::not_implemented("reboot_vm").into())
    }
    async fn set_vm_metadata(&self, _cid: &VmCid, _metadata: Metadata) -> Result<(), Error> {
        Err(Fault::not_implemented("set_vm_metadata").into())
    }
    /// The `cloud_properties` of a VM with at least these resources.
    async fn calculate_vm_cloud_properties(&self, _wanted: VmResources) -> Result<Value, Error> {
        Err(Fault::not_implemented("calculate_vm_cloud_properties").into())
    }
    async fn create_disk(&self, _request: CreateDisk) -> Result<DiskCid, Error> {
        Err(Fault::not_implemented("create_disk").into())
    }
    async fn delete_disk(&self, _cid: &DiskCid) -> Result<(), Error> {
        Err(Fault::not_implemented("delete_disk").into())
    }
    async fn has_disk(&self, _cid: &DiskCid) -> Result<bool, Error> {
        Err(Fault::not_implemented("has_disk").into())
    }
    /// Idempotent for one VM; an error when the disk is attached to another.
    async fn attach_disk(&self, _request: AttachDisk) -> Result<DiskHint, Error> {
        Err(Fault::not_implemented("attach_disk").into())
    }
    /// `DiskNotAttached` when the disk exists but is not attached.
    async fn detach_disk(&self, _request: DetachDisk) -> Result<(), Error> {
        Err(Fault::not_implemented("detach_disk").into())
    }
    /// The persistent disks attached to a VM.
    async fn get_disks(&self, _cid: &VmCid) -> Result<Vec<DiskCid>, Error> {
        Err(Fault::not_implemented("get_disks").into())
    }
    async fn set_disk_metadata(&self, _cid: &DiskCid, _metadata: Metadata) -> Result<(), Error> {
        Err(Fault::not_implemented("set_disk_metadata").into())
    }
    /// `NotSupported` for what can't be done in place; the caller then copies.
    async fn resize_disk(&self, _request: ResizeDisk) -> Result<(), Error> {
        Err(Fault::not_implemented("resize_disk").into())
    }
    /// The disk's CID from now on, when it changed.
    async fn update_disk(&self, _request: UpdateDisk) -> Result<Option<DiskCid>, Error> {
        Err(Fault::not_implemented("update_disk").into())
    }
    async fn snapshot_disk(&self, _request: SnapshotDisk) -> Result<SnapshotCid, Error> {
        Err(Fault::not_implemented("snapshot_disk").into())
    }
    /// Deleting a snapshot that is gone succeeds.
    async fn delete_snapshot(&self, _cid: &SnapshotCid) -> Result<(), Error> {
        Err(Fault::not_implemented("delete_snapshot").into())
    }
    async fn create_network(&self, _request: CreateNetwork) -> Result<CreatedNetwork, Error> {
        Err(Fault::not_implemented("create_network").into())
    }
    async fn delete_network(&self, _network_cid: &str) -> Result<(), Error> {
        Err(Fault::not_implemented("delete_network").into())
    }

    /// The caller has recorded the outcome of the creation with this key (an agent id, or a disk's idempotency key):
    /// a spooled reply is no longer needed. Nothing travels over the wire.
    async fn settle(&self, _key: &str) {}
}
