//! The HTTP API: routes, who may call them, and the shapes of answers (`docs/spec/director-api.md`).
//!
//! Handlers here check the caller, read the request, ask a room or the store, and answer; long work is queued
//! as a task and answered with a redirect. No handler holds state of its own, so any director of an
//! environment can answer any request.

mod answer;
mod blobs;
mod certificates;
mod cleanup;
mod configs;
mod deployments;
mod disks;
mod events;
mod every;
mod info;
mod instances;
mod metrics;
mod misc;
mod request;
mod serve;
mod snapshots;
mod tasks;
mod typed_configs;
mod uploads;

pub use metrics::router as metrics_router;
pub use serve::{Server, serve};

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, delete, get, post, put};

use crate::auth::Authenticator;
use crate::metrics::Requests;
use crate::services::Services;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    pub services: Arc<Services>,
    pub auth: Authenticator,
    /// Counts what was asked here.
    pub requests: Arc<Requests>,
}

impl Api {
    /// Fails for a UAA whose key or CA can't be used.
    pub fn new(services: Arc<Services>) -> anyhow::Result<Api> {
        let auth = Authenticator::new(&services.settings)?;
        Ok(Api {
            services,
            auth,
            requests: Arc::default(),
        })
    }

    pub(crate) fn uuid(&self) -> &str {
        &self.services.director_uuid
    }
}

/// Largest body of a request that is read into memory (manifests, configs). Uploads are streamed to files.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// All routes. A known path with another method is "no such endpoint", as in the original.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/info", get(info::info))
        .merge(task_routes())
        .merge(config_routes())
        .merge(deployment_routes())
        .merge(upload_routes())
        .merge(other_routes())
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_path)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(api.clone(), every::layer))
        .with_state(api)
}

fn task_routes() -> Router<Api> {
    Router::new()
        .route("/tasks", get(tasks::list))
        .route("/tasks/cancel", post(tasks::cancel_many))
        .route("/tasks/{id}", get(tasks::show))
        .route("/tasks/{id}/output", get(tasks::output))
        .route("/task/{id}", delete(tasks::cancel))
}

fn config_routes() -> Router<Api> {
    Router::new()
        .route(
            "/configs",
            get(configs::list)
                .post(configs::put)
                .delete(configs::delete_all),
        )
        .route("/configs/diff", post(configs::diff))
        .route(
            "/configs/{id}",
            get(configs::show).delete(configs::delete_one),
        )
        .route(
            "/cloud_configs",
            get(typed_configs::list_cloud).post(typed_configs::put_cloud),
        )
        .route("/cloud_configs/diff", post(typed_configs::diff_cloud))
        .route(
            "/runtime_configs",
            get(typed_configs::list_runtime).post(typed_configs::put_runtime),
        )
        .route("/runtime_configs/diff", post(typed_configs::diff_runtime))
        .route(
            "/cpi_configs",
            get(typed_configs::list_cpi).post(typed_configs::put_cpi),
        )
        .route("/cpi_configs/diff", post(typed_configs::diff_cpi))
        .route("/deployment_configs", get(configs::of_deployments))
}

fn deployment_routes() -> Router<Api> {
    Router::new()
        .route(
            "/deployments",
            get(deployments::list).post(deployments::deploy),
        )
        .route(
            "/deployments/{name}",
            get(deployments::show).delete(deployments::delete),
        )
        .route("/deployments/{name}/diff", post(deployments::diff))
        .route(
            "/deployments/{name}/certificate_expiry",
            get(misc::empty_deployment_list),
        )
        .route("/deployments/{name}/variables", get(misc::variables))
        .route("/deployments/{name}/vms", get(instances::vms))
        .route("/deployments/{name}/instances", get(instances::instances))
        .route(
            "/deployments/{name}/jobs/{group}",
            put(instances::change_group),
        )
        .route(
            "/deployments/{name}/jobs/{group}/{id}",
            put(instances::change_instance).get(instances::show),
        )
        .route(
            "/deployments/{name}/jobs/{group}/{id}/resurrection",
            any(instances::resurrection_removed),
        )
        .route(
            "/deployments/{name}/jobs/{group}/{id}/logs",
            get(instances::logs),
        )
        .route(
            "/deployments/{name}/instance_groups/{group}/{id}/actions/{action}",
            post(instances::action),
        )
        .route(
            "/deployments/{name}/instance_groups/{group}/{id}/ignore",
            put(instances::ignore),
        )
        .route("/deployments/{name}/ssh", post(instances::ssh))
        .route("/deployments/{name}/errands", get(instances::errands))
        .route(
            "/deployments/{name}/errands/{errand}/runs",
            post(instances::run_errand),
        )
        .route("/deployments/{name}/problems", get(misc::problems))
        .route(
            "/deployments/{name}/snapshots",
            get(snapshots::list)
                .post(snapshots::take)
                .delete(snapshots::delete_all),
        )
        .route(
            "/deployments/{name}/snapshots/{cid}",
            delete(snapshots::delete_one),
        )
        .route(
            "/deployments/{name}/jobs/{group}/{id}/snapshots",
            get(snapshots::list_of_instance).post(snapshots::take_of_instance),
        )
        .route("/deployed_variables/{*name}", get(misc::deployed_variables))
}

fn upload_routes() -> Router<Api> {
    Router::new()
        .route(
            "/releases",
            get(uploads::list_releases).post(uploads::upload_release),
        )
        .route(
            "/releases/{name}",
            get(uploads::show_release).delete(uploads::delete_release),
        )
        .route("/releases/export", post(uploads::export_release))
        .route("/jobs", get(uploads::show_job))
        .route("/packages/blobs/{id}", get(blobs::package))
        .route("/packages/matches", post(uploads::package_matches))
        .route(
            "/packages/matches_compiled",
            post(uploads::compiled_package_matches),
        )
        .route(
            "/stemcells",
            get(uploads::list_stemcells).post(uploads::upload_stemcell),
        )
        .route(
            "/stemcells/{name}/{version}",
            delete(uploads::delete_stemcell),
        )
        .route("/stemcell_uploads", post(uploads::stemcell_needed))
        .route("/resources/{id}", get(blobs::resource))
        .route(
            "/signed/{*id}",
            get(blobs::signed_get).put(blobs::signed_put),
        )
}

fn other_routes() -> Router<Api> {
    Router::new()
        .route("/locks", get(misc::locks))
        .route("/events", get(events::list).post(events::create))
        .route("/events/{id}", get(events::show))
        .route(
            "/resurrection",
            get(misc::resurrection).put(misc::set_resurrection),
        )
        .route("/disks", get(disks::orphan_disks))
        .route("/disks/{cid}", delete(disks::delete_disk))
        .route("/disks/{cid}/attachments", put(disks::attach))
        .route("/orphan_disks", get(disks::orphan_disks))
        .route("/orphan_disks/{cid}", delete(disks::delete_orphan_disk))
        .route("/orphaned_vms", get(disks::orphaned_vms))
        .route("/vms/{cid}", delete(disks::delete_vm))
        .route("/networks", get(disks::networks))
        .route("/networks/{name}", delete(disks::delete_network))
        .route("/cleanup", post(cleanup::run))
        .route("/cleanup/dryrun", get(cleanup::dry_run))
        .route("/director/certificate_expiry", get(certificates::expiry))
}
