//! One service: its configuration and where it stands.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::config::{Kind, ServiceConfig};
use super::memory::ServiceMemory;
use super::process::{Process, Remembered};
use super::report::{Monitor, ServiceReport};
use super::rules::RuleState;
use super::usage::{CpuMark, Snapshot, Usage};

/// What is being done about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Nothing.
    Idle,
    /// To be started once what it depends on runs.
    StartPending,
    /// The start program runs.
    Starting,
    /// To be stopped once what depends on it is down.
    StopPending {
        /// And then started.
        then_start: bool,
    },
    /// The stop program runs.
    Stopping {
        /// And then started.
        then_start: bool,
    },
    /// Waits before the next attempt to start.
    Pausing,
}

/// What to do when a start that is under way is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// Stop it again.
    Stop,
    /// Stop and start it.
    Restart,
}

/// A process that is being watched.
pub struct Watched {
    /// Which one.
    pub process: Process,
    /// The ticket of its events.
    pub ticket: u64,
    /// When the engine came to know it.
    pub since: Instant,
    /// How old it was then.
    pub age: Duration,
    /// Ended along with this.
    pub watcher: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// One service.
pub struct Service {
    /// What its monit file says.
    pub config: ServiceConfig,
    /// Whether it is looked after.
    pub monitor: Monitor,
    /// What is being done.
    pub activity: Activity,
    /// The ticket of what is being done.
    pub ticket: u64,
    /// What to do after a start that is under way.
    pub afterwards: Option<Afterwards>,
    /// Its process.
    pub process: Option<Watched>,
    /// Its last process.
    pub remembered: Option<Remembered>,
    /// What is wrong.
    pub error: Option<String>,
    /// Deaths and failed starts in a row.
    pub failures: u32,
    /// When it was restarted.
    pub restarts: VecDeque<Instant>,
    /// How its rules stand, one each.
    pub rules: Vec<RuleState>,
    /// For CPU use since the last report.
    pub cpu: Option<CpuMark>,
}

impl Service {
    /// A service nobody has looked at yet.
    pub fn new(config: ServiceConfig, memory: Option<ServiceMemory>, monitored: bool) -> Self {
        let monitored = memory.as_ref().map_or(monitored, |m| m.monitored);
        Self {
            rules: vec![RuleState::default(); config.rules.len()],
            config,
            monitor: if monitored { Monitor::On } else { Monitor::Off },
            activity: Activity::Idle,
            ticket: 0,
            afterwards: None,
            process: None,
            remembered: memory.and_then(|m| m.process),
            error: None,
            failures: 0,
            restarts: VecDeque::new(),
            cpu: None,
        }
    }

    /// It has a process that can be started and stopped.
    pub fn is_process(&self) -> bool {
        matches!(self.config.kind, Kind::Process { .. })
    }

    /// Its process runs, or it has none by nature.
    pub fn is_up(&self) -> bool {
        !self.is_process() || (self.process.is_some() && matches!(self.activity, Activity::Idle))
    }

    /// Nothing of it runs or is about to.
    pub fn is_down(&self) -> bool {
        self.process.is_none()
            && matches!(
                self.activity,
                Activity::Idle | Activity::Pausing | Activity::StartPending
            )
    }

    /// How long its process has run.
    pub fn uptime(&self) -> Duration {
        self.process
            .as_ref()
            .map_or(Duration::ZERO, |p| p.age + p.since.elapsed())
    }

    /// What to know after a restart.
    pub fn memory(&self) -> ServiceMemory {
        ServiceMemory {
            monitored: self.monitor != Monitor::Off,
            process: self.remembered.clone(),
        }
    }

    /// What others get to see.
    pub fn report(&mut self, snapshot: Option<&Snapshot>) -> ServiceReport {
        let pid = self.process.as_ref().map(|p| p.process.identity.pid);
        let usage = match (snapshot, pid) {
            (Some(snapshot), Some(pid)) => snapshot.usage(pid, &mut self.cpu),
            _ => Usage::default(),
        };
        ServiceReport {
            name: self.config.name.clone(),
            kind: match &self.config.kind {
                Kind::Process { .. } => "Process".into(),
                Kind::Path { what, .. } | Kind::Other { what } => capitalised(what),
            },
            groups: self.config.groups.clone(),
            visible: self.config.is_visible(),
            monitor: self.monitor,
            error: self.error.clone(),
            pending: match self.activity {
                Activity::Idle | Activity::Pausing => None,
                Activity::StartPending | Activity::Starting => Some("start"),
                Activity::StopPending { then_start: true }
                | Activity::Stopping { then_start: true } => Some("restart"),
                Activity::StopPending { .. } | Activity::Stopping { .. } => Some("stop"),
            },
            pid,
            uptime: self.uptime(),
            usage,
        }
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
