//! Whom to talk to and how an agent's failure reads to the user. The talking itself is
//! `agent_protocol::AgentClient`, made persistent by [`Persistent`].

mod persistent;

pub use persistent::Persistent;

use agent_protocol::Target;
use domain::AgentId;

use crate::error::{Error, code};
use crate::store::instances::Instance;

/// The agent in an instance's VM.
pub fn target(instance: &Instance, agent_id: &str) -> Target {
    Target {
        agent: AgentId::new(agent_id),
        instance: instance.slug(),
    }
}

/// An agent's failure with the original's code: 450002 for silence, 450001 for an exception.
pub fn failed(error: agent_protocol::Error) -> Error {
    use agent_protocol::Error as E;
    let shown = match &error {
        E::Timeout { .. } => Error::new(code::RPC_TIMEOUT, error.to_string())
            .hint("Is the VM up and can it reach NATS? `bosh deploy --fix` recreates instances whose agents don't answer."),
        E::NotReady { .. } => Error::new(code::RPC_TIMEOUT, error.to_string())
            .hint("The VM was made, its agent never reported, and the VM is deleted again: check that its network reaches the message server (nats.agent_url of the director's configuration) and that the stemcell is one for this infrastructure, then deploy again."),
        E::Remote { .. } => Error::new(code::RPC_REMOTE_EXCEPTION, error.to_string()),
        _ => Error::unclassified(error.to_string()),
    };
    shown.caused_by(error)
}
