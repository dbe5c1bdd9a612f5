//! The infrastructure as `create-env` sees it: the installed CPI, with the original's error texts, and every creation in the
//! state file before anything else is done. What a killed run had begun is taken over by the next one.

use super::archives::Stemcell;
use super::install::{Installed, Target};
use super::stage::Outcome;
use super::state::{DiskRecord, State, StemcellRecord};
use crate::error::{Error, Result, Within};
use cpi::{
    AttachDisk, CallLog, Cpi, CreateDisk, CreateStemcell, CreateVm, DeleteVm, DetachDisk,
    ExternalCpi, ExternalCpiConfig, Fault, FaultKind, Metadata,
};
use domain::{AgentId, DiskCid, StemcellCid, VmCid};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// The version of the contract that `create-env` speaks.
const API_VERSION: u32 = 2;

/// A CPI and what its calls need.
pub struct Cloud {
    cpi: ExternalCpi,
    stemcell_api_version: u32,
}

/// Whether something was there to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Yes,
    WasGone,
}

impl Deleted {
    /// What becomes of the step; `reason` is why there was nothing to do.
    pub fn outcome(self, reason: &str) -> Outcome<()> {
        match self {
            Deleted::Yes => Outcome::Done(()),
            Deleted::WasGone => Outcome::Skipped((), reason.to_owned()),
        }
    }
}

/// Calls go to the CLI's own log, without secrets.
struct Log;

impl CallLog for Log {
    fn cpi(&self, line: &str) {
        tracing::debug!("{line}");
    }

    fn debug(&self, text: &str) {
        tracing::debug!("{text}");
    }
}

impl Cloud {
    pub fn new(
        installed: &Installed,
        target: &Target,
        director_id: &str,
        stemcell_api_version: u32,
    ) -> Result<Self> {
        let calls = target.calls();
        fs_err::create_dir_all(&calls)?;
        let mut config = ExternalCpiConfig::new(&installed.executable, calls, director_id);
        config.preferred_api_version = API_VERSION;
        // compat: CPIs of the original may read the operator's credentials and proxies.
        config.env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        for (name, folder) in [
            ("BOSH_PACKAGES_DIR", target.packages()),
            ("BOSH_JOBS_DIR", &target.jobs()),
        ] {
            let folder = folder.display().to_string();
            config.env.insert(name.to_owned(), folder);
        }
        Ok(Cloud {
            cpi: ExternalCpi::new(config).with_log(Arc::new(Log)),
            stemcell_api_version,
        })
    }

    /// Refuses CPIs and stemcells of the time of registries.
    pub async fn check_version(&self) -> Result<()> {
        let version = match self.cpi.info().await {
            Ok(info) => u64::from(info.api_version),
            Err(cpi::Error::NoApiVersion) => 1,
            Err(cpi::Error::VersionNotSupported(version)) => version,
            Err(error) => return Err(told("info", error).within("Error getting CPI info")),
        };
        if version >= 2 && self.stemcell_api_version >= 2 {
            return Ok(());
        }
        Err(Error::message(format!(
            "The `bosh` cli requires CPI v2.0 or greater, you are using {version}"
        )))
    }

    /// Records what an earlier run had begun to create and could not record.
    pub async fn take_over(&self, state: &mut State) -> Result<()> {
        let unsettled = self.cpi.unsettled("create_vm").await;
        for (key, made) in unsettled.map_err(|error| told("create_vm", error))? {
            if let Some(cid) = made.get(0).and_then(Value::as_str) {
                state.set_vm(cid)?;
            }
            self.cpi.settle(&key).await;
        }
        let unsettled = self.cpi.unsettled("create_disk").await;
        for (key, made) in unsettled.map_err(|error| told("create_disk", error))? {
            if let Some(cid) = made.as_str() {
                let cid = cid.to_owned();
                state.add_disk(DiskRecord {
                    cid,
                    ..DiskRecord::default()
                })?;
            }
            self.cpi.settle(&key).await;
        }
        Ok(())
    }

    pub async fn create_stemcell(
        &self,
        stemcell: &Stemcell,
        state: &mut State,
    ) -> Result<StemcellRecord> {
        let request = CreateStemcell {
            image_path: stemcell.image(),
            cloud_properties: stemcell.cloud_properties.clone(),
            env: None,
        };
        let cid = self.cpi.create_stemcell(request).await;
        let cid = cid
            .map_err(|error| told("create_stemcell", error))
            .within(|| format!("creating stemcell ({} {})", stemcell.name, stemcell.version))?;
        state.add_stemcell(StemcellRecord {
            id: String::new(),
            name: stemcell.name.clone(),
            version: stemcell.version.clone(),
            api_version: stemcell.api_version,
            cid: cid.into_string(),
        })
    }

    pub async fn delete_stemcell(
        &self,
        record: &StemcellRecord,
        state: &mut State,
    ) -> Result<Deleted> {
        let cid = StemcellCid::new(&record.cid);
        let deleted = self.cpi.delete_stemcell(&cid).await;
        let not_found = FaultKind::Unknown("Bosh::Clouds::StemcellNotFound".to_owned());
        let deleted = gone(deleted, "delete_stemcell", &not_found)
            .within(|| "Deleting stemcell from cloud")?;
        state.stemcell_gone(record)?;
        Ok(deleted)
    }

    /// Makes a VM and records it.
    pub async fn create_vm(
        &self,
        stemcell: &StemcellRecord,
        cloud_properties: &Map<String, Value>,
        networks: Map<String, Value>,
        env: Map<String, Value>,
        state: &mut State,
    ) -> Result<()> {
        let agent_id = AgentId::new(Uuid::new_v4().to_string());
        let request = CreateVm {
            agent_id: agent_id.clone(),
            stemcell_cid: StemcellCid::new(&stemcell.cid),
            cloud_properties: Value::Object(cloud_properties.clone()),
            networks,
            disk_cids: state.disk_cids().into_iter().map(DiskCid::new).collect(),
            env: Value::Object(env),
            stemcell_api_version: Some(self.stemcell_api_version),
        };
        let created = self.cpi.create_vm(request).await;
        let created = created
            .map_err(|error| told("create_vm", error))
            .within(|| format!("Creating vm with stemcell cid '{}'", stemcell.cid))?;
        state.set_vm(created.vm_cid.as_str())?;
        self.cpi.settle(agent_id.as_str()).await;
        Ok(())
    }

    pub async fn has_vm(&self, cid: &str) -> Result<bool> {
        let answer = self.cpi.has_vm(&VmCid::new(cid)).await;
        answer
            .map_err(|error| told("has_vm", error))
            .within(|| format!("Checking existence of VM '{cid}'"))
    }

    pub async fn delete_vm(&self, cid: &str, state: &mut State) -> Result<Deleted> {
        let request = DeleteVm {
            vm_cid: VmCid::new(cid),
            stemcell_api_version: Some(self.stemcell_api_version),
        };
        let deleted = self.cpi.delete_vm(request).await;
        let deleted = gone(deleted, "delete_vm", &FaultKind::VmNotFound)
            .within(|| "Deleting vm in the cloud")?;
        state.vm_gone()?;
        Ok(deleted)
    }

    pub async fn set_vm_metadata(&self, cid: &str, metadata: &Metadata) -> Result<()> {
        let vm = VmCid::new(cid);
        match self.cpi.set_vm_metadata(&vm, metadata.clone()).await {
            Err(error) if !error.is_not_implemented() => Err(told("set_vm_metadata", error)
                .within(format!("Setting VM metadata to {}", json!(metadata)))),
            _ => Ok(()),
        }
    }

    /// Makes a disk and records it.
    pub async fn create_disk(
        &self,
        size: i64,
        cloud_properties: &Map<String, Value>,
        vm: &str,
        state: &mut State,
    ) -> Result<DiskRecord> {
        let key = Uuid::new_v4().to_string();
        let request = CreateDisk {
            size_mib: size.unsigned_abs(),
            cloud_properties: Value::Object(cloud_properties.clone()),
            vm_cid: Some(VmCid::new(vm)),
            idempotency_key: Some(key.clone()),
        };
        let cid = self.cpi.create_disk(request).await;
        let cid = cid
            .map_err(|error| told("create_disk", error))
            .within(|| format!("Creating disk with size {size}, instanceID {vm}"))?;
        let record = state.add_disk(DiskRecord {
            id: String::new(),
            cid: cid.into_string(),
            size,
            cloud_properties: cloud_properties.clone(),
        })?;
        self.cpi.settle(&key).await;
        Ok(record)
    }

    /// Attaches a disk; the hint for the agent, if the CPI gave one.
    pub async fn attach_disk(&self, vm: &str, disk: &str) -> Result<Option<Value>> {
        let request = AttachDisk {
            vm_cid: VmCid::new(vm),
            disk_cid: DiskCid::new(disk),
            stemcell_api_version: Some(self.stemcell_api_version),
        };
        let hint = self.cpi.attach_disk(request).await;
        let hint = hint
            .map_err(|error| told("attach_disk", error))
            .within(|| "Attaching disk in the cloud")?;
        Ok(Some(hint).filter(|hint| !hint.is_null()))
    }

    pub async fn set_disk_metadata(&self, disk: &str, metadata: Metadata) -> Result<()> {
        let cid = DiskCid::new(disk);
        match self.cpi.set_disk_metadata(&cid, metadata).await {
            Err(error) if !error.is_not_implemented() => Err(told("set_disk_metadata", error)
                .within(format!("Setting disk metadata for {disk}"))),
            _ => Ok(()),
        }
    }

    pub async fn detach_disk(&self, vm: &str, disk: &str) -> Result<()> {
        let request = DetachDisk {
            vm_cid: VmCid::new(vm),
            disk_cid: DiskCid::new(disk),
            stemcell_api_version: Some(self.stemcell_api_version),
        };
        self.cpi
            .detach_disk(request)
            .await
            .map_err(|error| told("detach_disk", error))
            .within(|| "Detaching disk in the cloud")
    }

    pub async fn delete_disk(&self, record: &DiskRecord, state: &mut State) -> Result<Deleted> {
        let deleted = self.cpi.delete_disk(&DiskCid::new(&record.cid)).await;
        let deleted = gone(deleted, "delete_disk", &FaultKind::DiskNotFound)
            .within(|| "Deleting disk in the cloud")?;
        state.disk_gone(record)?;
        Ok(deleted)
    }
}

/// A deletion of something that is not there has succeeded.
fn gone(outcome: Result<(), cpi::Error>, method: &str, not_found: &FaultKind) -> Result<Deleted> {
    match outcome {
        Ok(()) => Ok(Deleted::Yes),
        Err(error) if error.kind() == Some(not_found) => Ok(Deleted::WasGone),
        Err(error) => Err(told(method, error)),
    }
}

/// compat: an answer's error is shown as it came.
fn told(method: &str, error: cpi::Error) -> Error {
    match error.fault() {
        Some(Fault {
            kind,
            message,
            ok_to_retry,
        }) => {
            let shown =
                json!({"type": kind.wire_name(), "message": message, "ok_to_retry": ok_to_retry});
            Error::message(format!(
                "CPI '{method}' method responded with error: CmdError{shown}"
            ))
        }
        None => Error::from_chain(&error),
    }
}
