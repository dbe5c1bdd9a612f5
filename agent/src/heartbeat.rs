//! What the health monitor is told: heartbeats and alerts (`docs/spec/agent-protocol.md` §10).

use std::sync::Arc;
use std::time::Duration;

use agent_protocol::{Alert, Heartbeat, severity_of_event, subjects};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::agent::Agent;
use crate::error::Result;
use crate::spec::StoredSpec;
use crate::supervisor::ServiceAlert;

/// The monitor gives an agent up after 60 seconds without.
const PERIOD: Duration = Duration::from_secs(30);

/// Sends heartbeats: one whenever the bus is connected anew, then every [`PERIOD`].
pub async fn run(agent: Arc<Agent>) {
    let mut connected = agent.bus.connections();
    let mut timer = tokio::time::interval(PERIOD);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer.tick().await; // the first one is immediate, before there is a connection
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            changed = connected.changed() => if changed.is_err() { return },
        }
        match build(&agent).await {
            Ok(heartbeat) => {
                agent
                    .bus
                    .publish(subjects::heartbeat(&agent.id()), &heartbeat)
                    .await;
            }
            Err(error) => tracing::error!(%error, "can't build a heartbeat"),
        }
        if let Err(error) = agent.write_health().await {
            tracing::warn!(%error, "can't write health.json");
        }
    }
}

async fn build(agent: &Agent) -> Result<Heartbeat> {
    let spec = StoredSpec::load(&agent.layout)?;
    let (job_state, services) = agent.job_state(false).await?;
    let processes = services.iter().filter(|service| service.visible).count();
    Ok(Heartbeat {
        deployment: spec.deployment,
        job: spec.job.name,
        index: spec.index,
        job_state,
        vitals: agent.vitals.read(),
        node_id: spec.id,
        number_of_processes: Some(processes as u64),
    })
}

/// Passes the supervisor's alerts on.
pub async fn pass_alerts(agent: Arc<Agent>, mut alerts: mpsc::UnboundedReceiver<ServiceAlert>) {
    while let Some(alert) = alerts.recv().await {
        let Some(severity) = severity_of_event(&alert.event) else {
            continue;
        };
        let (id, mut ips) = {
            let settings = agent.settings();
            let networks = settings.current().networks.values();
            let ips: Vec<String> = networks
                .map(|network| network.ip.clone())
                .filter(|ip| !ip.is_empty())
                .collect();
            (settings.current().agent_id.clone(), ips)
        };
        ips.sort();
        let message = Alert {
            id: Uuid::new_v4().to_string(),
            severity,
            title: format!(
                "{} ({}) - {} - {}",
                alert.service,
                ips.join(", "),
                alert.event,
                alert.action
            ),
            summary: alert.description,
            created_at: chrono::Utc::now().timestamp(),
        };
        agent.bus.publish(subjects::alert(&id), &message).await;
    }
}
