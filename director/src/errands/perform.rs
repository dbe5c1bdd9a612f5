//! Running an errand on the chosen instances, all at once.

use agent_protocol::{ErrandResult, Target as Agent};
use futures_util::future::join_all;
use journal::StepKind;
use planner::{DeploymentPlan, DiskRef, InstancePlan};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::choose::{Chosen, Target};
use crate::agents;
use crate::deploy::args::RunErrand;
use crate::deploy::work::Work;
use crate::deploy::{disk, execute, vm};
use crate::error::Error;
use crate::logs;
use crate::store::instances::{self, Instance};
use crate::store::vms::Vm;
use crate::store::{addresses, disks, vms};

/// How the runs ended, by exit code: 0, up to 128, above.
#[derive(Debug, Default)]
pub struct Tally {
    pub succeeded: usize,
    pub errored: usize,
    pub canceled: usize,
}

/// Runs it everywhere; the first failure of a run itself (not of the errand) is returned after all have ended.
pub async fn all(
    work: &Work,
    args: &RunErrand,
    chosen: &Chosen,
    plan: Option<&DeploymentPlan>,
) -> Result<Tally, Error> {
    let created = match plan {
        Some(plan) => execute::create_missing_vms(work, plan).await,
        None => Ok(()),
    };
    let mut tally = Tally::default();
    let mut failure = created.err();
    if failure.is_none() {
        let runs = chosen
            .instances
            .iter()
            .map(|target| one(work, args, chosen, plan, target));
        for result in join_all(runs).await {
            match result {
                Ok(0) => tally.succeeded += 1,
                Ok(1..=128) => tally.errored += 1,
                Ok(_) => tally.canceled += 1,
                Err(error) if failure.is_none() || error.is_interrupted() => failure = Some(error),
                Err(_) => {}
            }
        }
    }
    if matches!(&failure, Some(error) if error.is_interrupted()) {
        return Err(failure.unwrap_or_else(|| Error::interrupted("interrupted")));
    }
    if !args.keep_alive {
        for target in chosen.instances.iter().filter(|target| target.errand_group) {
            let gone = delete_vm(work, target).await;
            failure = failure.or(gone.err());
        }
    }
    match failure {
        Some(error) => Err(error),
        None => work.ctx.checkpoint().await.map(|()| tally),
    }
}

/// One instance: brought up if it is an errand group's, then run. Returns the exit code.
async fn one(
    work: &Work,
    args: &RunErrand,
    chosen: &Chosen,
    plan: Option<&DeploymentPlan>,
    target: &Target,
) -> Result<i64, Error> {
    let planned = plan.and_then(|plan| find(plan, target));
    if let Some((plan, instance)) = planned {
        execute::update_alone(work, plan, instance).await?;
    }
    let Some(row) = instances::find_by_uuid(work.db(), &target.uuid).await? else {
        return Err(Error::unclassified(format!(
            "'{}/{}' is gone",
            target.group, target.uuid
        )));
    };
    let (vm, to) = work.agent(&row).await?;
    let stage = work.ctx.events.stage("Running errand", &[], 1);
    let task = stage.task(row.name());
    let ran = run(work, args, chosen, target, &to).await;
    let cancelled = work.ctx.checkpoint().await;
    match (&ran, &cancelled) {
        (Err(error), _) | (Ok(_), Err(error)) if error.is_interrupted() => {
            return Err(interrupted());
        }
        (Err(error), _) | (Ok(_), Err(error)) => task.fail(&error.message),
        (Ok(_), Ok(())) => task.finish(),
    }
    let result = ran?;
    let logs = fetch_logs(work, &row, &vm).await;
    if matches!(&logs, Err(error) if error.is_interrupted()) {
        return Err(interrupted());
    }
    let line = json!({
        "instance": {"group": row.group_name, "id": row.uuid},
        "errand_name": args.errand,
        "exit_code": result.exit_code,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "logs": {
            "blobstore_id": logs.as_ref().ok().map(|logs| &logs.blob_id),
            "sha1": logs.as_ref().ok().map(|logs| &logs.sha1),
        },
    });
    let key = format!("{}/result", row.uuid);
    work.ctx
        .step(&key, StepKind::RecordInstance, |_| async {
            work.ctx.result_output(format!("{line}\n"));
            Ok(())
        })
        .await?;
    logs?;
    Ok(result.exit_code)
}

fn interrupted() -> Error {
    Error::interrupted("interrupted while an errand ran")
}

fn find<'a>(
    plan: &'a DeploymentPlan,
    target: &Target,
) -> Option<(&'a DeploymentPlan, &'a InstancePlan)> {
    let mut all = plan.instances.iter();
    all.find(|instance| target.errand_group && instance.spec.id.as_str() == target.uuid)
        .map(|instance| (plan, instance))
}

async fn run(
    work: &Work,
    args: &RunErrand,
    chosen: &Chosen,
    target: &Target,
    to: &Agent,
) -> Result<ErrandResult, Error> {
    let job = match chosen.by_job {
        false => None,
        true if work
            .agents()
            .info(to)
            .await
            .map_err(agents::failed)?
            .api_version
            >= 1 =>
        {
            Some(args.errand.as_str())
        }
        true if target.first_job => None,
        true => {
            return Err(Error::unclassified(format!(
                "Multiple jobs are configured on an older stemcell, and \"{}\" is not the first job",
                args.errand
            )));
        }
    };
    let key = format!("{}/errand", target.uuid);
    let started = work.ctx.step(&key, StepKind::RunErrand, |_| async {
        let started = work.agents().start_errand(to, job).await;
        started.map_err(agents::failed)
    });
    let task: String = started.await?;
    let key = format!("{}/errand_result", target.uuid);
    work.ctx
        .step(&key, StepKind::AwaitErrand, |_| async {
            let stop = CancellationToken::new();
            let asked = work.agents().errand_result(to, &task, Some(&stop));
            tokio::pin!(asked);
            // A cancelled errand is told so and still gives its result.
            let result = tokio::select! {
                result = &mut asked => result,
                () = work.ctx.cancelled() => { stop.cancel(); asked.await }
            };
            result.map_err(agents::failed)
        })
        .await
}

async fn fetch_logs(work: &Work, row: &Instance, vm: &Vm) -> Result<logs::Fetched, Error> {
    let stage = work
        .ctx
        .events
        .stage(&format!("Fetching logs for {}", row.name()), &[], 1);
    let key = format!("{}/fetch_logs", row.uuid);
    let fetching = work.ctx.step(&key, StepKind::FetchLogs, |_| {
        logs::of_instance(work, "job", &[], row, vm)
    });
    stage.run("Finding and packing log files", fetching).await
}

/// The VM goes, the disk and the row stay. Not stopped by a cancel.
async fn delete_vm(work: &Work, target: &Target) -> Result<(), Error> {
    let Some(row) = instances::find_by_uuid(work.db(), &target.uuid).await? else {
        return Ok(());
    };
    if let Some((old, to)) = work.find_agent(&row).await? {
        let held = disks::list_of_instance(work.db(), row.id).await?;
        for cid in held
            .into_iter()
            .filter(|disk| disk.active)
            .filter_map(|disk| disk.cid)
        {
            let disk = DiskRef::Cid(cid.into());
            disk::unmount(work, &to, &disk).await?;
            disk::detach(work, &old, &to, &disk).await?;
        }
    }
    for old in vms::list_of_instance(work.db(), row.id).await? {
        vm::delete(work, &row, &old).await?;
    }
    addresses::release_others(work.db(), row.id, &[]).await?;
    Ok(())
}
