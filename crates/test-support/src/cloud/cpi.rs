//! The cloud behind the CPI contract.

use async_trait::async_trait;
use cpi::{
    AttachDisk, Cpi, CreateDisk, CreateStemcell, CreateVm, CreatedVm, DeleteVm, DetachDisk,
    DiskHint, Error, Info, Metadata, ResizeDisk, SnapshotDisk,
};
use domain::{DiskCid, SnapshotCid, StemcellCid, VmCid};
use serde_json::{Value, json};

use super::{
    Crash, FakeCloud, Fault, World, world::AgentState, world::Call, world::FakeDisk, world::FakeVm,
};

impl FakeCloud {
    /// Runs one call: counts it, lets it fail as told, else does `effect`.
    async fn call<T>(
        &self,
        method: &str,
        arguments: Value,
        effect: impl FnOnce(&mut World) -> Result<T, cpi::Fault>,
    ) -> Result<T, Error> {
        let (crash, fault) = {
            let mut world = self.world();
            let call = Call {
                agent_id: None,
                method: method.to_owned(),
                arguments,
            };
            world.calls.push(call.clone());
            (world.faults.stops_at(&call), world.faults.of(method))
        };
        if crash == Some(Crash::BeforeEffect) || fault == Some(Fault::Hang) {
            return std::future::pending().await;
        }
        if let Some(Fault::Error {
            kind,
            message,
            ok_to_retry,
        }) = fault
        {
            return Err(cpi::Fault {
                kind,
                message,
                ok_to_retry,
            }
            .into());
        }
        let result = effect(&mut self.world()).map_err(Error::from);
        if crash == Some(Crash::AfterEffect) {
            return std::future::pending().await;
        }
        if fault == Some(Fault::LostReply) {
            return Err(Error::Timeout {
                path: "fake-cloud".into(),
                method: method.to_owned(),
                request_id: "cpi-000000".into(),
                after: std::time::Duration::from_secs(1),
            });
        }
        result
    }
}

fn vm<'a>(world: &'a mut World, cid: &VmCid) -> Result<&'a mut FakeVm, cpi::Fault> {
    world
        .vms
        .get_mut(cid.as_str())
        .ok_or_else(|| cpi::Fault::vm_not_found(format!("VM '{cid}' not found")))
}

fn disk<'a>(world: &'a mut World, cid: &DiskCid) -> Result<&'a mut FakeDisk, cpi::Fault> {
    world
        .disks
        .get_mut(cid.as_str())
        .ok_or_else(|| cpi::Fault::disk_not_found(format!("Disk '{cid}' not found")))
}

#[async_trait]
impl Cpi for FakeCloud {
    async fn info(&self) -> Result<Info, Error> {
        Ok(Info {
            stemcell_formats: vec!["fake".into()],
            api_version: 2,
            idempotent_creates: true,
        })
    }

    async fn create_stemcell(&self, request: CreateStemcell) -> Result<StemcellCid, Error> {
        self.call("create_stemcell", json!([request.image_path]), |world| {
            let cid = format!("stemcell-{}", world.stemcells.len() + 1);
            world.stemcells.insert(cid.clone());
            Ok(StemcellCid::new(cid))
        })
        .await
    }

    async fn delete_stemcell(&self, cid: &StemcellCid) -> Result<(), Error> {
        self.call("delete_stemcell", json!([cid]), |world| {
            world.stemcells.remove(cid.as_str());
            Ok(())
        })
        .await
    }

    async fn create_vm(&self, request: CreateVm) -> Result<CreatedVm, Error> {
        let arguments = json!([
            request.agent_id,
            request.stemcell_cid,
            request.cloud_properties,
            request.networks
        ]);
        let cid = format!("vm-{}", request.agent_id);
        let cloud = self.clone();
        self.call("create_vm", arguments, move |world| {
            if !world.stemcells.contains(request.stemcell_cid.as_str()) {
                return Err(cpi::Fault::cloud_error(format!(
                    "stemcell '{}' not found",
                    request.stemcell_cid
                )));
            }
            let networks = Value::Object(request.networks);
            for (other_cid, other) in &world.vms {
                let clash = addresses(&other.networks)
                    .into_iter()
                    .find(|ip| addresses(&networks).contains(ip));
                if let Some(ip) = clash.filter(|_| *other_cid != cid) {
                    return Err(cpi::Fault::vm_creation_failed(format!(
                        "address {ip} is in use by '{other_cid}'"
                    )));
                }
            }
            if !world.vms.contains_key(&cid) {
                let task = cloud.start_agent(&cid, request.agent_id.as_str());
                let agent = AgentState {
                    mute: world.mute_new_agents,
                    job_state: "running".into(),
                    ..AgentState::default()
                };
                world.vms.insert(
                    cid.clone(),
                    FakeVm {
                        agent_id: request.agent_id.to_string(),
                        stemcell_cid: request.stemcell_cid.to_string(),
                        cloud_properties: request.cloud_properties,
                        networks: networks.clone(),
                        env: request.env,
                        metadata: Value::Null,
                        agent,
                        task,
                    },
                );
            }
            Ok(CreatedVm {
                vm_cid: VmCid::new(cid),
                networks,
            })
        })
        .await
    }

    async fn delete_vm(&self, request: DeleteVm) -> Result<(), Error> {
        self.call("delete_vm", json!([request.vm_cid]), |world| {
            let vm = world.vms.remove(request.vm_cid.as_str()).ok_or_else(|| {
                cpi::Fault::vm_not_found(format!("VM '{}' not found", request.vm_cid))
            })?;
            vm.task.abort();
            for disk in world.disks.values_mut() {
                if disk.attached_to.as_deref() == Some(request.vm_cid.as_str()) {
                    disk.attached_to = None;
                }
            }
            Ok(())
        })
        .await
    }

    async fn has_vm(&self, cid: &VmCid) -> Result<bool, Error> {
        self.call("has_vm", json!([cid]), |world| {
            Ok(world.vms.contains_key(cid.as_str()))
        })
        .await
    }

    async fn set_vm_metadata(&self, cid: &VmCid, metadata: Metadata) -> Result<(), Error> {
        self.call("set_vm_metadata", json!([cid, metadata]), |world| {
            vm(world, cid)?.metadata = Value::Object(metadata.clone());
            Ok(())
        })
        .await
    }

    async fn create_disk(&self, request: CreateDisk) -> Result<DiskCid, Error> {
        self.call(
            "create_disk",
            json!([request.size_mib, request.cloud_properties]),
            |world| {
                let key = request
                    .idempotency_key
                    .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
                let cid = format!("disk-{key}");
                world.disks.entry(cid.clone()).or_insert_with(|| FakeDisk {
                    size: request.size_mib,
                    cloud_properties: request.cloud_properties,
                    ..FakeDisk::default()
                });
                Ok(DiskCid::new(cid))
            },
        )
        .await
    }

    async fn delete_disk(&self, cid: &DiskCid) -> Result<(), Error> {
        self.call("delete_disk", json!([cid]), |world| {
            if disk(world, cid)?.attached_to.is_some() {
                return Err(cpi::Fault::cloud_error(format!("disk '{cid}' is attached")));
            }
            world.disks.remove(cid.as_str());
            Ok(())
        })
        .await
    }

    async fn has_disk(&self, cid: &DiskCid) -> Result<bool, Error> {
        self.call("has_disk", json!([cid]), |world| {
            Ok(world.disks.contains_key(cid.as_str()))
        })
        .await
    }

    async fn attach_disk(&self, request: AttachDisk) -> Result<DiskHint, Error> {
        self.call(
            "attach_disk",
            json!([request.vm_cid, request.disk_cid]),
            |world| {
                vm(world, &request.vm_cid)?;
                let disk = disk(world, &request.disk_cid)?;
                match &disk.attached_to {
                    Some(other) if other != request.vm_cid.as_str() => {
                        Err(cpi::Fault::cloud_error(format!(
                            "disk '{}' is attached to '{other}'",
                            request.disk_cid
                        )))
                    }
                    _ => {
                        disk.attached_to = Some(request.vm_cid.to_string());
                        Ok(json!({"path": format!("/dev/fake/{}", request.disk_cid)}))
                    }
                }
            },
        )
        .await
    }

    async fn detach_disk(&self, request: DetachDisk) -> Result<(), Error> {
        self.call(
            "detach_disk",
            json!([request.vm_cid, request.disk_cid]),
            |world| {
                let mounted = {
                    let agent = &vm(world, &request.vm_cid)?.agent;
                    agent.store.as_deref() == Some(request.disk_cid.as_str())
                        || agent.migration_target.as_deref() == Some(request.disk_cid.as_str())
                };
                let disk = disk(world, &request.disk_cid)?;
                if disk.attached_to.as_deref() != Some(request.vm_cid.as_str()) {
                    return Err(cpi::Fault::disk_not_attached(format!(
                        "disk '{}' is not attached",
                        request.disk_cid
                    )));
                }
                if mounted {
                    return Err(cpi::Fault::cloud_error(format!(
                        "disk '{}' is still mounted",
                        request.disk_cid
                    )));
                }
                disk.attached_to = None;
                Ok(())
            },
        )
        .await
    }

    async fn get_disks(&self, cid: &VmCid) -> Result<Vec<DiskCid>, Error> {
        self.call("get_disks", json!([cid]), |world| {
            let attached = world
                .disks
                .iter()
                .filter(|(_, disk)| disk.attached_to.as_deref() == Some(cid.as_str()));
            Ok(attached.map(|(cid, _)| DiskCid::new(cid.clone())).collect())
        })
        .await
    }

    async fn set_disk_metadata(&self, cid: &DiskCid, metadata: Metadata) -> Result<(), Error> {
        self.call("set_disk_metadata", json!([cid, metadata]), |world| {
            disk(world, cid)?.metadata = Value::Object(metadata.clone());
            Ok(())
        })
        .await
    }

    async fn resize_disk(&self, request: ResizeDisk) -> Result<(), Error> {
        self.call(
            "resize_disk",
            json!([request.disk_cid, request.size_mib]),
            |world| {
                let disk = disk(world, &request.disk_cid)?;
                if request.size_mib < disk.size || disk.attached_to.is_some() {
                    return Err(cpi::Fault::not_supported("only detached disks can grow"));
                }
                disk.size = request.size_mib;
                Ok(())
            },
        )
        .await
    }

    async fn snapshot_disk(&self, request: SnapshotDisk) -> Result<SnapshotCid, Error> {
        self.call(
            "snapshot_disk",
            json!([request.disk_cid, request.metadata]),
            |world| {
                disk(world, &request.disk_cid)?;
                let cid = format!("snap-{}", uuid::Uuid::new_v4());
                world
                    .snapshots
                    .insert(cid.clone(), request.disk_cid.to_string());
                Ok(SnapshotCid::new(cid))
            },
        )
        .await
    }

    async fn delete_snapshot(&self, cid: &SnapshotCid) -> Result<(), Error> {
        self.call("delete_snapshot", json!([cid]), |world| {
            match world.snapshots.remove(cid.as_str()) {
                Some(_) => Ok(()),
                None => Err(cpi::Fault::disk_not_found(format!(
                    "Snapshot '{cid}' not found"
                ))),
            }
        })
        .await
    }
}

fn addresses(networks: &Value) -> Vec<String> {
    let networks = networks
        .as_object()
        .into_iter()
        .flat_map(|map| map.values());
    networks
        .filter_map(|network| network.get("ip").and_then(Value::as_str))
        .map(str::to_owned)
        .collect()
}
