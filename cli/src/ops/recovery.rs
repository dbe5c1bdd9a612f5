//! `create-recovery-plan` and `recover` (spec cli §15): problems of a deployment by instance group and type, a
//! resolution for each type in a file, and the file carried out.

use super::Session;
use crate::commands::{CreateRecoveryPlanArgs, RecoverArgs};
use crate::error::{Error, Result, Within};
use crate::ui::{Sort, Table, Value};
use director_client::Problem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Plan {
    #[serde(default)]
    instance_groups_plan: Vec<GroupPlan>,
}

/// What to do in one instance group.
#[derive(Debug, Default, Serialize, Deserialize)]
struct GroupPlan {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    max_in_flight_override: String,
    /// Type of problem to name of resolution.
    #[serde(default)]
    planned_resolutions: BTreeMap<String, String>,
}

impl GroupPlan {
    fn resolution(&self, problem: &Problem) -> String {
        let planned = self.planned_resolutions.get(&problem.kind);
        planned.cloned().unwrap_or_default()
    }

    /// What the planned resolution does.
    fn description(&self, problem: &Problem) -> String {
        let name = self.resolution(problem);
        problem
            .resolutions
            .iter()
            .find(|resolution| resolution.name.as_deref() == Some(&name))
            .map_or("No resolution planned", |resolution| &resolution.plan)
            .to_owned()
    }
}

type ByGroup = BTreeMap<String, Vec<Problem>>;

/// `None` when there are no problems, which is told.
async fn problems(session: &Session) -> Result<Option<ByGroup>> {
    let deployment = session.deployment()?;
    let found = session.client.scan(deployment, &session.reporter).await?;
    let mut groups = ByGroup::new();
    for problem in found {
        match problem.instance_group.clone() {
            Some(group) if !group.is_empty() => groups.entry(group).or_default().push(problem),
            _ => {
                return Err(Error::message(
                    "Director does not support this command.  Try 'bosh cloud-check' instead",
                ));
            }
        }
    }
    if groups.is_empty() {
        session.ui.line("No problems found\n");
        return Ok(None);
    }
    Ok(Some(groups))
}

pub async fn create(session: &Session, args: CreateRecoveryPlanArgs) -> Result<()> {
    let Some(groups) = problems(session).await? else {
        return Ok(());
    };
    let deployment = session.deployment()?;
    let manifest = session.client.deployment_manifest(deployment).await?;
    let limits = limits(manifest.as_deref().unwrap_or_default())?;
    let mut plan = Plan::default();
    for (group, problems) in groups {
        session.ui.line(format!("Instance Group '{group}'\n"));
        let planned_resolutions = choose(session, problems)?;
        // compat: a group without a limit of its own or above it shows Go's nothing.
        let current = limits.get(&group).map_or("<nil>", String::as_str);
        let label = format!("Override current max_in_flight value of '{current}'?");
        let max_in_flight_override = if session.ui.confirm_labeled(&label).is_ok() {
            session
                .ui
                .ask_text(&format!("max_in_flight override for '{group}'"), current)?
        } else {
            String::new()
        };
        plan.instance_groups_plan.push(GroupPlan {
            name: group,
            max_in_flight_override,
            planned_resolutions,
        });
    }
    let text = serde_yaml::to_string(&plan).map_err(|error| Error::message(error.to_string()))?;
    fs_err::write(&args.path, text)?;
    Ok(())
}

/// Asks once for each type of problem.
fn choose(session: &Session, problems: Vec<Problem>) -> Result<BTreeMap<String, String>> {
    let mut types: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
    for problem in problems {
        types.entry(problem.kind.clone()).or_default().push(problem);
    }
    let mut planned = BTreeMap::new();
    for (kind, problems) in types {
        let mut table =
            Table::new(&format!("{kind} problems"), &["#", "Description"]).sorted(&[Sort::Up(0)]);
        table.title = Some(format!("Problem type: {kind}"));
        table.rows = problems
            .iter()
            .map(|problem| vec![Value::int(problem.id), problem.description.as_str().into()])
            .collect();
        session.ui.table(table);
        let resolutions = &problems[0].resolutions;
        let plans: Vec<String> = resolutions
            .iter()
            .map(|resolution| resolution.plan.clone())
            .collect();
        let index = session.ui.ask_choice(&kind, &plans, 0)?;
        let name = resolutions
            .get(index)
            .and_then(|resolution| resolution.name.clone());
        planned.insert(kind, name.unwrap_or_default());
    }
    Ok(planned)
}

/// `max_in_flight` of each instance group, as the manifest says it.
fn limits(manifest: &str) -> Result<BTreeMap<String, String>> {
    let manifest: serde_yaml::Value =
        serde_yaml::from_str(manifest).map_err(|error| Error::message(error.to_string()))?;
    let limit = |value: &serde_yaml::Value| {
        let value = value.get("update")?.get("max_in_flight")?;
        match value {
            serde_yaml::Value::String(text) => Some(text.clone()),
            serde_yaml::Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    };
    let general = limit(&manifest);
    let groups = manifest
        .get("instance_groups")
        .and_then(|groups| groups.as_sequence());
    Ok(groups
        .into_iter()
        .flatten()
        .filter_map(|group| {
            let name = group.get("name")?.as_str()?.to_owned();
            Some((name, limit(group).or_else(|| general.clone())?))
        })
        .collect())
}

pub async fn recover(session: &Session, args: RecoverArgs) -> Result<()> {
    let Some(groups) = problems(session).await? else {
        return Ok(());
    };
    let text = fs_err::read_to_string(&args.path)?;
    let plan: Option<Plan> = serde_yaml::from_str(&text)
        .map_err(|error| Error::message(error.to_string()))
        .within(|| format!("Reading the recovery plan '{}'", args.path.display()))?;
    let plan = plan.unwrap_or_default();
    let none = GroupPlan::default();
    for (group, problems) in &groups {
        let planned = plan
            .instance_groups_plan
            .iter()
            .find(|plan| plan.name == *group);
        print_summary(session, group, problems, planned.unwrap_or(&none));
    }
    session.ui.confirm()?;
    let mut answers = Vec::new();
    let mut overrides = BTreeMap::new();
    for planned in &plan.instance_groups_plan {
        if !planned.max_in_flight_override.is_empty() {
            overrides.insert(planned.name.clone(), planned.max_in_flight_override.clone());
        }
        for problem in groups.get(&planned.name).into_iter().flatten() {
            answers.push((problem.id, Some(planned.resolution(problem))));
        }
    }
    session
        .client
        .resolve_problems(
            session.deployment()?,
            &answers,
            &overrides,
            &session.reporter,
        )
        .await?;
    Ok(())
}

fn print_summary(session: &Session, group: &str, problems: &[Problem], planned: &GroupPlan) {
    let mut title = format!("Instance Group '{group}' plan summary");
    if !planned.max_in_flight_override.is_empty() {
        title.push_str(&format!(
            " (max_in_flight override: {})",
            planned.max_in_flight_override
        ));
    }
    let header = ["#", "Planned resolution", "Description"];
    let mut table = Table::new("", &header).sorted(&[Sort::Up(0)]);
    table.title = Some(title);
    table.rows = problems
        .iter()
        .map(|problem| {
            vec![
                Value::int(problem.id),
                planned.description(problem).into(),
                problem.description.as_str().into(),
            ]
        })
        .collect();
    session.ui.table(table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_limit_is_its_own_before_the_deployments() {
        let limits = limits(
            "update: {max_in_flight: 3}\ninstance_groups:\n- name: a\n- name: b\n  update: {max_in_flight: 50%}\n",
        )
        .unwrap();
        assert_eq!(limits["a"], "3");
        assert_eq!(limits["b"], "50%");
    }
}
