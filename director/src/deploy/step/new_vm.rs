//! Steps that make a new VM an instance's.

use agent_protocol::ApplySpec;
use planner::{InstanceSpec, Step};

use super::{InstanceRun, json_of, typed};
use crate::deploy::{disk, vm};
use crate::error::Error;
use crate::store::{disks, instances, vms};
use crate::{agents, cloud};

impl InstanceRun<'_> {
    pub(super) async fn create_vm(&self) -> Result<(), Error> {
        let (work, plan) = (self.work, self.plan);
        let held = disks::list_of_instance(work.db(), self.row.id).await?;
        let request = vm::VmRequest {
            group: plan.spec.name.to_string(),
            cpi: plan.cpi.to_string(),
            stemcell_name: plan.spec.stemcell.name.to_string(),
            stemcell_version: plan.spec.stemcell.version.clone(),
            stemcell_cid: plan.stemcell_cid.to_string(),
            stemcell_api_version: plan.stemcell_api_version,
            cloud_properties: plan.spec.cloud_properties.clone(),
            networks: plan
                .spec
                .networks
                .iter()
                .map(|(name, net)| (name.to_string(), net.clone()))
                .collect(),
            disk_cids: held
                .into_iter()
                .filter(|disk| disk.active)
                .filter_map(|disk| disk.cid)
                .collect(),
            env: plan.spec.env.clone(),
        };
        vm::create(work, &self.row, &request).await?;
        // The rows show from here on what the new VM is made of, whatever happens to the update.
        let spec = self.spec_of_new_vm().await?;
        Ok(instances::set_spec(work.db(), self.row.id, &json_of(&spec)?).await?)
    }

    /// What is recorded once the VM exists: its own facts are the plan's, its jobs those of before.
    pub(super) async fn spec_of_new_vm(&self) -> Result<InstanceSpec, Error> {
        let row = instances::find_by_uuid(self.work.db(), &self.row.uuid).await?;
        let stored = row
            .and_then(|row| row.spec)
            .and_then(|spec| serde_json::from_value::<InstanceSpec>(spec).ok());
        let new = &self.plan.spec;
        Ok(match stored {
            Some(stored) => InstanceSpec {
                networks: new.networks.clone(),
                stemcell: new.stemcell.clone(),
                vm_type: new.vm_type.clone(),
                vm_extensions: new.vm_extensions.clone(),
                vm_resources: new.vm_resources,
                cloud_properties: new.cloud_properties.clone(),
                env: new.env.clone(),
                ..stored
            },
            None => InstanceSpec {
                jobs: Vec::new(),
                packages: Default::default(),
                properties: Default::default(),
                configuration_hash: String::new(),
                template_hashes: Default::default(),
                rendered_templates_archive: None,
                ..new.clone()
            },
        })
    }

    pub(super) async fn set_vm_metadata(&self) -> Result<(), Error> {
        let Some((vm, _)) = self.work.find_agent(&self.row).await? else {
            return Ok(());
        };
        let metadata = self.work.vm_metadata(&self.row);
        match self
            .work
            .cpis
            .get(&vm.cpi)?
            .set_vm_metadata(&disk::vm_cid(&vm), metadata)
            .await
        {
            Err(error) if !error.is_not_implemented() => Err(cloud::failed(error)),
            _ => Ok(()),
        }
    }

    pub(super) async fn wait_for_agent(&self) -> Result<(), Error> {
        let (vm, to) = self.work.agent(&self.row).await?;
        let limit = self.work.ctx.services.settings.agent_wait_timeout();
        let cid = disk::vm_cid(&vm);
        let ready = self.work.agents().wait_until_ready(&to, &cid, limit);
        self.work
            .ctx
            .until_cancelled(ready)
            .await?
            .map_err(agents::failed)
    }

    pub(super) async fn apply_identity(&self) -> Result<(), Error> {
        let (_, to) = self.work.agent(&self.row).await?;
        let spec: ApplySpec = typed(self.plan.spec.identity_spec())?;
        self.work
            .agents()
            .apply(&to, &spec)
            .await
            .map_err(agents::failed)?;
        let state = self
            .work
            .agents()
            .get_state(&to, false)
            .await
            .map_err(agents::failed)?;
        // Dynamic networks get their addresses from the cloud: the agent tells which.
        let mut stored = self.spec_of_new_vm().await?;
        for (name, settings) in state.networks() {
            stored.networks.insert(name.into(), settings);
        }
        Ok(instances::set_spec(self.work.db(), self.row.id, &json_of(&stored)?).await?)
    }

    /// A new VM that could not be described or whose agent never came is deleted: nobody could use or find it.
    pub(super) async fn clean_up_after(&self, step: &Step, error: &Error) {
        if error.is_interrupted() || !matches!(step, Step::SetVmMetadata | Step::WaitForAgent) {
            return;
        }
        let rows = vms::list_of_instance(self.work.db(), self.row.id)
            .await
            .unwrap_or_default();
        for row in rows
            .iter()
            .filter(|row| row.task_id == Some(self.work.task_id()))
        {
            if let Err(error) = vm::delete(self.work, &self.row, row).await {
                self.work.ctx.debug(format!(
                    "the VM of {} stays for now: {}",
                    self.row.name(),
                    error.chain()
                ));
            }
        }
    }
}
