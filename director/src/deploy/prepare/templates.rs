//! Keeping the archives of rendered templates that a plan hands to agents.

use planner::{ArchiveRef, DeploymentPlan, Step};

use crate::deploy::work::Work;
use crate::error::Error;
use crate::render::Rendered;
use crate::store::{instances, rendered_archives};

/// Stores the archives of instances whose templates go to an agent, before the plan is stored: a worker that
/// takes over has the plan and the blobs, not the rendered texts.
pub async fn store(
    work: &Work,
    plan: &mut DeploymentPlan,
    rendered: &Rendered,
) -> Result<(), Error> {
    for instance in &mut plan.instances {
        let applies = instance
            .update
            .iter()
            .any(|step| matches!(step, Step::Apply | Step::Prepare { .. }));
        let Some(content) = rendered
            .configuration_hash(&instance.spec.id)
            .filter(|_| applies)
        else {
            continue;
        };
        let Some(row) = instances::find_by_uuid(work.db(), instance.spec.id.as_str()).await? else {
            continue;
        };
        let (blob_id, sha1) = match rendered_archives::find(work.db(), row.id, content).await? {
            Some(known) => known,
            None => {
                let Some(bytes) = rendered.archive(&instance.spec.id).await? else {
                    continue;
                };
                upload(work, row.id, content, bytes).await?
            }
        };
        instance.spec.rendered_templates_archive = Some(ArchiveRef {
            blobstore_id: blob_id.into(),
            sha1,
        });
    }
    Ok(())
}

async fn upload(
    work: &Work,
    instance_id: i64,
    content: &str,
    bytes: Vec<u8>,
) -> Result<(String, String), Error> {
    let sha1 = domain::Digest::sha1(&bytes).hex().to_owned();
    let id = blobstore::new_id();
    work.ctx
        .services
        .blobs
        .put_bytes(&id, bytes.into())
        .await
        .map_err(|error| {
            Error::unclassified("Rendered templates can't be stored in the blobstore.")
                .hint("Check the blobstore, then deploy again.")
                .caused_by(error)
        })?;
    rendered_archives::insert(work.db(), instance_id, content, id.as_str(), &sha1).await?;
    Ok((id.into_string(), sha1))
}
