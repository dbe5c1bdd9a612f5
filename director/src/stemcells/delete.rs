//! The task `delete_stemcell` (director-api.md §9).

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use crate::cloud;
use crate::error::{Error, code};
use crate::store::stemcells::{self as rows, Stemcell};
use crate::tasks::{Context, Handler};

#[derive(Deserialize)]
struct DeleteArgs {
    name: String,
    version: String,
    /// Pass over a CPI that fails.
    #[serde(default)]
    force: bool,
}

/// Handler of `delete_stemcell`.
pub struct Delete;

#[async_trait]
impl Handler for Delete {
    async fn run(&self, context: &Context) -> Result<String, Error> {
        let args: DeleteArgs = context.args()?;
        let name = format!("lock:stemcells:{}:{}", args.name, args.version);
        let lock = context.lock(&name, Duration::from_secs(10)).await?;
        let ended = delete(context, &args).await;
        let released = lock.release().await;
        ended?;
        released?;
        Ok(format!("/stemcells/{}/{}", args.name, args.version))
    }
}

async fn delete(context: &Context, args: &DeleteArgs) -> Result<(), Error> {
    let db = context.services.store.pool();
    let slug = format!("{}/{}", args.name, args.version);
    let stemcells = rows::find_all(db, &args.name, &args.version).await?;
    if stemcells.is_empty() {
        return Err(Error::new(
            code::STEMCELL_NOT_FOUND,
            format!("Stemcell '{slug}' doesn't exist"),
        ));
    }
    let mut users: Vec<String> = Vec::new();
    for stemcell in &stemcells {
        for user in rows::deployments_of(db, stemcell.id).await? {
            if !users.contains(&user) {
                users.push(user);
            }
        }
    }
    if !users.is_empty() {
        let text = format!("Stemcell '{slug}' is still in use by: {}", users.join(", "));
        return Err(Error::new(code::STEMCELL_IN_USE, text));
    }
    for stemcell in &stemcells {
        delete_one(context, stemcell, args.force).await?;
    }
    Ok(())
}

/// First in the cloud, then the row; deleting a stemcell that is gone succeeds, so this may be repeated.
pub async fn delete_one(context: &Context, stemcell: &Stemcell, force: bool) -> Result<(), Error> {
    let db = context.services.store.pool();
    if let Some(cid) = &stemcell.cid {
        let cpi = context.services.cpis.for_task(context).get(&stemcell.cpi)?;
        match cpi.delete_stemcell(&cid.as_str().into()).await {
            Ok(()) => {}
            Err(error) if force => {
                context.debug(format!(
                    "Deleting stemcell {cid} failed, going on because of force: {error}"
                ));
            }
            Err(error) => return Err(cloud::failed(error)),
        }
    }
    rows::forget_uploads(db, &stemcell.name, &stemcell.version, &stemcell.cpi).await?;
    Ok(rows::delete(db, stemcell.id).await?)
}
