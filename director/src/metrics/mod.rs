//! Prometheus metrics, under the original's names (`docs/spec/operations.md` §14). Made when asked for, from rows and
//! from the health monitor; only the API's requests are counted in between ([`Requests`]).

mod networks;
mod requests;

pub use requests::Requests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agent_protocol::JobState;

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
    let flags = services.store.list_configs(Some("deploy"), None, Some(1));
    let flags = flags.await?;
    gauge(
        &mut text,
        "bosh_deploy_config_enabled",
        "Is a config of type deploy uploaded?",
        &[(String::new(), i64::from(!flags.is_empty()))],
    );
    networks(&mut text, services).await?;
    agents(&mut text, services).await?;
    Ok(text)
}

async fn networks(text: &mut String, services: &Services) -> Result<(), Error> {
    let networks = networks::addresses(services).await?;
    let none = ("{name=\"no_networks\"}".to_owned(), 0);
    let values = |of: fn(&networks::Addresses) -> i64| -> Vec<(String, i64)> {
        let all = networks.iter();
        let all = all.map(|network| {
            (
                format!("{{name=\"{}\"}}", escape(&network.name)),
                of(network),
            )
        });
        std::iter::once(none.clone()).chain(all).collect()
    };
    gauge(
        text,
        "bosh_networks_dynamic_ips_total",
        "Size of network pool for all dynamically allocated IPs",
        &values(|network| network.total),
    );
    gauge(
        text,
        "bosh_networks_dynamic_free_ips_total",
        "Number of dynamic free IPs left per network",
        &values(|network| network.free),
    );
    Ok(())
}

/// By deployment; one whose agents say nothing has zeros.
async fn agents(text: &mut String, services: &Services) -> Result<(), Error> {
    let none: BTreeMap<String, i64> = crate::store::deployments::list(services.store.pool())
        .await?
        .into_iter()
        .map(|deployment| (deployment.name, 0))
        .collect();
    let [
        mut total,
        mut unresponsive,
        mut failing,
        mut unhealthy,
        mut stopped,
        mut unknown,
    ] = std::array::from_fn(|_| none.clone());
    for (_, heard) in services.health.all() {
        let name = heard.heartbeat.deployment.clone();
        let silent = heard.at.elapsed() > services.health.timeout();
        let state = heard.heartbeat.job_state;
        let count = |map: &mut BTreeMap<String, i64>, yes: bool| {
            *map.entry(name.clone()).or_default() += i64::from(yes)
        };
        count(&mut total, true);
        count(&mut unresponsive, silent);
        count(&mut failing, state == JobState::Failing);
        count(&mut stopped, state == JobState::Stopped);
        count(&mut unknown, state == JobState::Unknown);
        count(
            &mut unhealthy,
            state == JobState::Running && heard.heartbeat.number_of_processes == Some(0),
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
            "bosh_stopped_instances",
            "Number of stopped instances",
            stopped,
        ),
        (
            "bosh_unknown_instances",
            "Number of unknown instances",
            unknown,
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
        gauge(text, name, help, &values);
    }
    Ok(())
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
