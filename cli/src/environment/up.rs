//! `bosun up`: everything there, everything running, the CLI logged in.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::credentials::{self, Credentials};
use super::home::{self, Home, Isolation, State};
use super::{Error, containers, director_config};

/// The user that the CLI is logged in as.
pub const USER: &str = "admin";
/// The original's ports, taken when they are free.
const DIRECTOR_PORT: u16 = 25555;
const NATS_PORT: u16 = 4222;
/// How long the servers may take. The first start makes a database cluster.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// What may be chosen when an environment is made. Later starts keep what was chosen.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the director and alias in the CLI.
    pub name: String,
    /// The first two numbers of the addresses of containers; chosen by the isolation when absent.
    pub network_prefix: Option<String>,
}

/// A running environment.
pub struct Environment {
    /// What is remembered of it.
    pub state: State,
    /// Its passwords.
    pub credentials: Credentials,
    /// The certificate that its API is checked against, PEM.
    pub ca: String,
    /// It ran already.
    pub was_running: bool,
    /// What a person should know about this machine.
    pub notice: Option<String>,
}

/// Brings the environment of a home up, and waits until it answers.
///
/// `report` is told what is waited for.
pub async fn up(
    home: &Home,
    options: &Options,
    report: &mut dyn FnMut(&str),
) -> Result<Environment, Error> {
    home.create()?;
    let _lock = home.lock()?;
    let mut notice = None;
    let state = match home.load_state()? {
        Some(state) => state,
        None => {
            report("looking at what this machine allows");
            let probe = containers::probe().await?;
            if probe.isolation == Isolation::Plain {
                let reason = probe
                    .reason
                    .unwrap_or_else(|| "namespaces are refused".to_owned());
                notice = Some(format!(
                    "Containers are only kept apart plainly (changed root, loopback addresses) on this machine: {reason}"
                ));
            }
            new_state(options, probe.isolation)?
        }
    };
    home.save_state(&state)?;
    let credentials = Credentials::ensure(home, &state).await?;
    director_config::write(home, &state, &credentials)?;
    let ca = credentials::director_ca(home)?;

    let was_running = home::running_pid(&home.pid_file("supervisor"), "bosun").is_some();
    if !was_running {
        containers::prepare(home, &state).await?;
        start_supervisor(home)?;
    }
    wait_ready(home, &state, &ca, report).await?;
    report("starting containers that were stopped");
    containers::start(home, &state).await?;
    Ok(Environment {
        state,
        credentials,
        ca,
        was_running,
        notice,
    })
}

fn new_state(options: &Options, isolation: Isolation) -> Result<State, Error> {
    let network_prefix = options.network_prefix.clone().unwrap_or_else(|| {
        match isolation {
            Isolation::Namespaces => "10.244",
            Isolation::Plain => "127.244",
        }
        .to_owned()
    });
    // Tried on all addresses: the bridge is not there yet.
    let port = |wanted: u16| -> std::io::Result<u16> {
        match std::net::TcpListener::bind(("0.0.0.0", wanted)) {
            Ok(_) => Ok(wanted),
            Err(_) => services::free_port("0.0.0.0"),
        }
    };
    Ok(State {
        name: options.name.clone(),
        director_port: port(DIRECTOR_PORT)?,
        nats_port: port(NATS_PORT)?,
        network_prefix,
        isolation,
    })
}

fn start_supervisor(home: &Home) -> Result<(), Error> {
    let log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(supervisor_log(home))?
        .into_file();
    // Written by the supervisor; an old one must not be taken for it.
    let _ = fs_err::remove_file(home.pid_file("supervisor"));
    std::process::Command::new(std::env::current_exe()?)
        .arg("environment-supervisor")
        .arg("--home")
        .arg(home.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(())
}

/// The file that the supervisor writes to.
pub fn supervisor_log(home: &Home) -> std::path::PathBuf {
    home.logs().join("supervisor.log")
}

async fn wait_ready(
    home: &Home,
    state: &State,
    ca: &str,
    report: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    report("waiting for the director");
    let certificate =
        reqwest::Certificate::from_pem(ca.as_bytes()).map_err(std::io::Error::other)?;
    let client = reqwest::Client::builder()
        .tls_certs_only([certificate])
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .map_err(std::io::Error::other)?;
    let url = format!("{}/info", state.director_url());
    let until = Instant::now() + READY_LIMIT;
    let mut supervisor_seen = false;
    loop {
        let detail = match client.get(&url).send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => format!("{url} answered {}", response.status()),
            Err(error) => format!("{url} does not answer ({error})"),
        };
        let supervisor = home::running_pid(&home.pid_file("supervisor"), "bosun").is_some();
        if supervisor_seen && !supervisor {
            let log = supervisor_log(home);
            let detail = last_line(&log).unwrap_or_else(|| "its supervisor ended".to_owned());
            return Err(Error::NotReady { detail, log });
        }
        supervisor_seen |= supervisor;
        if Instant::now() > until {
            let log = home.logs().join("director.log");
            let detail = last_line(&log).unwrap_or(detail);
            return Err(Error::NotReady { detail, log });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn last_line(log: &std::path::Path) -> Option<String> {
    let text = fs_err::read_to_string(log).ok()?;
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map(str::to_owned)
}
