//! `bosun down`: everything stopped, nothing lost, unless the data is to go too.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::home::{self, Home};
use super::{Error, State, containers};

/// How long the servers may take to end: the step that the director is at may end first.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug)]
pub struct Down {
    /// The environment, whose alias may be taken out of the CLI's configuration.
    pub state: State,
    /// It ran.
    pub was_running: bool,
}

/// Ends all processes and containers of a home. With `delete_data` the home goes too.
pub async fn down(
    home: &Home,
    delete_data: bool,
    report: &mut dyn FnMut(&str),
) -> Result<Down, Error> {
    let state = home.state()?;
    let lock = home.lock()?;
    report("stopping the servers");
    let supervisor = home::running_pid(&home.pid_file("supervisor"), "bosun");
    let was_running = match supervisor {
        Some(pid) => services::stop_pid(pid, Signal::SIGTERM, STOP_LIMIT).await,
        None => false,
    };
    stop_left_overs(home).await;
    report("stopping the containers");
    if delete_data {
        containers::cleanup(home, &state).await?;
    } else {
        containers::stop(home, &state).await?;
    }
    if delete_data {
        report("deleting the data");
        fs_err::remove_dir_all(home.path())?;
    }
    drop(lock);
    Ok(Down { state, was_running })
}

/// Ends what a killed supervisor left behind.
async fn stop_left_overs(home: &Home) {
    for (process, program, signal) in [
        ("director", "bosun-director", Signal::SIGTERM),
        ("nats", "nats-server", Signal::SIGTERM),
        ("postgres", "postgres", Signal::SIGINT),
    ] {
        let pid_file = home.pid_file(process);
        if let Some(pid) = home::running_pid(&pid_file, program) {
            services::stop_pid(pid, signal, STOP_LIMIT).await;
        }
        let _ = fs_err::remove_file(pid_file);
    }
}
