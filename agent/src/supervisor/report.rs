//! What others get to see of services, and the states that the director knows (`docs/spec/agent-protocol.md` §8.3).

use std::time::Duration;

use agent_protocol::{JobState, Process, ProcessCpu, ProcessMem, Uptime};

use super::usage::Usage;

/// Whether a service is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monitor {
    /// No: `monitor` 0.
    Off,
    /// Asked to start, not up yet: `monitor` 2.
    Initializing,
    /// Yes: `monitor` 1.
    On,
}

/// One service.
#[derive(Debug, Clone)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// `Process`, `File`, `System` …
    pub kind: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Whether the director sees it.
    pub visible: bool,
    /// Whether it is looked after.
    pub monitor: Monitor,
    /// What is wrong with it.
    pub error: Option<String>,
    /// A start or stop is under way.
    pub pending: Option<&'static str>,
    /// Its process.
    pub pid: Option<i32>,
    /// How long the process has run.
    pub uptime: Duration,
    /// CPU and memory, if asked for.
    pub usage: Usage,
}

impl ServiceReport {
    /// The state that the director is told.
    pub fn state(&self) -> JobState {
        match self.monitor {
            Monitor::Off => JobState::Unknown,
            Monitor::Initializing => JobState::Starting,
            Monitor::On if self.error.is_none() => JobState::Running,
            Monitor::On => JobState::Failing,
        }
    }

    /// The state in monit's words.
    pub fn text(&self) -> String {
        match (self.monitor, self.pending, &self.error) {
            (Monitor::Off, Some(pending), _) => format!("not monitored - {pending} pending"),
            (Monitor::Off, None, Some(error)) => format!("not monitored - {error}"),
            (Monitor::Off, None, None) => "not monitored".into(),
            (Monitor::Initializing, Some(pending), _) => {
                format!("initializing - {pending} pending")
            }
            (Monitor::Initializing, None, _) => "initializing".into(),
            (Monitor::On, _, Some(error)) => error.clone(),
            (Monitor::On, _, None) if self.kind == "Process" => "running".into(),
            (Monitor::On, _, None) => "accessible".into(),
        }
    }

    /// The entry of `get_state`'s `processes`.
    pub fn to_process(&self) -> Process {
        Process {
            name: self.name.clone(),
            state: self.state(),
            uptime: Uptime {
                secs: self.uptime.as_secs(),
            },
            mem: ProcessMem {
                kb: self.usage.total_kb,
                percent: tenth(self.usage.memory_percent),
            },
            cpu: ProcessCpu {
                total: tenth(self.usage.cpu_percent),
            },
        }
    }
}

/// Monit reports one decimal.
fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// The state of the instance. `stopped`: jobs were stopped on purpose.
pub fn aggregate(services: &[ServiceReport], stopped: bool) -> JobState {
    if stopped {
        return JobState::Stopped;
    }
    let states = || {
        services
            .iter()
            .filter(|s| s.visible)
            .map(ServiceReport::state)
    };
    if states().any(|state| state == JobState::Starting) {
        JobState::Starting
    } else if states().any(|state| state != JobState::Running) {
        JobState::Failing
    } else {
        JobState::Running
    }
}
