//! NATS subjects (`docs/spec/agent-protocol.md` §1.1). All tokens are free of dots, so a reply subject has exactly four.

use uuid::Uuid;

/// Where the agent takes requests from.
pub fn agent(agent_id: &str) -> String {
    format!("agent.{agent_id}")
}

/// Where the reply to one request goes. `process` is the random id of the asking director process.
pub fn reply(process: &Uuid, agent_id: &str, request: &Uuid) -> String {
    format!("director.{process}.{agent_id}.{request}")
}

/// What a director process subscribes to for all its replies.
pub fn replies(process: &Uuid) -> String {
    format!("director.{process}.>")
}

/// Heartbeats of an agent.
pub fn heartbeat(agent_id: &str) -> String {
    format!("hm.agent.heartbeat.{agent_id}")
}

/// Alerts of an agent.
pub fn alert(agent_id: &str) -> String {
    format!("hm.agent.alert.{agent_id}")
}

/// Notice that an agent's VM is about to go; the payload is JSON `null`.
pub fn shutdown(agent_id: &str) -> String {
    format!("hm.agent.shutdown.{agent_id}")
}
