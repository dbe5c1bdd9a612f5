//! The monitor itself: one subscription task, one map.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_protocol::{Alert, Heartbeat};
use futures_util::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::store::audit::NewAudit;

/// What the monitor knows of agents. Cheap to clone.
#[derive(Clone)]
pub struct Monitor {
    agents: Arc<Mutex<HashMap<String, Heard>>>,
    timeout: Duration,
}

/// The last word of an agent.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Instant,
    pub heartbeat: Heartbeat,
}

impl Monitor {
    /// `timeout`: silence after which an agent counts as unresponsive.
    pub fn new(timeout: Duration) -> Monitor {
        Monitor {
            agents: Arc::default(),
            timeout,
        }
    }

    /// Listens until `stop`; subscribes again when the bus ends a subscription.
    pub fn start(&self, client: async_nats::Client, store: Store, stop: CancellationToken) {
        let monitor = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    result = monitor.listen(&client, &store) => {
                        if let Err(error) = result {
                            tracing::warn!(%error, "not listening to agents, trying again");
                        }
                    }
                    () = stop.cancelled() => return,
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    async fn listen(
        &self,
        client: &async_nats::Client,
        store: &Store,
    ) -> Result<(), async_nats::SubscribeError> {
        // Three subscriptions, not `hm.agent.>`: that is what the director's permissions allow.
        let heartbeats = client.subscribe("hm.agent.heartbeat.*").await?;
        let alerts = client.subscribe("hm.agent.alert.*").await?;
        let shutdowns = client.subscribe("hm.agent.shutdown.*").await?;
        let mut messages = futures_util::stream::select_all([heartbeats, alerts, shutdowns]);
        while let Some(message) = messages.next().await {
            let mut subject = message.subject.split('.').skip(2);
            let (Some(kind), Some(agent)) = (subject.next(), subject.next()) else {
                continue;
            };
            match kind {
                "heartbeat" => self.heard(agent, &message.payload),
                "alert" => alert(store, agent, &message.payload).await,
                "shutdown" => {
                    self.lock().remove(agent);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn heard(&self, agent: &str, payload: &[u8]) {
        match serde_json::from_slice(payload) {
            Ok(heartbeat) => {
                self.lock().insert(
                    agent.to_owned(),
                    Heard {
                        at: Instant::now(),
                        heartbeat,
                    },
                );
            }
            Err(error) => tracing::debug!(agent, %error, "a heartbeat can't be read"),
        }
    }

    /// The last heartbeat of an agent, if it is not older than the timeout.
    pub fn responsive(&self, agent: &str) -> Option<Heartbeat> {
        let agents = self.lock();
        let heard = agents.get(agent)?;
        (heard.at.elapsed() <= self.timeout).then(|| heard.heartbeat.clone())
    }

    /// Agents that were heard once and have been silent for too long.
    pub fn unresponsive(&self) -> Vec<String> {
        let agents = self.lock();
        let mut silent: Vec<String> = agents
            .iter()
            .filter(|(_, heard)| heard.at.elapsed() > self.timeout)
            .map(|(agent, _)| agent.clone())
            .collect();
        silent.sort_unstable();
        silent
    }

    /// Forgets an agent whose VM was deleted.
    pub fn forget(&self, agent: &str) {
        self.lock().remove(agent);
    }

    /// All that were heard, with their age, for metrics.
    pub fn all(&self) -> Vec<(String, Heard)> {
        self.lock()
            .iter()
            .map(|(agent, heard)| (agent.clone(), heard.clone()))
            .collect()
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Heard>> {
        self.agents
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Records an agent's alert as an audit event of its deployment and instance.
async fn alert(store: &Store, agent: &str, payload: &[u8]) {
    let alert: Alert = match serde_json::from_slice(payload) {
        Ok(alert) => alert,
        Err(error) => {
            tracing::debug!(agent, %error, "an alert can't be read");
            return;
        }
    };
    let owner = store.instance_of_agent(agent).await.unwrap_or_default();
    let time =
        chrono::DateTime::from_timestamp(alert.created_at, 0).unwrap_or_else(chrono::Utc::now);
    let (deployment, instance) = owner.unzip();
    tracing::warn!(
        agent,
        deployment,
        instance,
        severity = alert.severity,
        "{}",
        alert.title
    );
    let event = NewAudit {
        at: Some(time),
        user: "hm".into(),
        action: "create".into(),
        object_type: "alert".into(),
        object_name: Some(alert.id),
        deployment,
        instance,
        context: Some(serde_json::json!({
            "message": format!("{}. Alert @ {}", alert.title, time.format("%Y-%m-%d %H:%M:%S UTC")),
        })),
        ..NewAudit::default()
    };
    if let Err(error) = store.insert_audit(&event).await {
        tracing::warn!(%error, "an alert was not recorded");
    }
}
