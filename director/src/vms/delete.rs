//! Task type `delete_vm`: a VM by its CID, known or not. Its instance stays and misses a VM from then on.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::cloud;
use crate::deploy::work::Work;
use crate::deploy::{find_owner, lock_of, vm};
use crate::error::Error;
use crate::events::Auditable;
use crate::store::vms;
use crate::tasks::{Context, Handler};

/// What a VM that the director does not know is taken to speak (cpi.md §2.3).
const UNKNOWN_VM_API_VERSION: u32 = 2;

#[derive(Deserialize)]
struct Args {
    cid: String,
}

/// Handler of `delete_vm`.
pub struct DeleteVm;

#[async_trait]
impl Handler for DeleteVm {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let Args { cid } = ctx.args()?;
        let stage = ctx.events.stage("Delete VM", &[], 1);
        let deletion = async {
            if delete(ctx, &cid).await? {
                // compat: a second step within the first, of a stage that announced one.
                stage
                    .run(format!("VM {cid} is successfully deleted"), async {
                        Ok(())
                    })
                    .await?;
            } else {
                ctx.events
                    .warning(&format!("VM {cid} does not exist. Deletion is skipped"));
            }
            Ok(())
        };
        stage.run(cid.clone(), deletion).await?;
        Ok(format!("vm {cid} deleted"))
    }
}

/// False when the CPI has no such VM.
async fn delete(ctx: &Context, cid: &str) -> Result<bool, Error> {
    let db = ctx.services.store.pool();
    let owner = match vms::find_by_cid(db, cid).await? {
        Some(vm) => find_owner(ctx, vm.instance_id).await?,
        None => None,
    };
    let mut audit = ctx.audit();
    if let Some((_, deployment)) = &owner {
        audit = audit.of_deployment(&deployment.name);
    }
    let object = Auditable {
        object_type: "vm",
        object_name: Some(cid.to_owned()),
        instance: owner.as_ref().map(|(instance, _)| instance.slug()),
    };
    let deletion = async {
        let Some((instance, deployment)) = owner else {
            return unknown(ctx, cid).await;
        };
        // Stricter than the original, which locks the VM alone: a deploy under way counts on it.
        let guard = lock_of(ctx, &deployment.name).await?;
        let work = Work::new(ctx, deployment, Map::new());
        for vm in vms::list_of_instance(db, instance.id).await? {
            vm::delete(&work, &instance, &vm).await?;
        }
        guard.release().await?;
        Ok(true)
    };
    audit.around("delete", object, json!({}), deletion).await
}

async fn unknown(ctx: &Context, cid: &str) -> Result<bool, Error> {
    let call = cpi::DeleteVm {
        vm_cid: cid.into(),
        stemcell_api_version: Some(UNKNOWN_VM_API_VERSION),
    };
    match ctx
        .services
        .cpis
        .for_task(ctx)
        .get("")?
        .delete_vm(call)
        .await
    {
        Ok(()) => Ok(true),
        Err(error) if error.is_vm_not_found() => Ok(false),
        Err(error) => Err(cloud::failed(error)),
    }
}
