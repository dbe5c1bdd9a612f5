//! `if` rules: looked at every cycle, fired once until they recover.

use std::net::ToSocketAddrs;
use std::path::Path;
use std::time::Duration;

use super::config::{Condition, Rule};
use super::usage::{Snapshot, Usage};

/// Monit's cycle. Rules count in cycles; processes are watched without any.
pub const CYCLE: Duration = Duration::from_secs(10);

/// How a rule stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleState {
    /// The last cycles, the newest in the lowest bit.
    history: u64,
    /// It has fired and not recovered.
    raised: bool,
}

/// What a cycle means for a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new.
    Same,
    /// It fires now.
    Raised,
}

impl RuleState {
    /// Counts one cycle.
    pub fn count(&mut self, rule: &Rule, met: bool) -> Verdict {
        self.history = (self.history << 1) | u64::from(met);
        let window = rule.within.clamp(1, 64);
        let mask = u64::MAX >> (64 - window);
        let enough = (self.history & mask).count_ones() >= rule.times.clamp(1, window);
        let fires = enough && !self.raised;
        self.raised = enough;
        if fires {
            Verdict::Raised
        } else {
            Verdict::Same
        }
    }

    /// Starts over, after the service was restarted.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Whether it is worth running cycles for this rule.
pub fn needs_cycles(rule: &Rule) -> bool {
    is_measured(&rule.condition) || is_tested(&rule.condition)
}

fn is_measured(condition: &Condition) -> bool {
    matches!(
        condition,
        Condition::MemoryKb { .. }
            | Condition::MemoryPercent { .. }
            | Condition::CpuPercent { .. }
            | Condition::Children(_)
    )
}

/// It is a connection test, which takes time.
pub fn is_tested(condition: &Condition) -> bool {
    matches!(
        condition,
        Condition::ConnectionFailed { .. } | Condition::UnixSocketFailed { .. }
    )
}

/// Whether a measured condition is met; `None` for the others.
pub fn measure(condition: &Condition, usage: &Usage, snapshot: &Snapshot) -> Option<bool> {
    let kb = |total: bool| if total { usage.total_kb } else { usage.own_kb };
    Some(match condition {
        Condition::MemoryKb { total, limit } => limit.is_met(kb(*total) as f64),
        Condition::MemoryPercent { total, limit } => limit.is_met(snapshot.percent(kb(*total))),
        Condition::CpuPercent { limit, .. } => limit.is_met(usage.cpu_percent),
        Condition::Children(limit) => limit.is_met(usage.children as f64),
        _ => return None,
    })
}

/// Monit's name of the event.
pub fn event_of(condition: &Condition) -> &'static str {
    if is_tested(condition) {
        "connection failed"
    } else {
        "resource limit matched"
    }
}

/// Tries to connect.
pub async fn connection_fails(condition: Condition) -> bool {
    match condition {
        Condition::ConnectionFailed {
            host,
            port,
            timeout,
        } => {
            let connected = tokio::time::timeout(timeout, async {
                // Name resolution blocks; addresses, which is what monit files have, don't.
                let addresses = match (host.as_str(), port).to_socket_addrs() {
                    Ok(addresses) => addresses.collect::<Vec<_>>(),
                    Err(_) => return false,
                };
                tokio::net::TcpStream::connect(addresses.as_slice())
                    .await
                    .is_ok()
            });
            !connected.await.unwrap_or(false)
        }
        Condition::UnixSocketFailed { path, timeout } => {
            let connect = tokio::net::UnixStream::connect(Path::new(&path));
            !matches!(tokio::time::timeout(timeout, connect).await, Ok(Ok(_)))
        }
        _ => false,
    }
}
