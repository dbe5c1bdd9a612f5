//! The contract's methods, each handed to the module of its noun.

use async_trait::async_trait;
use cpi::{
    AttachDisk, Context, Cpi, CreateDisk, CreateStemcell, CreateVm, CreatedVm, DeleteVm,
    DetachDisk, DiskHint, Error, Fault, Info, Metadata, ResizeDisk, SnapshotDisk, VmResources,
};
use domain::{DiskCid, SnapshotCid, StemcellCid, VmCid};
use serde_json::{Value, json};
use std::path::Path;

use crate::config::Config;
use crate::disk::{self, Disks};
use crate::error::into_fault;
use crate::stemcell;
use crate::store::Store;
use crate::vm::Vms;

/// One call. The work is done in place, blocking: the process does nothing else.
pub struct LocalCpi {
    config: Config,
}

impl LocalCpi {
    pub fn new(config_file: Option<&Path>, context: &Context) -> Result<LocalCpi, Fault> {
        Ok(LocalCpi {
            config: Config::load(config_file, &context.properties)?,
        })
    }

    /// `info` must work without anything, so the store is opened by the calls that need it.
    fn store(&self) -> Result<Store, Error> {
        Ok(Store::open(&self.config.store_dir).map_err(into_fault)?)
    }
}

#[async_trait]
impl Cpi for LocalCpi {
    async fn info(&self) -> Result<Info, Error> {
        let formats = ["warden-tar", "general-tar", "container-light"];
        Ok(Info {
            stemcell_formats: formats.map(str::to_string).to_vec(),
            api_version: 3,
            idempotent_creates: true,
        })
    }

    async fn create_stemcell(&self, request: CreateStemcell) -> Result<StemcellCid, Error> {
        Ok(stemcell::create(&self.store()?, &request)?.into())
    }

    async fn delete_stemcell(&self, cid: &StemcellCid) -> Result<(), Error> {
        Ok(stemcell::delete(&self.store()?, cid.as_str())?)
    }

    async fn create_vm(&self, request: CreateVm) -> Result<CreatedVm, Error> {
        let store = self.store()?;
        let record = Vms::new(&self.config, &store).create(&request)?;
        let mut networks = request.networks;
        for made in record.networks {
            if let Some(network) = networks.get_mut(&made.name) {
                network["ip"] = made.address.to_string().into();
                network["mac"] = made.mac.into();
            }
        }
        Ok(CreatedVm {
            vm_cid: record.cid.into(),
            networks: Value::Object(networks),
        })
    }

    async fn delete_vm(&self, request: DeleteVm) -> Result<(), Error> {
        let store = self.store()?;
        Ok(Vms::new(&self.config, &store).delete(request.vm_cid.as_str())?)
    }

    async fn has_vm(&self, cid: &VmCid) -> Result<bool, Error> {
        let store = self.store()?;
        Ok(Vms::new(&self.config, &store).exists(cid.as_str())?)
    }

    async fn reboot_vm(&self, cid: &VmCid) -> Result<(), Error> {
        let store = self.store()?;
        Ok(Vms::new(&self.config, &store).reboot(cid.as_str())?)
    }

    async fn set_vm_metadata(&self, cid: &VmCid, metadata: Metadata) -> Result<(), Error> {
        let store = self.store()?;
        Ok(Vms::new(&self.config, &store).set_metadata(cid.as_str(), metadata)?)
    }

    async fn calculate_vm_cloud_properties(&self, wanted: VmResources) -> Result<Value, Error> {
        Ok(json!({
            "cpu": wanted.cpu,
            "memory": wanted.ram,
            "ephemeral_disk": wanted.ephemeral_disk_size,
        }))
    }

    async fn create_disk(&self, request: CreateDisk) -> Result<DiskCid, Error> {
        let store = self.store()?;
        Ok(Disks::new(&store).create(&self.config, &request)?.into())
    }

    async fn delete_disk(&self, cid: &DiskCid) -> Result<(), Error> {
        let store = self.store()?;
        Ok(Disks::new(&store).delete(cid.as_str())?)
    }

    async fn has_disk(&self, cid: &DiskCid) -> Result<bool, Error> {
        let store = self.store()?;
        Ok(Disks::new(&store).exists(cid.as_str())?)
    }

    async fn attach_disk(&self, request: AttachDisk) -> Result<DiskHint, Error> {
        let store = self.store()?;
        let (vm, _lock) = Vms::new(&self.config, &store).open(request.vm_cid.as_str())?;
        let path = Disks::new(&store).attach(&vm, request.disk_cid.as_str())?;
        Ok(path.into())
    }

    async fn detach_disk(&self, request: DetachDisk) -> Result<(), Error> {
        let store = self.store()?;
        let (vm, _lock) = Vms::new(&self.config, &store).open(request.vm_cid.as_str())?;
        Ok(Disks::new(&store).detach(&vm, request.disk_cid.as_str())?)
    }

    async fn get_disks(&self, cid: &VmCid) -> Result<Vec<DiskCid>, Error> {
        let store = self.store()?;
        let (vm, _lock) = Vms::new(&self.config, &store).open(cid.as_str())?;
        let disks = disk::attached(&store, &vm.cid)?;
        Ok(disks.into_iter().map(Into::into).collect())
    }

    async fn set_disk_metadata(&self, cid: &DiskCid, metadata: Metadata) -> Result<(), Error> {
        let store = self.store()?;
        Ok(Disks::new(&store).set_metadata(cid.as_str(), disk::without_nulls(metadata))?)
    }

    async fn resize_disk(&self, request: ResizeDisk) -> Result<(), Error> {
        let store = self.store()?;
        Ok(Disks::new(&store).resize(request.disk_cid.as_str(), request.size_mib)?)
    }

    async fn snapshot_disk(&self, request: SnapshotDisk) -> Result<SnapshotCid, Error> {
        let store = self.store()?;
        Ok(Disks::new(&store)
            .snapshot(request.disk_cid.as_str())?
            .into())
    }

    async fn delete_snapshot(&self, cid: &SnapshotCid) -> Result<(), Error> {
        let store = self.store()?;
        Ok(Disks::new(&store).delete_snapshot(cid.as_str())?)
    }
}
