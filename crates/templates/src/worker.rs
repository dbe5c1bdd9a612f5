//! One Ruby process: started, asked, and ended when it is dropped.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::isolation;

macro_rules! program {
    ($evaluator:literal) => {
        concat!(
            include_str!("../ruby/exchange.rb"),
            include_str!($evaluator)
        )
    };
}

/// The program that a director's workers run.
pub(crate) const SCRIPT: &str = program!("../ruby/worker.rb");
/// The one of `create-env`, which sees jobs differently.
pub(crate) const CREATE_ENV_SCRIPT: &str = program!("../ruby/create_env.rb");

/// Why a worker gave no answer.
pub(crate) enum Failure {
    /// The process ended: how, and the end of its error output.
    Died { ended: String, output: String },
    /// No answer in time.
    Timeout,
    /// Not the protocol.
    Answer(String),
}

/// A template's outcome.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Text(String),
    Base64(String),
    Error(String),
}

impl Outcome {
    pub fn into_content(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64(text) => STANDARD.decode(text).map_err(|error| error.to_string()),
            Self::Error(text) => Err(text),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct JobAnswer {
    pub monit: Outcome,
    pub templates: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    jobs: Vec<JobAnswer>,
    failure: Option<String>,
}

/// A running worker.
pub(crate) struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    errors: File,
    /// How many requests it has answered.
    pub served: u32,
}

impl Worker {
    /// Starts Ruby. It is killed when the worker is dropped.
    pub fn start(ruby: &Path, memory: u64, script: &str) -> io::Result<Self> {
        let errors = tempfile::tempfile()?;
        let mut command = Command::new(ruby);
        command
            // Suggestions and code excerpts would become part of the messages that people match on.
            .args([
                "-W0",
                "--disable=did_you_mean,error_highlight",
                "-e",
                script,
            ])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            .kill_on_drop(true);
        isolation::confine(&mut command, memory);
        let mut child = command.spawn()?;
        let requests = child
            .stdin
            .take()
            .ok_or_else(|| io::Error::other("no standard input"))?;
        let answers = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no standard output"))?;
        Ok(Self {
            child,
            requests,
            answers: BufReader::new(answers),
            errors,
            served: 0,
        })
    }

    /// Sends a request line and waits for its answer. After a failure the worker must not be used again.
    pub async fn ask(&mut self, line: &str, timeout: Duration) -> Result<Vec<JobAnswer>, Failure> {
        let mut answer = String::new();
        let exchange = async {
            self.requests.write_all(line.as_bytes()).await?;
            self.requests.flush().await?;
            self.answers.read_line(&mut answer).await
        };
        match tokio::time::timeout(timeout, exchange).await {
            Err(_) => return Err(Failure::Timeout),
            Ok(Err(_) | Ok(0)) => return Err(self.death().await),
            Ok(Ok(_)) if !answer.ends_with('\n') => return Err(self.death().await),
            Ok(Ok(_)) => {}
        }
        self.served += 1;
        let answer: Answer =
            serde_json::from_str(&answer).map_err(|error| Failure::Answer(error.to_string()))?;
        match answer.failure {
            Some(failure) => Err(Failure::Answer(failure)),
            None => Ok(answer.jobs),
        }
    }

    async fn death(&mut self) -> Failure {
        // Its output is closed, so it is ending; a second is more than it needs.
        let ended = match tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it closed its output".to_owned(),
        };
        let mut output = String::new();
        if let Ok(text) = tail(&mut self.errors)
            && !text.trim().is_empty()
        {
            output = format!(". It said: {}", text.trim());
        }
        Failure::Died { ended, output }
    }
}

fn tail(file: &mut File) -> io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(2048)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
