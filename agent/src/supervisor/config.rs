//! What a monit file asks for (`docs/spec/agent-protocol.md` §8.4).

use std::path::PathBuf;
use std::time::Duration;

/// How long a program may take unless it says otherwise.
pub const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);

/// The group that jobs' services must be in to be seen by the director.
pub const VCAP: &str = "vcap";

/// One `check`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// The service's name.
    pub name: String,
    /// What is checked.
    pub kind: Kind,
    /// How it is started.
    pub start: Option<Program>,
    /// How it is stopped.
    pub stop: Option<Program>,
    /// Groups it is in.
    pub groups: Vec<String>,
    /// Services that must run before it.
    pub depends: Vec<String>,
    /// `mode manual` and `passive` services are never started by themselves.
    pub active: bool,
    /// What to look for while it runs.
    pub rules: Vec<Rule>,
}

impl ServiceConfig {
    /// In group `vcap`: visible to the director.
    pub fn is_visible(&self) -> bool {
        self.groups.iter().any(|group| group == VCAP)
    }
}

/// What is checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A process by its pid file.
    Process {
        /// Where the job writes the pid.
        pidfile: PathBuf,
    },
    /// Something that must exist: file, directory, fifo, file system.
    Path {
        /// The word after `check`.
        what: String,
        /// Where it is.
        path: PathBuf,
    },
    /// Something without a state of its own: the system, a host, a process by pattern.
    Other {
        /// The word after `check`.
        what: String,
    },
}

/// A start or stop program; run without a shell.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// User to run as.
    pub uid: Option<String>,
    /// Group to run as.
    pub gid: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// An `if`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What is looked for.
    pub condition: Condition,
    /// So many cycles it must hold …
    pub times: u32,
    /// … out of so many.
    pub within: u32,
    /// What is done then.
    pub action: Action,
}

/// What an `if` looks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Memory of the process, in kilobytes, with its children if `total`.
    MemoryKb {
        /// Children included.
        total: bool,
        /// The comparison.
        limit: Limit,
    },
    /// Memory of the process in percent of the machine's.
    MemoryPercent {
        /// Children included.
        total: bool,
        /// The comparison.
        limit: Limit,
    },
    /// CPU use of the process in percent of the machine's.
    CpuPercent {
        /// Children included.
        total: bool,
        /// The comparison.
        limit: Limit,
    },
    /// Number of child processes.
    Children(Limit),
    /// Nobody listens there.
    ConnectionFailed {
        /// Host, for TCP.
        host: String,
        /// Port, for TCP.
        port: u16,
        /// How long a connection may take.
        timeout: Duration,
    },
    /// Nobody listens at that socket.
    UnixSocketFailed {
        /// Where it is.
        path: PathBuf,
        /// How long a connection may take.
        timeout: Duration,
    },
    /// It was restarted so often within so many cycles.
    Restarts {
        /// How often.
        count: u32,
        /// Within so many cycles.
        cycles: u32,
    },
    /// It doesn't exist; the supervisor restarts it anyway.
    DoesNotExist,
    /// Its pid changed.
    ChangedPid,
    /// Something this supervisor doesn't look for.
    Other(String),
}

/// A comparison with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// How to compare.
    pub operator: Operator,
    /// With what.
    pub value: f64,
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Limit {
    /// Whether the rule matches.
    pub fn is_met(self, value: f64) -> bool {
        match self.operator {
            Operator::Greater => value > self.value,
            Operator::Less => value < self.value,
            Operator::Equal => value == self.value,
            Operator::NotEqual => value != self.value,
        }
    }
}

/// What an `if` does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Tell the health monitor.
    Alert,
    /// Stop and start.
    Restart,
    /// Start.
    Start,
    /// Stop.
    Stop,
    /// Stop looking after it.
    Unmonitor,
    /// Run something.
    Exec(Program),
}

impl Action {
    /// The word in monit files and alerts.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Restart => "restart",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Unmonitor => "unmonitor",
            Self::Exec(_) => "exec",
        }
    }
}
