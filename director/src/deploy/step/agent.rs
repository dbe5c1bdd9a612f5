//! Steps that hand an agent what its instance shall be.

use agent_protocol::{ApplySpec, DiskAssociation, Target, UpdateSettings};
use planner::{Action, Fingerprints};
use serde_json::Value as Json;

use super::{InstanceRun, typed};
use crate::agents;
use crate::deploy::blobs;
use crate::deploy::prepare::snapshot;
use crate::deploy::work::Work;
use crate::error::Error;
use crate::store::instances::Instance;
use crate::store::{disks, vms};

impl InstanceRun<'_> {
    pub(super) async fn prepare(&self, packages_only: bool) -> Result<(), Error> {
        let (_, to) = self.work.agent(&self.row).await?;
        let spec = if packages_only {
            self.plan.spec.packages_spec()
        } else {
            self.plan.spec.apply_spec()
        };
        let spec = blobs::sign(self.work, typed(spec)?, self.plan.stemcell_api_version).await?;
        self.deliver_templates(&to).await?;
        self.work
            .agents()
            .prepare(&to, &spec)
            .await
            .map_err(agents::failed)
    }

    pub(super) async fn apply(&self) -> Result<(), Error> {
        let (_, to) = self.work.agent(&self.row).await?;
        let spec = blobs::sign(
            self.work,
            typed(self.plan.spec.apply_spec())?,
            self.plan.stemcell_api_version,
        )
        .await?;
        self.deliver_templates(&to).await?;
        self.work
            .agents()
            .apply(&to, &spec)
            .await
            .map_err(agents::failed)
    }

    /// Agents without blobstore credentials get the rendered templates over the message bus.
    pub(super) async fn deliver_templates(&self, to: &Target) -> Result<(), Error> {
        match &self.plan.spec.rendered_templates_archive {
            Some(archive) if blobs::signs(self.work, self.plan.stemcell_api_version) => {
                blobs::hand_over(self.work, to, archive.blobstore_id.as_str(), &archive.sha1).await
            }
            _ => Ok(()),
        }
    }

    /// What `drain` is told of the time after: nothing when the instance goes.
    pub(super) fn drain_spec(&self) -> Result<ApplySpec, Error> {
        match self.plan.action {
            Action::Delete => Ok(ApplySpec::default()),
            _ => typed(self.plan.spec.apply_spec()),
        }
    }
}

/// The agent's `update_settings`: trusted certificates, names of disks; blobstore and bus when they changed since
/// the VM was made.
pub async fn push_settings(work: &Work, row: &Instance) -> Result<(), Error> {
    let (vm, to) = work.agent(row).await?;
    let held = disks::list_of_instance(work.db(), row.id).await?;
    let named = held
        .into_iter()
        .filter(|disk| disk.active && !disk.name.is_empty());
    let now = snapshot::fingerprints(work);
    let before: Option<Fingerprints> = serde_json::from_value(vm.fingerprints.clone()).ok();
    let before = before
        .filter(|before| *before != Fingerprints::default())
        .unwrap_or_else(|| now.clone());
    let settings = UpdateSettings {
        trusted_certs: work.ctx.services.settings.trusted_certs.clone(),
        disk_associations: named
            .map(|disk| DiskAssociation {
                name: disk.name,
                cid: disk.cid.unwrap_or_default(),
            })
            .collect(),
        blobstores: (before.blobstore_config != now.blobstore_config).then(|| {
            let version = vm
                .stemcell_api_version
                .and_then(|version| u32::try_from(version).ok())
                .unwrap_or(1);
            blobs::agent_blobstores(work, version)
                .and_then(|list| serde_json::from_value(list).ok())
                .unwrap_or_default()
        }),
        mbus: None,
    };
    work.agents()
        .update_settings(&to, &settings)
        .await
        .map_err(agents::failed)?;
    let now = serde_json::to_value(&now).unwrap_or(Json::Null);
    Ok(vms::set_fingerprints(work.db(), vm.id, &now).await?)
}
