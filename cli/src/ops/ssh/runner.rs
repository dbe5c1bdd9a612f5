//! Runs one external program per host, all at once, streaming their output line by line.

use crate::error::{Error, Result};
use crate::ui::Ui;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;

/// A program with its arguments.
#[derive(Debug, Clone)]
pub struct Program {
    name: &'static str,
    arguments: Vec<String>,
}

/// What became of one host's program.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub label: String,
    pub stdout: String,
    pub stderr: String,
    pub exit_code: Option<i32>,
    /// Set unless the program ended with 0.
    pub error: Option<String>,
}

impl Program {
    pub fn new(name: &'static str, arguments: Vec<String>) -> Self {
        Program { name, arguments }
    }

    /// The original's text for a program that failed.
    fn failure(&self, how: &str) -> String {
        format!(
            "Running command: '{} {}', stdout: '', stderr: '': {how}",
            self.name,
            self.arguments.join(" ")
        )
    }
}

/// Hands the terminal to the program.
pub async fn interactive(program: &Program) -> Result<()> {
    let status = Command::new(program.name)
        .args(&program.arguments)
        .kill_on_drop(true)
        .status()
        .await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(listed(&[program.failure(&how(status))])),
        Err(error) => Err(listed(&[program.failure(&missing(program, &error))])),
    }
}

/// Runs all programs; lines are printed as `label: stdout | text` when `stream`.
pub async fn run_all(ui: &Ui, programs: Vec<(String, Program)>, stream: bool) -> Vec<Outcome> {
    let mut running = JoinSet::new();
    for (label, program) in programs {
        let ui = stream.then(|| ui.clone());
        running.spawn(run(label, program, ui));
    }
    let mut outcomes = running.join_all().await;
    outcomes.sort_by(|a, b| a.label.cmp(&b.label));
    outcomes
}

async fn run(label: String, program: Program, ui: Option<Ui>) -> Outcome {
    let child = Command::new(program.name)
        .args(&program.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut outcome = Outcome {
        label: label.clone(),
        stdout: String::new(),
        stderr: String::new(),
        exit_code: None,
        error: None,
    };
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            outcome.error = Some(program.failure(&missing(&program, &error)));
            return outcome;
        }
    };
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    (outcome.stdout, outcome.stderr) = tokio::join!(
        read(stdout, format!("{label}: stdout | "), ui.clone()),
        read(stderr, format!("{label}: stderr | "), ui),
    );
    match child.wait().await {
        Ok(status) => {
            outcome.exit_code = status.code();
            if !status.success() {
                outcome.error = Some(program.failure(&how(status)));
            }
        }
        Err(error) => outcome.error = Some(program.failure(&error.to_string())),
    }
    outcome
}

/// Collects a stream, printing its lines. The remote terminal ends them with `\r\n`.
async fn read<R: AsyncRead + Unpin>(stream: Option<R>, prefix: String, ui: Option<Ui>) -> String {
    let Some(stream) = stream else {
        return String::new();
    };
    let mut reader = BufReader::new(stream);
    let mut all = String::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await.unwrap_or(0) > 0 {
        let text = String::from_utf8_lossy(&line).replace("\r\n", "\n");
        if let Some(ui) = &ui {
            ui.block(format!("{prefix}{}\n", text.trim_end_matches(['\n', '\r'])));
        }
        all.push_str(&text);
        line.clear();
    }
    all
}

fn how(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown exit status".to_owned(),
    }
}

fn missing(program: &Program, error: &std::io::Error) -> String {
    format!("{error}; is '{}' installed?", program.name)
}

/// One error for all programs that failed.
pub fn failures(outcomes: &[Outcome]) -> Result<()> {
    let errors: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| outcome.error.clone())
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(listed(&errors))
    }
}

fn listed(errors: &[String]) -> Error {
    let head = match errors.len() {
        1 => "1 error occurred:".to_owned(),
        count => format!("{count} errors occurred:"),
    };
    let items: String = errors
        .iter()
        .map(|error| format!("\n\t* {error}"))
        .collect();
    Error::message(format!("{head}{items}\n\n"))
}
