//! `cloud-check` (spec cli §15).

use super::Session;
use crate::commands::CloudCheckArgs;
use crate::error::{Error, Result};
use crate::ui::{Sort, Table, Value};
use director_client::Problem;
use std::collections::BTreeMap;

pub async fn check(session: &Session, args: CloudCheckArgs) -> Result<()> {
    let deployment = session.deployment()?;
    let problems = session.client.scan(deployment, &session.reporter).await?;
    let mut table = Table::new("problems", &["#", "Type", "Description"]).sorted(&[Sort::Up(0)]);
    table.rows = problems
        .iter()
        .map(|problem| {
            vec![
                Value::int(problem.id),
                problem.kind.as_str().into(),
                problem.description.as_str().into(),
            ]
        })
        .collect();
    session.ui.table(table);
    if problems.is_empty() {
        return Ok(());
    }
    if args.report {
        return Err(Error::message(format!(
            "{} problem(s) found",
            problems.len()
        )));
    }
    let mut answers = Vec::new();
    for problem in &problems {
        answers.push((problem.id, answer(session, &args, problem)?));
    }
    session.ui.confirm()?;
    session
        .client
        .resolve_problems(deployment, &answers, &BTreeMap::new(), &session.reporter)
        .await?;
    Ok(())
}

/// The resolution to ask for; `None` leaves the choice to the problem's type.
fn answer(session: &Session, args: &CloudCheckArgs, problem: &Problem) -> Result<Option<String>> {
    if args.auto {
        return Ok(None);
    }
    if !args.resolutions.is_empty() {
        let offered = problem
            .resolutions
            .iter()
            .filter_map(|resolution| resolution.name.as_ref());
        let chosen = args
            .resolutions
            .iter()
            .find(|wanted| offered.clone().any(|name| name == *wanted));
        return Ok(Some(chosen.map_or("ignore", String::as_str).to_owned()));
    }
    let plans: Vec<String> = problem
        .resolutions
        .iter()
        .map(|resolution| resolution.plan.clone())
        .collect();
    let index = session.ui.ask_choice(&problem.description, &plans, 0)?;
    Ok(problem
        .resolutions
        .get(index)
        .and_then(|resolution| resolution.name.clone()))
}
