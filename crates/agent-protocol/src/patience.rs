//! Whom to ask, how long to wait for one reply, and how often to ask again (`docs/spec/agent-protocol.md` §1.6).

use std::time::Duration;

use domain::AgentId;

/// The original's time limits (§1.6).
pub mod timeouts {
    use std::time::Duration;

    /// For one reply.
    pub const REPLY: Duration = Duration::from_secs(45);
    /// For one reply to a ping of a VM that may not be up yet.
    pub const PING: Duration = Duration::from_secs(1);
    /// For a `stop`, after which the director goes on as if it had succeeded.
    pub const STOP: Duration = Duration::from_secs(300);
    /// Between two questions about a task.
    pub const POLL: Duration = Duration::from_secs(1);
    /// For one reply while an agent may be restarting under `update_settings`: a lost message is asked again soon.
    pub const RESTARTING: Duration = Duration::from_secs(3);
}

/// Whom to ask, and how errors name it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The agent.
    pub agent: AgentId,
    /// The instance as users know it, `group/uuid (index)`.
    pub instance: String,
}

/// How long to wait for one reply, and how often to ask again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For one reply.
    pub reply: Duration,
    /// Further attempts after a timeout, each a new request.
    pub retries: u32,
}

impl Patience {
    /// The original's for this action: 45 s, again for the actions that are safe to repeat.
    pub fn for_method(method: &str) -> Self {
        let retries = match method {
            "get_state" => 2,
            // As long in all as the original's 5 times 45 s, but a reply that was lost with its server is asked for
            // again soon: agents answer this one at once.
            "get_task" => {
                return Self {
                    reply: timeouts::REPLY / 9,
                    retries: 5 * 9 - 1,
                };
            }
            "upload_blob" => 3,
            _ => 0,
        };
        Self {
            reply: timeouts::REPLY,
            retries,
        }
    }

    /// One attempt.
    pub fn once(reply: Duration) -> Self {
        Self { reply, retries: 0 }
    }
}
