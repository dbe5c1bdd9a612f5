//! Prometheus metrics, under the original's names (`docs/spec/operations.md` §14). Made when asked for, from rows and
//! from the health monitor: nothing is counted in between.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::error::Error;
use crate::services::Services;

/// All metrics as text.
pub async fn render(services: &Services) -> Result<String, Error> {
    let mut text = String::new();
    let paused = services
        .store
        .attribute("resurrection_paused")
        .await?
        .as_deref()
        == Some("true");
    gauge(
        &mut text,
        "bosh_resurrection_enabled",
        "Is resurrection enabled?",
        &[(String::new(), i64::from(!paused))],
    );
    let tasks: Vec<(String, i64)> = services
        .store
        .count_tasks()
        .await?
        .into_iter()
        .map(|(kind, state, count)| (format!("{{state=\"{state}\",type=\"{kind}\"}}"), count))
        .collect();
    gauge(
        &mut text,
        "bosh_tasks_total",
        "Number of BOSH tasks",
        &tasks,
    );
    let (mut total, mut unresponsive, mut failing, mut unhealthy) = (
        BTreeMap::new(),
        BTreeMap::new(),
        BTreeMap::new(),
        BTreeMap::new(),
    );
    for (_, heard) in services.health.all() {
        let name = heard.heartbeat.deployment.clone();
        let silent = heard.at.elapsed() > services.health.timeout();
        let state = heard.heartbeat.job_state.to_string();
        let count = |map: &mut BTreeMap<String, i64>, yes: bool| {
            *map.entry(name.clone()).or_default() += i64::from(yes)
        };
        count(&mut total, true);
        count(&mut unresponsive, silent);
        count(&mut failing, state == "failing");
        count(
            &mut unhealthy,
            state == "running" && heard.heartbeat.number_of_processes == Some(0),
        );
    }
    for (name, help, values) in [
        (
            "bosh_total_available_agents",
            "Number of total available agents",
            total,
        ),
        (
            "bosh_unresponsive_agents",
            "Number of unresponsive agents",
            unresponsive,
        ),
        (
            "bosh_failing_instances",
            "Number of failing instances",
            failing,
        ),
        (
            "bosh_unhealthy_agents",
            "Number of unhealthy agents",
            unhealthy,
        ),
    ] {
        let values: Vec<(String, i64)> = values
            .into_iter()
            .map(|(name, count)| (format!("{{name=\"{}\"}}", escape(&name)), count))
            .collect();
        gauge(&mut text, name, help, &values);
    }
    Ok(text)
}

fn gauge(text: &mut String, name: &str, help: &str, values: &[(String, i64)]) {
    let _ = write!(text, "# TYPE {name} gauge\n# HELP {name} {help}\n");
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
