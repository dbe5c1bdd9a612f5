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

    /// The same without asking for a terminal on the other side, for machines that can't give one (plain isolation has
    /// no pseudo terminals). `shell` is run when no command was given.
    fn without_terminal(&self, shell: &[&str]) -> Self {
        let mut arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| if argument == "-tt" { "-T" } else { argument }.to_owned())
            .collect();
        arguments.extend(shell.iter().map(|word| (*word).to_owned()));
        Program {
            name: self.name,
            arguments,
        }
    }

    /// Starts it for raw data on its output, without a terminal on the other side and out of reach of this terminal's
    /// Ctrl-C: closing its input is how it is asked to end.
    pub fn spawn_binary(&self) -> std::io::Result<tokio::process::Child> {
        let program = self.without_terminal(&[]);
        Command::new(program.name)
            .args(&program.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
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

/// What ssh says, before anything was run, when the other side has no terminal to give.
const NO_TERMINAL: &str = "PTY allocation request failed";

/// Hands the terminal to the program.
pub async fn interactive(program: &Program) -> Result<()> {
    match hand_over(program).await {
        Ok((status, _)) if status.success() => Ok(()),
        Ok((_, said)) if said.contains(NO_TERMINAL) => {
            let plain = program.without_terminal(&["exec", "bash", "-il"]);
            match hand_over(&plain).await {
                Ok((status, _)) if status.success() => Ok(()),
                Ok((status, _)) => Err(listed(&[plain.failure(&how(status))])),
                Err(error) => Err(listed(&[plain.failure(&missing(&plain, &error))])),
            }
        }
        Ok((status, _)) => Err(listed(&[program.failure(&how(status))])),
        Err(error) => Err(listed(&[program.failure(&missing(program, &error))])),
    }
}

/// Runs a program on this terminal. Its own messages (the other side's come with the terminal's text) are passed on and
/// returned.
async fn hand_over(program: &Program) -> std::io::Result<(std::process::ExitStatus, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut child = Command::new(program.name)
        .args(&program.arguments)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut said = Vec::new();
    if let Some(mut messages) = child.stderr.take() {
        let mut own = tokio::io::stderr();
        let mut buffer = [0; 4096];
        loop {
            let count = messages.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            own.write_all(&buffer[..count]).await?;
            own.flush().await?;
            said.extend_from_slice(&buffer[..count]);
        }
    }
    let status = child.wait().await?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// Runs all programs; lines are printed as `label: stdout | text` when `stream`.
pub async fn run_all(ui: &Ui, programs: Vec<(String, Program)>, stream: bool) -> Vec<Outcome> {
    let mut running = JoinSet::new();
    for (label, program) in programs {
        let ui = stream.then(|| ui.clone());
        running.spawn(async move {
            let outcome = run(label.clone(), program.clone(), ui.clone()).await;
            if outcome.error.is_some() && outcome.stderr.contains(NO_TERMINAL) {
                return run(label, program.without_terminal(&[]), ui).await;
            }
            outcome
        });
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
