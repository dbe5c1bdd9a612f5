//! `bosun status`: what of the environment runs.

use super::home::{self, Home};
use super::{Error, State};

/// The processes of an environment: name for people, name of the pid file, program.
const PROCESSES: [(&str, &str, &str); 4] = [
    ("supervisor", "supervisor", "bosun"),
    ("postgres", "postgres", "postgres"),
    ("nats-server", "nats", "nats-server"),
    ("director", "director", "bosun-director"),
];

/// One process.
#[derive(Debug)]
pub struct Process {
    /// What it is.
    pub name: &'static str,
    /// Its id when it runs.
    pub pid: Option<i32>,
}

/// What of an environment runs.
#[derive(Debug)]
pub struct Status {
    /// What is remembered of it.
    pub state: State,
    /// Its processes.
    pub processes: Vec<Process>,
}

impl Status {
    /// All processes run.
    pub fn running(&self) -> bool {
        self.processes.iter().all(|process| process.pid.is_some())
    }
}

/// Looks at the environment of a home.
pub fn status(home: &Home) -> Result<Status, Error> {
    let state = home.state()?;
    let processes = PROCESSES
        .iter()
        .map(|(name, file, program)| Process {
            name,
            pid: home::running_pid(&home.pid_file(file), program),
        })
        .collect();
    Ok(Status { state, processes })
}
