//! Rows for what was placed: instances and their addresses, in one transaction, before anything is rendered.

use std::collections::BTreeMap;

use planner::Placement;

use crate::deploy::work::Work;
use crate::error::Error;
use crate::store::addresses;
use crate::store::instances::{self, Instance, NewInstance};

/// Makes the rows. False: another deploy was faster with an address; nothing was written, place again.
pub async fn rows(work: &Work, placement: &Placement) -> Result<bool, Error> {
    let known = instances::list(work.db(), work.deployment.id, false).await?;
    let known: BTreeMap<&str, &Instance> =
        known.iter().map(|row| (row.uuid.as_str(), row)).collect();
    let mut tx = work.ctx.services.store.begin().await?;
    let mut ids = BTreeMap::new();
    for (group, placed) in placement.instances() {
        let new = NewInstance {
            deployment_id: work.deployment.id,
            group_name: group.name.as_str(),
            index: i32::try_from(placed.index).unwrap_or(i32::MAX),
            uuid: placed.uuid.as_str(),
            az: placed.az.as_ref().map(|az| az.as_str()),
            state: placed.state.as_str(),
            lifecycle: match group.lifecycle {
                manifest::documents::Lifecycle::Errand => "errand",
                manifest::documents::Lifecycle::Service => "service",
            },
            bootstrap: placed.bootstrap,
            compilation: false,
        };
        let id = match known.get(placed.uuid.as_str()) {
            Some(row) if is_so(row, &new) => row.id,
            _ => instances::ensure(&mut *tx, &new).await?,
        };
        ids.insert(&placed.uuid, id);
    }
    for (uuid, network, address, is_static) in placement.new_addresses() {
        let Some(id) = ids.get(uuid) else { continue };
        let (address, network) = (address.to_string(), network.as_str());
        if !addresses::reserve(&mut *tx, &address, network, is_static, *id, work.task_id()).await? {
            tx.rollback().await?;
            return Ok(false);
        }
    }
    tx.commit().await?;
    Ok(true)
}

/// Whether the row says already what the placement says: of a thousand instances few change.
fn is_so(row: &Instance, new: &NewInstance<'_>) -> bool {
    row.group_name == new.group_name
        && row.index == new.index
        && row.az.as_deref() == new.az
        && row.lifecycle == new.lifecycle
        && row.bootstrap == new.bootstrap
}
