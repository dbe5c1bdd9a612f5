//! Finds agents that have fallen silent (operations.md §4.3, §4.4). A reconciler: a timer starts it, it compares who
//! should be heard with who is, and has no retry of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Monitor;
use crate::services::Services;
use crate::store::agents::WatchedAgent;
use crate::store::audit::NewAudit;

/// What is known of a watched agent.
struct Watched {
    /// Counts as heard of then.
    discovered: Instant,
    /// Its silence was told.
    told: bool,
}

/// Looks at all agents, four times per `agent_timeout`, until `stop`. One alert per silence.
pub async fn watch(services: Arc<Services>, owner: Arc<str>, stop: CancellationToken) {
    let period =
        (services.health.timeout() / 4).clamp(Duration::from_millis(100), Duration::from_secs(15));
    let mut watched = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = look(&services, &owner, period, &mut watched).await {
            tracing::warn!(%error, "silent agents are not looked for");
        }
    }
}

async fn look(
    services: &Services,
    owner: &str,
    period: Duration,
    watched: &mut HashMap<String, Watched>,
) -> Result<(), crate::store::Error> {
    if !services
        .store
        .hold_duty("health", owner, period * 3)
        .await?
    {
        watched.clear();
        return Ok(());
    }
    let agents = services.store.watched_agents().await?;
    watched.retain(|id, _| agents.iter().any(|agent| agent.agent_id == *id));
    for agent in agents {
        let entry = watched
            .entry(agent.agent_id.clone())
            .or_insert_with(|| Watched {
                discovered: Instant::now(),
                told: false,
            });
        if silent(&services.health, &agent.agent_id, entry.discovered) {
            if !std::mem::replace(&mut entry.told, true) {
                tell(services, &agent).await?;
            }
        } else {
            entry.told = false;
        }
    }
    Ok(())
}

fn silent(monitor: &Monitor, agent: &str, discovered: Instant) -> bool {
    monitor.responsive(agent).is_none() && discovered.elapsed() > monitor.timeout()
}

async fn tell(services: &Services, agent: &WatchedAgent) -> Result<(), crate::store::Error> {
    let WatchedAgent {
        agent_id,
        cid,
        deployment,
        group_name,
        uuid,
        index,
    } = agent;
    let source = format!(
        "{deployment}: {group_name}({uuid}) [id={agent_id}, index={index}, cid={}]",
        cid.as_deref().unwrap_or_default()
    );
    tracing::warn!(
        deployment,
        instance = format!("{group_name}/{uuid}"),
        agent = agent_id,
        "the agent has timed out"
    );
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S UTC");
    services
        .store
        .insert_audit(&NewAudit {
            user: "hm".into(),
            action: "create".into(),
            object_type: "alert".into(),
            object_name: Some(uuid::Uuid::new_v4().to_string()),
            deployment: Some(deployment.clone()),
            instance: Some(format!("{group_name}/{uuid}")),
            context: Some(serde_json::json!({
                "message": format!("{agent_id} has timed out. Alert @ {now}"),
                "source": source,
                "severity": 2,
            })),
            ..NewAudit::default()
        })
        .await?;
    Ok(())
}
