//! Which instances an errand runs on.

use std::collections::BTreeSet;

use domain::InstanceGroupName;
use manifest::documents::{InstanceGroup, Lifecycle};
use planner::{Action, DeploymentPlan};
use serde::{Deserialize, Serialize};

use crate::deploy::args::{ErrandInstance, RunErrand, UpdateDeployment};
use crate::deploy::prepare::documents;
use crate::deploy::work::Work;
use crate::error::{Error, code};
use crate::instances::select;
use crate::store::instances::{self, Instance};
use crate::store::vms;

/// The chosen instances.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chosen {
    /// The name is a job's, so the agent is told which job; else it is an errand group's.
    pub by_job: bool,
    pub instances: Vec<Target>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Target {
    pub uuid: String,
    pub group: String,
    pub index: i32,
    pub state: String,
    /// Of an errand group: it gets a VM for the run.
    pub errand_group: bool,
    /// The errand's job is the first one of its group, which agents without job names run.
    pub first_job: bool,
}

/// What was chosen, and what is to be said about it.
pub struct Choice {
    pub chosen: Chosen,
    pub warnings: Vec<String>,
    /// An errand group was among those that the name means, whether or not the filter left it.
    pub meant_errand_group: bool,
}

/// # Errors
/// 70009, 510000.
pub async fn run(work: &Work, args: &RunErrand) -> Result<Choice, Error> {
    let mut warnings = Vec::new();
    let nothing = UpdateDeployment::default();
    let loaded = documents::load(&work.ctx, &work.deployment, &nothing).await?;
    let groups = &loaded.documents.manifest.instance_groups;
    let with_job: Vec<&InstanceGroup> = groups
        .iter()
        .filter(|group| has_job(group, &args.errand))
        .collect();
    let named = groups
        .iter()
        .find(|group| group.name.as_str() == args.errand);
    let by_job = !with_job.is_empty();
    let meant = match (by_job, named) {
        (true, named) => {
            if named.is_some() {
                warnings.push(format!(
                    "Ambiguous request: the requested errand name '{0}' matches both a job name and an errand instance group name. Executing errand on all relevant instances with job '{0}'.",
                    args.errand
                ));
            }
            with_job
        }
        (false, None) => {
            return Err(Error::new(
                code::JOB_NOT_FOUND,
                format!("Errand '{}' doesn't exist", args.errand),
            )
            .hint("`bosh errands` lists what can be run."));
        }
        (false, Some(group)) if group.lifecycle == Lifecycle::Service => {
            return Err(Error::new(
                code::RUN_ERRAND_ERROR,
                format!(
                    "Instance group '{}' is not an errand. To mark an instance group as an errand set its lifecycle to 'errand' in the deployment manifest.",
                    args.errand
                ),
            ));
        }
        (false, Some(_)) if !args.instances.is_empty() => {
            return Err(Error::new(
                code::RUN_ERRAND_ERROR,
                "Filtering by instances is not supported when running errand by instance group name",
            ));
        }
        (false, Some(group)) => vec![group],
    };
    let meant_errand_group = meant
        .iter()
        .any(|group| group.lifecycle == Lifecycle::Errand);
    let rows = instances::list(work.db(), work.deployment.id, false).await?;
    let mut chosen = Vec::new();
    for group in meant {
        chosen.extend(of_group(work, args, group, &rows, &mut warnings).await?);
    }
    if chosen.iter().filter(|target| !target.errand_group).count() > 1 {
        warnings.push(
            "Executing errand on multiple instances in parallel. Use the `--instance` flag to run the errand on a single instance."
                .into(),
        );
    }
    Ok(Choice {
        chosen: Chosen {
            by_job,
            instances: chosen,
        },
        warnings,
        meant_errand_group,
    })
}

impl Choice {
    /// # Errors
    /// 70001, or 100 when the filter matches nothing; compat: told after the packages were looked at.
    pub fn checked(self, work: &Work, args: &RunErrand) -> Result<Chosen, Error> {
        if !self.chosen.instances.is_empty() {
            return Ok(self.chosen);
        }
        if args.instances.is_empty() {
            let text = format!(
                "Instance '{}/{}/0' doesn't exist",
                work.deployment.name, args.errand
            );
            return Err(Error::new(code::INSTANCE_NOT_FOUND, text));
        }
        let filters: Vec<String> = args.instances.iter().map(shown).collect();
        Err(Error::unclassified(format!(
            "No instances match selection criteria: [{}]",
            filters.join(", ")
        )))
    }
}

fn has_job(group: &InstanceGroup, errand: &str) -> bool {
    group.jobs.iter().any(|job| job.name.as_str() == errand)
}

/// A filter as the original prints it.
fn shown(filter: &ErrandInstance) -> String {
    match &filter.id {
        Some(id) => format!("{{\"group\" => \"{}\", \"id\" => \"{id}\"}}", filter.group),
        None => format!("{{\"group\" => \"{}\"}}", filter.group),
    }
}

async fn of_group(
    work: &Work,
    args: &RunErrand,
    group: &InstanceGroup,
    rows: &[Instance],
    warnings: &mut Vec<String>,
) -> Result<Vec<Target>, Error> {
    let name = group.name.as_str();
    let mut of_group: Vec<&Instance> = rows.iter().filter(|row| row.group_name == name).collect();
    of_group.sort_by(|a, b| a.uuid.cmp(&b.uuid));
    let first = of_group.first().map(|row| row.uuid.clone());
    let wanted = |row: &Instance| {
        args.instances.is_empty()
            || args
                .instances
                .iter()
                .filter(|filter| filter.group == name)
                .any(|filter| match filter.id.as_deref() {
                    None => true,
                    Some("first") => first.as_deref() == Some(row.uuid.as_str()),
                    Some(id) => select::is_meant(row, id),
                })
    };
    of_group.retain(|row| wanted(row));
    let errand_group = group.lifecycle == Lifecycle::Errand;
    if errand_group {
        // Only the first instance of an errand group ever runs.
        of_group.sort_by_key(|row| row.index);
        of_group.truncate(1);
    }
    let first_job = group
        .jobs
        .first()
        .is_some_and(|job| job.name.as_str() == args.errand);
    let mut targets = Vec::new();
    for row in of_group {
        let target = Target {
            uuid: row.uuid.clone(),
            group: row.group_name.clone(),
            index: row.index,
            state: row.state.clone(),
            errand_group,
            first_job,
        };
        let runs = errand_group
            || row.state == "stopped"
            || vms::find_active(work.db(), row.id).await?.is_some();
        if runs {
            targets.push(target);
        } else {
            warnings.push(format!(
                "Skipping instance: {} no matching VM reference was found",
                row.name()
            ));
        }
    }
    Ok(targets)
}

impl Chosen {
    /// # Errors
    /// 510000 when one of them is stopped.
    pub fn refuse_stopped(&self) -> Result<(), Error> {
        let stopped = self
            .instances
            .iter()
            .filter(|target| !target.errand_group && target.state != "started");
        let names: Vec<String> = stopped
            .map(|target| format!("'{}/{}'", target.group, target.uuid))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            code::RUN_ERRAND_ERROR,
            format!(
                "Instance(s) {} is stopped, unable to run errand. Maybe start vm?",
                names.join(",")
            ),
        ))
    }

    /// The errand groups that get VMs.
    pub fn errand_groups(&self) -> Vec<InstanceGroupName> {
        let groups = self.instances.iter().filter(|target| target.errand_group);
        groups
            .map(|target| target.group.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(Into::into)
            .collect()
    }

    /// Leaves of a plan only what concerns the chosen instances of errand groups: an errand changes nothing else.
    pub fn narrow(&self, mut plan: DeploymentPlan) -> DeploymentPlan {
        let mine = |uuid: &str| {
            self.instances
                .iter()
                .any(|target| target.errand_group && target.uuid == uuid)
        };
        for instance in &mut plan.instances {
            if !mine(instance.spec.id.as_str()) {
                instance.create.clear();
                instance.update.clear();
                instance.action = Action::None;
            }
        }
        let instances = &plan.instances;
        let kept = |at: &usize| {
            mine(instances[*at].spec.id.as_str()) && instances[*at].action != Action::Delete
        };
        plan.create.retain(kept);
        plan.delete_first.clear();
        plan.post_deploy.clear();
        for group in plan.batches.iter_mut().flat_map(|batch| &mut batch.groups) {
            group.delete.clear();
            for wave in &mut group.waves {
                wave.canaries.retain(kept);
                wave.rest.retain(kept);
            }
        }
        plan
    }
}
