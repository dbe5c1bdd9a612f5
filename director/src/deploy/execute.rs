//! Carrying out a stored plan, stage by stage, as the original's event log shows it
//! (manifests-and-planning §5.2, director-api §4.3).
//!
//! Runs for a fresh task and for one taken over in the same way: what the journal says is done is read back,
//! the rest is done. A stage without work shows nothing.

use std::collections::BTreeMap;

use planner::{Action, Batch, DeploymentPlan, GroupPlan, InstancePlan, Phase, Wave};
use serde_json::{Value as Json, json};

use super::bounded::at_most;
use super::jobs;
use super::step::InstanceRun;
use super::work::Work;
use crate::compile;
use crate::error::Error;
use crate::events::{Auditable, Stage};
use crate::store::instances::{self, Instance};

/// Everything from compiling to post-deploy. `plan` is the stored one.
pub async fn run(work: &Work, mut plan: DeploymentPlan) -> Result<(), Error> {
    compile::run(work, &mut plan).await?;
    let execution = Execution { work, plan: &plan };
    execution.delete_removed_groups().await?;
    execution.create_missing_vms().await?;
    for batch in &plan.batches {
        work.ctx.checkpoint().await?;
        execution.batch(batch).await?;
    }
    execution.refresh_untouched().await
}

/// The VMs that a plan misses, for errands.
pub async fn create_missing_vms(work: &Work, plan: &DeploymentPlan) -> Result<(), Error> {
    Execution { work, plan }.create_missing_vms().await
}

/// The update of one instance by itself, shown like that of a group of one.
pub async fn update_alone(
    work: &Work,
    plan: &DeploymentPlan,
    instance: &InstancePlan,
) -> Result<(), Error> {
    if instance.update.is_empty() {
        return Ok(());
    }
    let execution = Execution { work, plan };
    let stage = execution.stage("Updating instance", &[instance.spec.name.as_str()], 1);
    execution.update(&stage, instance).await
}

/// post-deploy scripts, after the deploy was recorded.
pub async fn post_deploy(work: &Work, plan: &DeploymentPlan) -> Result<(), Error> {
    if !plan.any_change {
        return Ok(());
    }
    at_most(
        plan.max_threads as usize,
        plan.post_deploy.iter(),
        |at| async move {
            let instance = &plan.instances[*at];
            let Some(row) = instances::find_by_uuid(work.db(), instance.spec.id.as_str()).await?
            else {
                return Ok(());
            };
            let key = format!("{}/post_deploy", row.uuid);
            work.ctx
                .step(&key, journal::StepKind::PostDeploy, |_| {
                    jobs::told_script(work, &row, "post-deploy")
                })
                .await
        },
    )
    .await
}

struct Execution<'a> {
    work: &'a Work,
    plan: &'a DeploymentPlan,
}

impl Execution<'_> {
    async fn delete_removed_groups(&self) -> Result<(), Error> {
        let stage = self.stage(
            "Deleting unneeded instances",
            &[],
            self.plan.delete_first.len(),
        );
        self.delete(&stage, &self.plan.delete_first, self.plan.max_threads)
            .await
    }

    async fn create_missing_vms(&self) -> Result<(), Error> {
        let missing = &self.plan.create;
        if missing.is_empty() {
            return Ok(());
        }
        let stage = self.stage("Creating missing vms", &[], missing.len());
        at_most(self.plan.max_threads as usize, missing.iter(), |at| {
            let (stage, plan) = (stage.clone(), &self.plan.instances[*at]);
            async move {
                self.work.ctx.checkpoint().await?;
                let Some(run) = InstanceRun::load(self.work, plan).await? else {
                    return Ok(());
                };
                stage.run(plan.title(), run.run(Phase::Create, None)).await
            }
        })
        .await?;
        self.work.ctx.checkpoint().await
    }

    /// Groups of a batch run at once; a serial group is a batch of its own. The first failure ends the deploy
    /// once the other groups of the batch have come to their next pause.
    async fn batch(&self, batch: &Batch) -> Result<(), Error> {
        at_most(batch.groups.len(), batch.groups.iter(), |group| {
            self.group(group)
        })
        .await
    }

    async fn group(&self, group: &GroupPlan) -> Result<(), Error> {
        let tags = [group.group.as_str()];
        let stage = self.stage("Deleting unneeded instances", &tags, group.delete.len());
        self.delete(&stage, &group.delete, group.delete_in_flight)
            .await?;
        let total = group
            .waves
            .iter()
            .map(|wave| wave.canaries.len() + wave.rest.len())
            .sum();
        let stage = self.stage("Updating instance", &tags, total);
        for wave in &group.waves {
            self.wave(&stage, wave).await?;
        }
        Ok(())
    }

    /// Canaries first; only when all of them run do the others follow.
    async fn wave(&self, stage: &Stage, wave: &Wave) -> Result<(), Error> {
        for part in [&wave.canaries, &wave.rest] {
            at_most(wave.max_in_flight as usize, part.iter(), |at| {
                self.update(stage, &self.plan.instances[*at])
            })
            .await?;
        }
        Ok(())
    }

    async fn update(&self, stage: &Stage, plan: &InstancePlan) -> Result<(), Error> {
        self.work.ctx.checkpoint().await?;
        let Some(run) = InstanceRun::load(self.work, plan).await? else {
            return Ok(());
        };
        let changes: Vec<&str> = plan
            .changes
            .iter()
            .map(|change| change.kind.as_str())
            .collect();
        let reasons: Vec<&str> = plan
            .changes
            .iter()
            .map(|change| change.reason.as_str())
            .collect();
        self.work.ctx.debug(format!(
            "Need to update instance '{}', changes: \"{}\" ({})",
            plan.title(),
            changes.join(", "),
            reasons.join("; ")
        ));
        let title = if plan.canary {
            format!("{} (canary)", plan.title())
        } else {
            plan.title()
        };
        let context = match plan.action {
            Action::Start | Action::Stop | Action::Restart => json!({}),
            Action::Create => json!({"az": plan.spec.az}),
            _ => json!({"az": plan.spec.az, "changes": changes}),
        };
        let task = stage.task(title);
        let result = self
            .audited(
                plan,
                action_name(plan.action),
                context,
                run.run(Phase::Update, Some(&task)),
            )
            .await;
        match result {
            Ok(()) => {
                task.finish();
                Ok(())
            }
            Err(error) if error.is_interrupted() => Err(error),
            Err(error) => {
                task.fail(&error.message);
                Err(error)
            }
        }
    }

    async fn delete(&self, stage: &Stage, which: &[usize], at_once: u32) -> Result<(), Error> {
        at_most(at_once as usize, which.iter(), |at| {
            delete_instance(self.work, stage, &self.plan.instances[*at])
        })
        .await
    }

    /// Instances that nothing is done to still get their stored spec refreshed (names of VM types, properties).
    async fn refresh_untouched(&self) -> Result<(), Error> {
        let (db, deployment) = (self.work.db(), self.work.deployment.id);
        let rows = instances::list(db, deployment, false).await?;
        let rows: BTreeMap<&str, &Instance> =
            rows.iter().map(|row| (row.uuid.as_str(), row)).collect();
        let untouched = self
            .plan
            .instances
            .iter()
            .filter(|plan| plan.action == Action::None && !plan.ignore);
        for plan in untouched.filter(|plan| !plan.is_errand()) {
            let Some(row) = rows.get(plan.spec.id.as_str()) else {
                continue;
            };
            let spec = serde_json::to_value(&plan.spec).unwrap_or(Json::Null);
            if row.spec.as_ref().is_some_and(|known| *known != spec) {
                instances::set_spec(db, row.id, &spec).await?;
            }
        }
        Ok(())
    }

    async fn audited(
        &self,
        plan: &InstancePlan,
        action: &str,
        context: Json,
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        audited(self.work, plan, action, context, work).await
    }

    fn stage(&self, name: &str, tags: &[&str], total: usize) -> Stage {
        self.work
            .ctx
            .events
            .stage(name, tags, u64::try_from(total).unwrap_or_default())
    }
}

/// Deletes one instance with its VM; its disks become orphans.
pub async fn delete_instance(work: &Work, stage: &Stage, plan: &InstancePlan) -> Result<(), Error> {
    work.ctx.checkpoint().await?;
    let Some(run) = InstanceRun::load(work, plan).await? else {
        return Ok(());
    };
    let deletion = audited(
        work,
        plan,
        "delete",
        json!({}),
        run.run(Phase::Update, None),
    );
    stage.run(plan.title(), deletion).await
}

async fn audited(
    work: &Work,
    plan: &InstancePlan,
    action: &str,
    context: Json,
    doing: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let object = Auditable {
        object_type: "instance",
        object_name: Some(plan.label()),
        instance: Some(plan.label()),
    };
    work.ctx
        .audit()
        .around(action, object, context, doing)
        .await
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Recreate => "recreate",
        Action::Start => "start",
        Action::Stop | Action::Detach => "stop",
        Action::Restart => "restart",
        Action::Delete => "delete",
        Action::None | Action::Update | Action::Refresh => "update",
    }
}
