//! Fetching logs (director-api §13.3): the agents pack and upload them; several archives are packed together
//! here. The blob's id is the task's result.

use agent_protocol::FetchLogsWithSignedUrl;
use async_trait::async_trait;
use domain::BlobId;
use serde::{Deserialize, Serialize};

use crate::agents;
use crate::deploy::args;
use crate::deploy::blobs;
use crate::deploy::find_deployment;
use crate::deploy::work::Work;
use crate::error::Error;
use crate::instances::select;
use crate::store::instances::Instance;
use crate::store::vms::{self, Vm};
use crate::tasks::{Context, Handler};

/// Task type `fetch_logs`.
pub struct FetchLogs;

#[async_trait]
impl Handler for FetchLogs {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: args::FetchLogs = ctx.args()?;
        let deployment = find_deployment(ctx).await?;
        let store = &ctx.services.store;
        let group = Some(args.group.as_str()).filter(|group| *group != "*" && !group.is_empty());
        let ids: Vec<String> = Some(args.instance.clone())
            .filter(|id| id != "*" && !id.is_empty())
            .into_iter()
            .collect();
        let mut chosen = Vec::new();
        for row in select::several(store, deployment.id, group, &ids).await? {
            if let Some(vm) = vms::find_active(store.pool(), row.id).await? {
                chosen.push((row, vm));
            }
        }
        let work = Work::new(ctx, deployment, serde_json::Map::new());
        match chosen.as_slice() {
            [] => Err(Error::bad_request(format!(
                "No appropriate instance with a VM was found in deployment '{}'",
                work.deployment.name
            ))),
            [(row, vm)] => fetch(&work, &args, row, vm).await,
            several => {
                let mut archives = Vec::new();
                for (row, vm) in several {
                    archives.push((file_name(row), fetch(&work, &args, row, vm).await?));
                }
                let stage = ctx.events.stage("Fetching group of logs", &[], 1);
                stage
                    .run("Packing log files together", pack(ctx, archives))
                    .await
            }
        }
    }
}

fn file_name(row: &Instance) -> String {
    let at = chrono::Utc::now().format("%Y-%m-%d-%H-%M-%S");
    format!("{}.{}.{at}.tgz", row.group_name, row.uuid)
}

/// One instance's logs; returns the blob's id.
async fn fetch(
    work: &Work,
    args: &args::FetchLogs,
    row: &Instance,
    vm: &Vm,
) -> Result<String, Error> {
    let stage = work
        .ctx
        .events
        .stage(&format!("Fetching logs for {}", row.name()), &[], 1);
    stage
        .run(
            "Finding and packing log files",
            of_instance(work, &args.kind, &args.filters, row, vm),
        )
        .await
        .map(|logs| logs.blob_id)
}

/// Logs in the blobstore.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fetched {
    pub blob_id: String,
    pub sha1: String,
}

/// Asks one agent for its logs. An empty `kind` means `job`, no filter means all.
pub async fn of_instance(
    work: &Work,
    kind: &str,
    filters: &[String],
    row: &Instance,
    vm: &Vm,
) -> Result<Fetched, Error> {
    let to = agents::target(row, &vm.agent_id);
    let kind = if kind.is_empty() { "job" } else { kind };
    let filters = Some(filters.to_vec()).filter(|filters| !filters.is_empty());
    let version = vm
        .stemcell_api_version
        .and_then(|version| u32::try_from(version).ok())
        .unwrap_or(1);
    if blobs::signs(work, version) {
        let (blob_id, signed_url) = blobs::signed_upload(work).await?;
        let request = FetchLogsWithSignedUrl {
            signed_url,
            log_type: kind.to_owned(),
            filters,
            ..FetchLogsWithSignedUrl::default()
        };
        let done = work
            .agents()
            .fetch_logs_with_signed_url(&to, &request)
            .await
            .map_err(agents::failed)?;
        return Ok(Fetched {
            blob_id,
            sha1: done.sha1,
        });
    }
    let done = work
        .agents()
        .fetch_logs(&to, kind, filters.as_deref())
        .await
        .map_err(agents::failed)?;
    match done.blobstore_id {
        Some(blob_id) => Ok(Fetched {
            blob_id,
            sha1: done.sha1,
        }),
        None => Err(Error::unclassified(format!(
            "The agent of '{}' stored its logs nowhere.",
            row.name()
        ))
        .hint("Check the blobstore settings of its VM.")),
    }
}

/// One archive with an archive per instance in it; the parts are deleted.
async fn pack(ctx: &Context, archives: Vec<(String, String)>) -> Result<String, Error> {
    let blobs = &ctx.services.blobs;
    let failed = |error: blobstore::Error| {
        Error::unclassified("The logs can't be packed together: the blobstore failed.")
            .hint("Fetch them again, or one instance at a time.")
            .caused_by(error)
    };
    let folder = tempfile::tempdir().map_err(packing)?;
    for (name, id) in &archives {
        blobs
            .get_to_file(&BlobId::new(id.clone()), &folder.path().join(name), None)
            .await
            .map_err(failed)?;
    }
    let target = folder.path().join("logs.tgz");
    let (names, from, to) = (archives.clone(), folder.path().to_owned(), target.clone());
    tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let file = fs_err::File::create(to)?;
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            file,
            flate2::Compression::fast(),
        ));
        for (name, _) in names {
            tar.append_path_with_name(from.join(&name), &name)?;
        }
        tar.into_inner()?.finish()?;
        Ok(())
    })
    .await
    .map_err(|error| Error::unclassified("Packing the logs was cut off.").caused_by(error))?
    .map_err(packing)?;
    let id = blobstore::new_id();
    blobs.put_file(&id, &target).await.map_err(failed)?;
    for (_, part) in archives {
        let _ = blobs.delete(&BlobId::new(part)).await;
    }
    Ok(id.into_string())
}

fn packing(error: std::io::Error) -> Error {
    Error::unclassified("The logs can't be packed together.")
        .hint("Is there room in the director's temporary folder?")
        .caused_by(error)
}
