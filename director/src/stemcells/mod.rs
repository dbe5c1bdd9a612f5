//! Stemcells: taking uploads in, listing, deleting (director-api.md §9, docs/spec/stemcell.md).
//!
//! The API asks [`list`] and [`is_needed`], and queues `update_stemcell` and `delete_stemcell`; the task engine runs
//! [`Upload`] and [`Delete`]. A stemcell is usable in a CPI once its row has a cid.

mod delete;
mod manifest;
mod upload;

pub use delete::{Delete, delete_one};
pub use manifest::StemcellManifest;
pub use upload::{Upload, UploadArgs};

use std::collections::BTreeMap;

use domain::version::Version;
use serde_json::{Value, json};

use crate::error::Error;
use crate::services::Services;
use crate::store::stemcells as rows;

/// `GET /stemcells`: by name and version.
pub async fn list(services: &Services) -> Result<Value, Error> {
    let db = services.store.pool();
    let mut uses: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    for (stemcell, deployment) in rows::all_uses(db).await? {
        uses.entry(stemcell)
            .or_default()
            .push(json!({"name": deployment}));
    }
    let mut stemcells = rows::list(db).await?;
    stemcells.sort_by(|a, b| {
        let version = |row: &rows::Stemcell| Version::parse(&row.version).ok();
        a.name
            .cmp(&b.name)
            .then_with(|| version(a).cmp(&version(b)))
    });
    let list: Vec<Value> = stemcells
        .into_iter()
        .map(|row| to_json(&row, uses.get(&row.id).cloned().unwrap_or_default()))
        .collect();
    Ok(Value::Array(list))
}

/// One stemcell as the API shows it, with the deployments that use it.
pub fn to_json(row: &rows::Stemcell, deployments: Vec<Value>) -> Value {
    json!({
        "name": row.name,
        "operating_system": row.operating_system,
        "version": row.version,
        "cid": row.cid,
        "cpi": row.cpi,
        "deployments": deployments,
        "api_version": row.api_version,
        "id": row.id,
    })
}

/// Those that no deployment uses.
pub async fn unused(services: &Services) -> Result<Vec<rows::Stemcell>, Error> {
    let db = services.store.pool();
    let used: Vec<i64> = rows::all_uses(db)
        .await?
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let mut unused = rows::list(db).await?;
    unused.retain(|row| !used.contains(&row.id));
    Ok(unused)
}

/// The names of the CPIs that stemcells go to; empty is the director's own.
const CPIS: [&str; 1] = [""];

/// Whether some CPI was not offered this stemcell yet.
pub async fn is_needed(services: &Services, name: &str, version: &str) -> Result<bool, Error> {
    let offered = rows::uploads(services.store.pool(), name, version).await?;
    Ok(CPIS
        .iter()
        .any(|cpi| !offered.iter().any(|known| known == cpi)))
}
