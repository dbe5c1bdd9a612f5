//! Why talking to an agent failed.

use crate::envelope::AgentException;

/// Errors of [`crate::AgentClient`]. The texts are the original's where it has one; the director adds its code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No reply in time (the original's `RpcTimeout`, 450002).
    #[error(
        "Timed out sending '{method}' to instance: '{instance}', agent-id: '{agent}' after {seconds} seconds"
    )]
    Timeout {
        /// The action.
        method: String,
        /// The instance as users know it, `group/uuid (index)`.
        instance: String,
        /// The agent's id.
        agent: String,
        /// All the time that was waited, retries included.
        seconds: u64,
    },
    /// The agent never answered a ping after its VM was made (450002).
    #[error("Timed out pinging VM '{cid}' with agent '{agent}' after {seconds} seconds")]
    NotReady {
        /// The VM.
        cid: String,
        /// The agent's id.
        agent: String,
        /// How long it was tried.
        seconds: u64,
    },
    /// The agent answered with an exception (the original's `RpcRemoteException`, 450001).
    #[error("{message}")]
    Remote {
        /// The action.
        method: String,
        /// The agent's own text.
        message: String,
    },
    /// The answer is not what the action promises.
    #[error("Agent '{agent}' answered '{method}' with something unexpected: {problem}")]
    Unexpected {
        /// The agent's id.
        agent: String,
        /// The action.
        method: String,
        /// What is wrong with it; never the payload itself.
        problem: String,
    },
    /// The caller cancelled, and the agent was told so.
    #[error("The agent's '{method}' was cancelled")]
    Cancelled {
        /// The action.
        method: String,
    },
    /// The message bus refused the message.
    #[error("Sending '{method}' to agent '{agent}' over the message bus failed")]
    Bus {
        /// The action.
        method: String,
        /// The agent's id.
        agent: String,
        /// What NATS said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request can't be written as JSON.
    #[error("The arguments of '{method}' can't be sent")]
    Arguments {
        /// The action.
        method: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// What an agent's exception is to who asked.
    pub(crate) fn remote(method: &str, exception: AgentException) -> Self {
        Self::Remote {
            method: method.to_owned(),
            message: exception.message,
        }
    }

    /// The agent doesn't know the action: an older one.
    pub fn is_unknown_message(&self) -> bool {
        matches!(self, Self::Remote { message, .. } if message.contains("unknown message"))
    }

    /// No answer, as opposed to a bad one.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::NotReady { .. })
    }
}
