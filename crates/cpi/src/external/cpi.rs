//! The methods of the contract: positional arguments out, results in (`docs/spec/cpi.md` §2).

use async_trait::async_trait;
use domain::{DiskCid, SnapshotCid, StemcellCid, VmCid};
use serde_json::{Value, json};

use super::{CallOptions, ExternalCpi};
use crate::wire::type_name;
use crate::{
    AttachDisk, Cpi, CreateDisk, CreateNetwork, CreateStemcell, CreateVm, CreatedNetwork,
    CreatedVm, DeleteVm, DetachDisk, DiskHint, Error, Fault, FaultKind, Info, Metadata, ResizeDisk,
    SnapshotDisk, UpdateDisk, VmResources,
};

impl ExternalCpi {
    async fn plain(&self, method: &'static str, arguments: Vec<Value>) -> Result<Value, Error> {
        self.call(method, arguments, CallOptions::default()).await
    }

    async fn versioned(
        &self,
        method: &'static str,
        arguments: Vec<Value>,
        stemcell_api_version: Option<u32>,
    ) -> Result<Value, Error> {
        let options = CallOptions {
            stemcell_api_version,
            key: None,
        };
        self.call(method, arguments, options).await
    }
}

fn unexpected(method: &str, expected: &'static str, found: &Value) -> Error {
    Error::UnexpectedResult {
        method: method.to_string(),
        request_id: "unknown".into(),
        expected,
        found: type_name(found).to_string(),
    }
}

/// A CID: a non-empty string. Some CPIs answer with a number, which the original takes as it is.
fn cid(method: &str, value: &Value) -> Result<String, Error> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(unexpected(method, "a non-empty string", other)),
    }
}

fn boolean(method: &str, value: &Value) -> Result<bool, Error> {
    value
        .as_bool()
        .ok_or_else(|| unexpected(method, "a boolean", value))
}

#[async_trait]
impl Cpi for ExternalCpi {
    async fn info(&self) -> Result<Info, Error> {
        self.negotiate().await
    }

    async fn create_stemcell(&self, request: CreateStemcell) -> Result<StemcellCid, Error> {
        let version = self.negotiate().await?.api_version;
        let mut arguments = vec![json!(request.image_path), request.cloud_properties];
        if version >= 3 {
            arguments.push(request.env.unwrap_or_else(|| json!({"tags": {}})));
        }
        let result = self.plain("create_stemcell", arguments).await?;
        Ok(cid("create_stemcell", &result)?.into())
    }

    async fn delete_stemcell(&self, stemcell: &StemcellCid) -> Result<(), Error> {
        self.plain("delete_stemcell", vec![json!(stemcell)]).await?;
        Ok(())
    }

    async fn create_vm(&self, request: CreateVm) -> Result<CreatedVm, Error> {
        let options = CallOptions {
            stemcell_api_version: request.stemcell_api_version,
            key: Some(request.agent_id.to_string()),
        };
        let arguments = vec![
            json!(request.agent_id),
            json!(request.stemcell_cid),
            request.cloud_properties,
            Value::Object(request.networks),
            json!(request.disk_cids),
            request.env,
        ];
        let result = self.call("create_vm", arguments, options).await?;
        let Value::Array(pair) = &result else {
            return Err(unexpected("create_vm", "[vm_cid, networks]", &result));
        };
        Ok(CreatedVm {
            vm_cid: cid("create_vm", pair.first().unwrap_or(&Value::Null))?.into(),
            networks: pair.get(1).cloned().unwrap_or(Value::Null),
        })
    }

    async fn delete_vm(&self, request: DeleteVm) -> Result<(), Error> {
        let vm = json!(request.vm_cid);
        let result = self
            .versioned("delete_vm", vec![vm.clone()], request.stemcell_api_version)
            .await;
        if result.as_ref().err().is_none_or(Error::is_vm_not_found) {
            self.spool
                .forget_results("create_vm", |reply| reply[0] == vm);
        }
        result.map(drop)
    }

    async fn has_vm(&self, vm: &VmCid) -> Result<bool, Error> {
        boolean("has_vm", &self.plain("has_vm", vec![json!(vm)]).await?)
    }

    async fn reboot_vm(&self, vm: &VmCid) -> Result<(), Error> {
        self.plain("reboot_vm", vec![json!(vm)]).await?;
        Ok(())
    }

    async fn set_vm_metadata(&self, vm: &VmCid, metadata: Metadata) -> Result<(), Error> {
        let arguments = vec![json!(vm), Value::Object(metadata)];
        self.plain("set_vm_metadata", arguments).await?;
        Ok(())
    }

    async fn calculate_vm_cloud_properties(&self, wanted: VmResources) -> Result<Value, Error> {
        self.plain("calculate_vm_cloud_properties", vec![json!(wanted)])
            .await
    }

    async fn create_disk(&self, request: CreateDisk) -> Result<DiskCid, Error> {
        let options = CallOptions {
            stemcell_api_version: None,
            key: request.idempotency_key,
        };
        let arguments = vec![
            json!(request.size_mib),
            request.cloud_properties,
            json!(request.vm_cid),
        ];
        let result = self.call("create_disk", arguments, options).await?;
        Ok(cid("create_disk", &result)?.into())
    }

    async fn delete_disk(&self, disk: &DiskCid) -> Result<(), Error> {
        let result = self.plain("delete_disk", vec![json!(disk)]).await;
        if result.as_ref().err().is_none_or(Error::is_disk_not_found) {
            self.spool
                .forget_results("create_disk", |reply| *reply == json!(disk));
        }
        result.map(drop)
    }

    async fn has_disk(&self, disk: &DiskCid) -> Result<bool, Error> {
        boolean(
            "has_disk",
            &self.plain("has_disk", vec![json!(disk)]).await?,
        )
    }

    async fn attach_disk(&self, request: AttachDisk) -> Result<DiskHint, Error> {
        let arguments = vec![json!(request.vm_cid), json!(request.disk_cid)];
        let hint = self
            .versioned("attach_disk", arguments, request.stemcell_api_version)
            .await?;
        match &hint {
            Value::String(text) if !text.is_empty() => Ok(hint),
            Value::Object(object) if !object.is_empty() => Ok(hint),
            Value::Null | Value::String(_) | Value::Object(_) => Err(Error::Fault {
                fault: Fault {
                    kind: FaultKind::AttachDiskResponseError,
                    message: "No disk_hint".into(),
                    ok_to_retry: false,
                },
                method: "attach_disk".into(),
                request_id: "unknown".into(),
            }),
            other => Err(unexpected("attach_disk", "a string or an object", other)),
        }
    }

    async fn detach_disk(&self, request: DetachDisk) -> Result<(), Error> {
        let arguments = vec![json!(request.vm_cid), json!(request.disk_cid)];
        self.versioned("detach_disk", arguments, request.stemcell_api_version)
            .await?;
        Ok(())
    }

    async fn get_disks(&self, vm: &VmCid) -> Result<Vec<DiskCid>, Error> {
        let result = self.plain("get_disks", vec![json!(vm)]).await?;
        let Value::Array(disks) = &result else {
            return Err(unexpected("get_disks", "an array", &result));
        };
        disks
            .iter()
            .map(|disk| Ok(cid("get_disks", disk)?.into()))
            .collect()
    }

    async fn set_disk_metadata(&self, disk: &DiskCid, metadata: Metadata) -> Result<(), Error> {
        let arguments = vec![json!(disk), Value::Object(metadata)];
        self.plain("set_disk_metadata", arguments).await?;
        Ok(())
    }

    async fn resize_disk(&self, request: ResizeDisk) -> Result<(), Error> {
        let arguments = vec![json!(request.disk_cid), json!(request.size_mib)];
        self.plain("resize_disk", arguments).await?;
        Ok(())
    }

    async fn update_disk(&self, request: UpdateDisk) -> Result<Option<DiskCid>, Error> {
        let arguments = vec![
            json!(request.disk_cid),
            json!(request.size_mib),
            request.cloud_properties,
        ];
        match self.plain("update_disk", arguments).await? {
            Value::String(new) if !new.is_empty() && request.disk_cid != new.as_str() => {
                Ok(Some(new.into()))
            }
            _ => Ok(None),
        }
    }

    async fn snapshot_disk(&self, request: SnapshotDisk) -> Result<SnapshotCid, Error> {
        let arguments = vec![json!(request.disk_cid), Value::Object(request.metadata)];
        let result = self.plain("snapshot_disk", arguments).await?;
        Ok(cid("snapshot_disk", &result)?.into())
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotCid) -> Result<(), Error> {
        self.plain("delete_snapshot", vec![json!(snapshot)]).await?;
        Ok(())
    }

    async fn create_network(&self, request: CreateNetwork) -> Result<CreatedNetwork, Error> {
        let result = self
            .plain("create_network", vec![request.definition])
            .await?;
        let Value::Array(parts) = &result else {
            return Err(unexpected("create_network", "an array of three", &result));
        };
        let part = |index: usize| parts.get(index).cloned().unwrap_or(Value::Null);
        Ok(CreatedNetwork {
            network_cid: cid("create_network", &part(0))?,
            subnet: part(1),
            cloud_properties: part(2),
        })
    }

    async fn delete_network(&self, network_cid: &str) -> Result<(), Error> {
        self.plain("delete_network", vec![json!(network_cid)])
            .await?;
        Ok(())
    }

    async fn settle(&self, key: &str) {
        self.spool.entry("create_vm", key).remove();
        self.spool.entry("create_disk", key).remove();
    }
}
