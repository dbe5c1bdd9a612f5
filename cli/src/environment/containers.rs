//! What `bosun up` and `bosun down` ask of the container CPI beyond the contract: to look at this machine, to make
//! the bridge before anything listens on it, and to stop and start all containers.

use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use super::home::{Home, Isolation, State, program, write_private};
use super::{Error, director_config};

/// What `bosun-cpi-local probe` says of this machine.
#[derive(Debug, Deserialize)]
pub struct Probe {
    /// How containers can be kept apart here.
    pub isolation: Isolation,
    /// Why not better.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Looks at what this machine allows.
pub async fn probe() -> Result<Probe, Error> {
    let output = run(
        "probe",
        Command::new(program("bosun-cpi-local")?).arg("probe"),
    )
    .await?;
    serde_json::from_str(&output).map_err(|error| Error::Containers {
        command: "probe",
        detail: format!("its answer can't be understood: {error}"),
    })
}

/// Makes the bridge, which then stays without containers too.
pub async fn prepare(home: &Home, state: &State) -> Result<(), Error> {
    configured(home, state, "prepare").await.map(drop)
}

/// Starts the containers that `stop` or a reboot of the machine stopped.
pub async fn start(home: &Home, state: &State) -> Result<(), Error> {
    configured(home, state, "start").await.map(drop)
}

/// Stops all containers and takes the bridge away. Their data stays.
pub async fn stop(home: &Home, state: &State) -> Result<(), Error> {
    configured(home, state, "stop").await.map(drop)
}

/// Removes all containers, disks and stemcells, and the bridge.
pub async fn cleanup(home: &Home, state: &State) -> Result<(), Error> {
    configured(home, state, "cleanup").await.map(drop)
}

async fn configured(home: &Home, state: &State, command: &'static str) -> Result<String, Error> {
    let config = home.path().join("containers.json");
    write_private(
        &config,
        &director_config::cpi_properties(home, state).to_string(),
    )?;
    run(
        command,
        Command::new(program("bosun-cpi-local")?)
            .arg(command)
            .arg(&config),
    )
    .await
}

async fn run(command: &'static str, process: &mut Command) -> Result<String, Error> {
    let output = process.stdin(Stdio::null()).output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let detail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let detail = if detail.is_empty() {
        format!("it ended with {}", output.status)
    } else {
        detail
    };
    Err(Error::Containers { command, detail })
}
