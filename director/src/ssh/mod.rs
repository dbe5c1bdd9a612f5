//! SSH access (director-api §13.2): a user is made on every chosen instance by its agent, and removed again.
//! The director never sees the private key.

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use crate::agents;
use crate::deploy::args;
use crate::deploy::find_deployment;
use crate::error::{Error, code};
use crate::instances::select;
use crate::store::audit::NewAudit;
use crate::store::instances::Instance;
use crate::store::vms::{self, Vm};
use crate::tasks::{Context, Handler};

/// Task type `ssh`.
pub struct Ssh;

#[async_trait]
impl Handler for Ssh {
    async fn run(&self, ctx: &Context) -> Result<String, Error> {
        let args: args::Ssh = ctx.args()?;
        let deployment = find_deployment(ctx).await?;
        let target = &args.target;
        let ids = if target.ids.is_empty() {
            &target.indexes
        } else {
            &target.ids
        };
        let store = &ctx.services.store;
        let rows = select::several(store, deployment.id, target.job.as_deref(), ids).await?;
        if rows.is_empty() {
            return Err(Error::new(
                code::INSTANCE_NOT_FOUND,
                format!(
                    "No instances matched {}",
                    filter(target.job.as_deref(), deployment.id)
                ),
            ));
        }
        let mut chosen = Vec::new();
        for row in rows {
            if let Some(vm) = vms::find_active(store.pool(), row.id).await? {
                chosen.push((row, vm));
            }
        }
        if chosen.is_empty() {
            return Err(Error::unclassified(format!(
                "No instance with a VM in deployment '{}' matched filter {}",
                deployment.name,
                filter(target.job.as_deref(), deployment.id)
            )));
        }
        let results = join_all(chosen.iter().map(|(row, vm)| one(ctx, &args, row, vm))).await;
        let results: Vec<Json> = results.into_iter().collect::<Result<_, _>>()?;
        ctx.result_output(format!("{}\n", Json::Array(results)));
        Ok(String::new())
    }
}

/// The filter as the original prints it.
fn filter(job: Option<&str>, deployment_id: i64) -> String {
    match job {
        Some(job) => format!("{{job: \"{job}\", deployment_id: {deployment_id}}}"),
        None => format!("{{deployment_id: {deployment_id}}}"),
    }
}

async fn one(ctx: &Context, args: &args::Ssh, row: &Instance, vm: &Vm) -> Result<Json, Error> {
    let to = agents::target(row, &vm.agent_id);
    let param = |key: &str| {
        args.params
            .get(key)
            .and_then(Json::as_str)
            .unwrap_or_default()
    };
    let who = if args.command == "cleanup" {
        param("user_regex")
    } else {
        param("user")
    };
    let event = NewAudit {
        action: format!("{} ssh", args.command),
        object_type: "instance".into(),
        object_name: Some(row.slug()),
        instance: Some(row.slug()),
        context: Some(json!({"user": who})),
        ..NewAudit::default()
    };
    let agents = &ctx.services.agents;
    let answer = match args.command.as_str() {
        "setup" => agents.ssh_setup(&to, who, param("public_key")).await,
        "cleanup" => agents.ssh_cleanup(&to, who).await,
        other => {
            return Err(Error::bad_request(format!(
                "Unknown ssh command '{other}'; use setup or cleanup."
            )));
        }
    };
    let answer = answer.map_err(agents::failed);
    let error = answer.as_ref().err().map(|error| error.message.clone());
    ctx.audit()
        .record_quietly(NewAudit { error, ..event })
        .await;
    let mut result = serde_json::to_value(answer?).unwrap_or_else(|_| json!({}));
    result["id"] = json!(row.uuid);
    result["index"] = json!(row.index);
    result["job"] = json!(row.group_name);
    Ok(result)
}
