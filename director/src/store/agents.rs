//! Agents as the message bus must know them.

use super::{Error, Store};

impl Store {
    /// Ids of all agents whose VM is there, asked for, or not yet gone, each with whether it has its permanent
    /// certificate.
    pub async fn agents_on_the_bus(&self) -> Result<Vec<(String, bool)>, Error> {
        sqlx::query_as("select agent_id, permanent_nats_credentials from vms order by agent_id")
            .fetch_all(self.pool())
            .await
    }
}

impl Store {
    /// Deployment and `<group>/<uuid>` of an agent's instance.
    pub async fn instance_of_agent(&self, agent: &str) -> Result<Option<(String, String)>, Error> {
        sqlx::query_as(
            "select d.name, i.group_name || '/' || i.uuid
             from vms v join instances i on i.id = v.instance_id join deployments d on d.id = i.deployment_id
             where v.agent_id = $1",
        )
        .bind(agent)
        .fetch_optional(self.pool())
        .await
    }
}

/// An agent that should be sending heartbeats.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct WatchedAgent {
    pub agent_id: String,
    pub cid: Option<String>,
    pub deployment: String,
    pub group_name: String,
    pub uuid: String,
    pub index: i32,
}

impl Store {
    /// Agents of the active VMs of all deployments that nobody is working on: those are the ones whose silence
    /// means something.
    pub async fn watched_agents(&self) -> Result<Vec<WatchedAgent>, Error> {
        sqlx::query_as(
            "select v.agent_id, v.cid, d.name as deployment, i.group_name, i.uuid, i.index
             from vms v join instances i on i.id = v.instance_id join deployments d on d.id = i.deployment_id
             where v.active and v.state = 'created' and not i.compilation and i.state <> 'detached'
               and not exists (
                 select 1 from locks l where l.name = 'lock:deployment:' || d.name and l.expires_at > now())
             order by v.agent_id",
        )
        .fetch_all(self.pool())
        .await
    }
}
