//! Steps that end in the director's rows, and what goes with them.

use std::net::IpAddr;

use domain::BlobId;
use planner::InstanceSpec;

use super::{InstanceRun, json_of};
use crate::deploy::vm;
use crate::error::Error;
use crate::store::{addresses, disks, instances, rendered_archives, vms};

impl InstanceRun<'_> {
    pub(super) async fn delete_vm(&self, all: bool) -> Result<(), Error> {
        for row in vms::list_of_instance(self.work.db(), self.row.id).await? {
            if all || row.active || row.state != "created" {
                vm::delete(self.work, &self.row, &row).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn release_addresses(&self) -> Result<(), Error> {
        let gone: Vec<IpAddr> = self
            .plan
            .released
            .iter()
            .map(|(_, address)| *address)
            .collect();
        for address in gone {
            addresses::release(self.work.db(), self.row.id, &address.to_string()).await?;
        }
        Ok(())
    }

    pub(super) async fn end_update(&self, completed: bool) -> Result<(), Error> {
        let stored = instances::find_by_uuid(self.work.db(), &self.row.uuid)
            .await?
            .and_then(|row| row.spec);
        let stored = stored.and_then(|spec| serde_json::from_value::<InstanceSpec>(spec).ok());
        let spec = self.plan.settled_spec(stored);
        self.forget_archives(&spec.configuration_hash).await?;
        let spec = json_of(&spec)?;
        let state = self.plan.state.as_str();
        if completed {
            return Ok(
                instances::complete_update(self.work.db(), self.row.id, state, &spec).await?,
            );
        }
        instances::set_spec(self.work.db(), self.row.id, &spec).await?;
        Ok(instances::set_state(self.work.db(), self.row.id, state).await?)
    }

    pub(super) async fn delete_instance(&self) -> Result<(), Error> {
        if self.work.force {
            for disk in disks::list_of_instance(self.work.db(), self.row.id).await? {
                disks::orphan(self.work.db(), disk.id).await?;
            }
        }
        self.forget_archives("").await?;
        if instances::delete(self.work.db(), self.row.id).await?
            || instances::find_by_uuid(self.work.db(), &self.row.uuid)
                .await?
                .is_none()
        {
            return Ok(());
        }
        Err(Error::unclassified(format!(
            "'{}' still has a VM or a disk and is not deleted",
            self.row.name()
        ))
        .hint("Deploy or delete again; with --force what can't be deleted becomes an orphan."))
    }

    /// Archives of rendered templates that no agent needs any more: all but the one of `content`. A blob that
    /// can't be deleted now is only untidy.
    async fn forget_archives(&self, content: &str) -> Result<(), Error> {
        let gone = rendered_archives::forget_others(self.work.db(), self.row.id, content).await?;
        for blob in gone {
            let _ = self
                .work
                .ctx
                .services
                .blobs
                .delete(&BlobId::new(blob))
                .await;
        }
        Ok(())
    }
}
