//! The process that keeps an environment's servers running: started by `bosun up`, ended by `bosun down`.
//!
//! Postgres first, then the message server, then the director; one that ends by itself is started again, at once the
//! first time and with growing pauses when it keeps ending. On SIGTERM all are ended in the opposite order.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use services::{Nats, Postgres, nats, postgres};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::home::{self, Home};
use super::{Error, State};

/// The longest pause before a server that keeps ending is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After running this long, an end is no longer one of a row.
const STEADY: Duration = Duration::from_secs(30);
/// The director's database.
pub const DATABASE: &str = "bosun";

/// Runs the servers until SIGTERM.
pub async fn run(home: &Home) -> Result<(), Error> {
    // A session of its own: the terminal of `bosun up` may close.
    let _ = nix::unistd::setsid();
    let state = home.state()?;
    write_pid(home, "supervisor", Some(std::process::id()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let mut postgres = start_postgres(home).await?;
    let mut nats = start_nats(home, &state).await?;
    let mut director = start_director(home).await?;
    let mut pauses = Pauses::default();

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            status = postgres.wait() => {
                ended("postgres", status);
                match pauses.postgres.retry(|| start_postgres(home), &mut terminate).await {
                    Some(started) => postgres = started,
                    None => break,
                }
            }
            status = nats.wait() => {
                ended("nats-server", status);
                match pauses.nats.retry(|| start_nats(home, &state), &mut terminate).await {
                    Some(started) => nats = started,
                    None => break,
                }
            }
            status = director.wait() => {
                ended("bosun-director", status);
                match pauses.director.retry(|| start_director(home), &mut terminate).await {
                    Some(started) => director = started,
                    None => break,
                }
            }
        }
    }

    stop_director(&mut director).await?;
    nats.stop().await?;
    postgres.stop().await?;
    for process in ["director", "nats", "postgres", "supervisor"] {
        write_pid(home, process, None)?;
    }
    Ok(())
}

async fn start_postgres(home: &Home) -> Result<Postgres, Error> {
    let postgres = Postgres::start(postgres::Options {
        dir: home.postgres(),
        volatile: false,
        mortal: false,
    })
    .await?;
    postgres.ensure_database(DATABASE).await?;
    write_pid(home, "postgres", postgres.pid())?;
    Ok(postgres)
}

async fn start_nats(home: &Home, state: &State) -> Result<Nats, Error> {
    let nats = Nats::start(nats_options(home, state)).await?;
    write_pid(home, "nats", nats.pid())?;
    Ok(nats)
}

/// The message server of an environment.
pub fn nats_options(home: &Home, state: &State) -> nats::Options {
    nats::Options {
        dir: home.nats(),
        address: state
            .host_address()
            .parse()
            .expect("made of numbers and dots"),
        port: state.nats_port,
        tls: Some(nats::Tls {
            certificate: home.cert("nats.pem"),
            private_key: home.cert("nats.key"),
            client_ca: home.cert("nats-ca.pem"),
        }),
        authorization_file: Some(home.nats_authorization()),
        mortal: false,
    }
}

async fn start_director(home: &Home) -> Result<Child, Error> {
    let pid_file = home.pid_file("director");
    // One that an earlier supervisor left behind holds the port.
    if let Some(pid) = home::running_pid(&pid_file, "bosun-director") {
        services::stop_pid(pid, Signal::SIGTERM, Duration::from_secs(15)).await;
    }
    let log = home.logs().join("director.log");
    let output = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)?
        .into_file();
    let child = Command::new(home::program("bosun-director")?)
        .arg("--config")
        .arg(home.director_config())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    write_pid(home, "director", child.id())?;
    Ok(child)
}

async fn stop_director(director: &mut Child) -> Result<(), Error> {
    let Some(pid) = director.id() else {
        return Ok(());
    };
    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
    // The step it is at may end first; what is not done then goes on after the next start.
    if tokio::time::timeout(Duration::from_secs(20), director.wait())
        .await
        .is_err()
    {
        director.kill().await?;
    }
    Ok(())
}

fn write_pid(home: &Home, process: &str, pid: Option<u32>) -> Result<(), Error> {
    let path = home.pid_file(process);
    match pid {
        Some(pid) => fs_err::write(path, format!("{pid}\n"))?,
        None => remove_if_there(&path)?,
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn ended(program: &str, status: std::io::Result<ExitStatus>) {
    match status {
        Ok(status) => {
            tracing::warn!(program, %status, "a server ended by itself and is started again")
        }
        Err(error) => {
            tracing::warn!(program, %error, "a server can't be watched and is started again")
        }
    }
}

#[derive(Default)]
struct Pauses {
    postgres: Pause,
    nats: Pause,
    director: Pause,
}

/// How long to wait before a server is started again: not at all after a steady run, else twice as long each time.
struct Pause {
    next: Duration,
    since: Instant,
}

impl Default for Pause {
    fn default() -> Self {
        Pause {
            next: Duration::ZERO,
            since: Instant::now(),
        }
    }
}

impl Pause {
    /// Starts a server until it starts; `None` when the supervisor shall end before that.
    async fn retry<T, F>(&mut self, start: impl Fn() -> F, terminate: &mut Signals) -> Option<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        if self.since.elapsed() > STEADY {
            self.next = Duration::ZERO;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.next) => {}
                _ = terminate.recv() => return None,
            }
            self.next = (self.next * 2).clamp(Duration::from_millis(100), LONGEST_PAUSE);
            match start().await {
                Ok(server) => {
                    self.since = Instant::now();
                    return Some(server);
                }
                Err(error) => tracing::error!(%error, "a server does not start; trying again"),
            }
        }
    }
}
