//! bosun-agent: one per VM. Takes the director's requests from NATS, installs and supervises jobs, answers what runs.
//!
//! Called as `monit`, or with `monit` as its first argument, it is the command that talks to the running agent's
//! supervisor.

mod actions;
mod agent;
mod applier;
mod archive;
mod blobs;
mod bootstrap;
mod bus;
mod dispatch;
mod error;
mod files;
mod heartbeat;
mod layout;
mod monit_cli;
mod options;
mod platform;
mod settings;
mod spec;
mod supervisor;
mod sys;
mod tasks;
mod vitals;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use options::{Machine, Options};
use tokio::signal::unix::{SignalKind, signal};

/// The base directory of a VM.
pub(crate) const DEFAULT_BASE: &str = "/var/vcap";

/// Threads for files go away soon after their work: the agent is idle nearly always.
const IDLE_THREADS_END: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    let called_as = Path::new(&program).file_name().unwrap_or_default();
    if called_as == "monit" {
        return monit(&arguments);
    }
    if arguments.first().is_some_and(|first| first == "monit") {
        return monit(&arguments[1..]);
    }
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bosun-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn monit(arguments: &[String]) -> ExitCode {
    match monit_cli::run(arguments) {
        Ok((true, text)) => {
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Ok((false, text)) => {
            let _ = write!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let mut options = Options::parse(arguments)?;
    options.machine = Machine::from_environment();
    if options.version {
        let _ = writeln!(
            std::io::stdout(),
            "bosun-agent {}",
            env!("CARGO_PKG_VERSION")
        );
        return Ok(());
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(IDLE_THREADS_END)
        .max_blocking_threads(8)
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Jobs go on when the agent ends.
        tokio::select! {
            outcome = bootstrap::run(options) => outcome.map_err(anyhow::Error::from),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}
