//! Orphaned VMs: deleted by a clean-up or by the schedule.

use std::time::Duration;

use serde_json::json;

use crate::cloud;
use crate::error::Error;
use crate::events::Auditable;
use crate::store::orphans::OrphanVmRow;
use crate::tasks::Context;

/// Deletes an orphaned VM and frees its addresses. A VM that the CPI does not know counts as deleted; what fails is
/// shown in the debug output only, and the orphan stays for the next time.
///
/// # Errors
/// Only the director's own: the database, an interruption.
pub async fn delete_orphan(
    ctx: &Context,
    orphan: &OrphanVmRow,
    patience: Duration,
) -> Result<(), Error> {
    let object = Auditable {
        object_type: "vm",
        object_name: Some(orphan.cid.clone()),
        instance: Some(orphan.instance_name.clone()),
    };
    let deleted = ctx
        .audit()
        .of_deployment(&orphan.deployment_name)
        .around("delete", object, json!({}), delete(ctx, orphan, patience))
        .await;
    match deleted {
        Err(error) if !error.is_interrupted() && !error.is_cancelled() => {
            ctx.debug(format!(
                "Orphaned VM {} is not deleted: {}",
                orphan.cid,
                error.chain()
            ));
            Ok(())
        }
        ended => ended,
    }
}

async fn delete(ctx: &Context, orphan: &OrphanVmRow, patience: Duration) -> Result<(), Error> {
    let lock = format!("lock:orphan_vm_cleanup:{}", orphan.cid);
    let guard = ctx.lock(&lock, patience).await?;
    let call = cpi::DeleteVm {
        vm_cid: orphan.cid.as_str().into(),
        stemcell_api_version: orphan
            .stemcell_api_version
            .and_then(|version| u32::try_from(version).ok()),
    };
    let cpi = ctx.services.cpis.for_task(ctx).get(&orphan.cpi)?;
    match cpi.delete_vm(call).await {
        Err(error) if !error.is_vm_not_found() => return Err(cloud::failed(error)),
        _ => {}
    }
    ctx.services.store.delete_orphan_vm(orphan.id).await?;
    if let Some(agent) = &orphan.agent_id {
        ctx.services.nats.deny(agent).await?;
    }
    guard.release().await
}
