//! `bosun`, the command line: a drop-in for the `bosh` CLI that also runs a whole environment.
//!
//! `commands` says what can be typed, `ops` what it does, `ui` how it is shown, `config` where settings come
//! from, `interpolate` how manifests are put together.

mod commands;
mod config;
mod environment;
mod error;
mod explain;
mod interpolate;
mod interrupt;
mod json;
mod ops;
mod single_vm;
mod stemcell;
mod ui;
mod yaml;

use commands::Parsed;
use error::{Error, Result};
use std::process::ExitCode;
use ui::Ui;

fn main() -> ExitCode {
    let plain = Ui::new(ui::Options::before_flags());
    let cli = match commands::parse(std::env::args_os()) {
        Ok(Parsed::Run(cli)) => cli,
        Ok(Parsed::Show(text)) => {
            plain.block(text);
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&plain, &error),
    };
    let settings = match start(&cli) {
        Ok(settings) => settings,
        Err(error) => return fail(&plain, &error),
    };
    let ui = Ui::new(settings.ui.clone());
    let context = ops::Context {
        ui: ui.clone(),
        settings,
        proxy: tokio::sync::OnceCell::new(),
    };
    if ui.is_watched() && !cli.command.is_local() {
        interrupt::watch();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&ui, &Error::message(error.to_string())),
    };
    let code = match runtime.block_on(ops::run(&context, *cli)) {
        Ok(()) => {
            ui.line("Succeeded");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = fail(&ui, &error);
            if ui.is_watched()
                && let Some(hint) = explain::hint(&error, ui.task_error())
            {
                eprintln!("{hint}");
            }
            code
        }
    };
    ui.flush();
    code
}

/// Everything that can be wrong before a command begins.
fn start(cli: &commands::Cli) -> Result<config::Settings> {
    logging()?;
    config::Settings::from_flags(&cli.globals)
}

/// `BOSH_LOG_LEVEL` and `BOSH_LOG_PATH`: what the CLI does, for who looks for a fault.
fn logging() -> Result<()> {
    let level = match config::optional("BOSH_LOG_LEVEL")
        .map(|text| text.to_lowercase())
        .as_deref()
    {
        None | Some("none") => return Ok(()),
        Some("debug") => tracing::Level::DEBUG,
        Some("info") => tracing::Level::INFO,
        Some("warn") => tracing::Level::WARN,
        Some("error") => tracing::Level::ERROR,
        Some(_) => return Err(Error::message("Invalid BOSH_LOG_LEVEL value")),
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false);
    match config::optional("BOSH_LOG_PATH") {
        Some(path) => {
            let file = fs_err::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)?;
            log.with_writer(std::sync::Mutex::new(file.into_file()))
                .init();
        }
        None => log.with_writer(std::io::stderr).init(),
    }
    Ok(())
}

fn fail(ui: &Ui, error: &Error) -> ExitCode {
    let text = error.render();
    if !text.is_empty() {
        ui.error_line(text);
    }
    ui.error_line("Exit code 1");
    ExitCode::FAILURE
}
