//! Tasks: starting one by a request, following it, its outputs (spec director-api §3, cli §5).

use crate::http::Client;
use crate::request::Request;
use crate::{Error, Query, Wrap};
use bytes::Bytes;
use domain::TaskId;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// Polls get slower up to the original's half second; a short task is not waited for that long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// How long a director may be away while its task is followed: it finishes tasks after a restart, so there is
/// something to wait for.
const OUTAGE: Duration = Duration::from_secs(60);

/// A task object (spec director-api §3.2).
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub state: String,
    #[serde(default)]
    pub description: String,
    /// Unix seconds of the last change; the end, for a task that ended.
    #[serde(default)]
    pub timestamp: Option<i64>,
    #[serde(default)]
    pub started_at: Option<i64>,
    #[serde(default)]
    pub result: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub deployment: Option<String>,
    #[serde(default)]
    pub context_id: Option<String>,
}

impl Task {
    /// Whether it may still change: queued, processing or being cancelled.
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "queued" | "processing" | "cancelling")
    }
}

/// Which of a task's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    Event,
    Debug,
    Cpi,
    Result,
}

impl OutputKind {
    pub fn as_str(self) -> &'static str {
        match self {
            OutputKind::Event => "event",
            OutputKind::Debug => "debug",
            OutputKind::Cpi => "cpi",
            OutputKind::Result => "result",
        }
    }
}

/// Told what happens to a task that is followed.
pub trait Reporter: Send + Sync {
    /// The director accepted it.
    fn started(&self, id: TaskId);
    /// More output; not necessarily ending at a line.
    fn output(&self, id: TaskId, chunk: &[u8]);
    /// It ended in `state`; all output was given before.
    fn finished(&self, id: TaskId, state: &str);
    /// Called at every poll with the state seen.
    fn polled(&self, _task: &Task) {}
}

/// A reporter for those who only want the outcome.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoReport;

impl Reporter for NoReport {
    fn started(&self, _: TaskId) {}
    fn output(&self, _: TaskId, _: &[u8]) {}
    fn finished(&self, _: TaskId, _: &str) {}
}

impl Client {
    /// One task.
    pub async fn task(&self, id: TaskId) -> Result<Task, Error> {
        self.get_json(&format!("/tasks/{id}"))
            .await
            .wrap(|| format!("Finding task '{id}'"))
    }

    /// Running tasks of all kinds or, unless `all`, of the kinds that operators start.
    pub async fn current_tasks(
        &self,
        deployment: Option<&str>,
        all: bool,
    ) -> Result<Vec<Task>, Error> {
        let path = Query::new()
            .with("state", "processing,cancelling,queued")
            .with("verbose", if all { "2" } else { "1" })
            .with_some("deployment", deployment)
            .on("/tasks");
        self.get_json(&path).await.wrap(|| "Finding current tasks")
    }

    /// The newest `limit` tasks.
    pub async fn recent_tasks(
        &self,
        limit: u32,
        deployment: Option<&str>,
        all: bool,
    ) -> Result<Vec<Task>, Error> {
        let path = Query::new()
            .with("limit", limit.to_string())
            .with("verbose", if all { "2" } else { "1" })
            .with_some("deployment", deployment)
            .on("/tasks");
        self.get_json(&path).await.wrap(|| "Finding recent tasks")
    }

    /// Asks a task to stop at its next checkpoint.
    pub async fn cancel_task(&self, id: TaskId) -> Result<(), Error> {
        self.send(Request::delete(format!("/task/{id}")))
            .await
            .wrap(|| format!("Cancelling task '{id}'"))?;
        Ok(())
    }

    /// Cancels all tasks that match; `None` leaves a filter to the director's default.
    pub async fn cancel_tasks(
        &self,
        types: &[String],
        states: &[String],
        deployment: Option<&str>,
    ) -> Result<(), Error> {
        let mut body = serde_json::Map::new();
        if let Some(deployment) = deployment {
            body.insert("deployment".to_owned(), json!(deployment));
        }
        if !states.is_empty() {
            body.insert("states".to_owned(), json!(states));
        }
        if !types.is_empty() {
            body.insert("types".to_owned(), json!(types));
        }
        self.send(Request::json(
            Method::POST,
            "/tasks/cancel",
            &serde_json::Value::Object(body),
        ))
        .await
        .wrap(|| "Cancelling tasks")?;
        Ok(())
    }

    /// All of an output, empty when there is none.
    pub async fn task_output(&self, id: TaskId, kind: OutputKind) -> Result<Bytes, Error> {
        let path = format!("/tasks/{id}/output?type={}", kind.as_str());
        Ok(self.send(Request::get(path)).await?.body)
    }

    /// Sends a request that the director answers with a task, follows it to its end and gives its
    /// result output.
    pub async fn run_task(
        &self,
        request: Request,
        reporter: &dyn Reporter,
    ) -> Result<(TaskId, Bytes), Error> {
        let task = self.start_task(request).await?;
        self.follow_task(task.id, OutputKind::Event, reporter)
            .await?;
        let result = self.task_output(task.id, OutputKind::Result).await?;
        Ok((task.id, result))
    }

    /// Runs a deletion. One that failed is a success when `is_gone` says then that there is nothing left.
    pub(crate) async fn run_deletion(
        &self,
        path: String,
        is_gone: impl Future<Output = Result<bool, Error>>,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let Err(error) = self.run_task(Request::delete(path), reporter).await else {
            return Ok(());
        };
        match is_gone.await {
            Ok(true) => Ok(()),
            _ => Err(error),
        }
    }

    /// Sends a request that the director answers with a task, without waiting for it.
    pub async fn start_task(&self, request: Request) -> Result<Task, Error> {
        let response = self.send(request).await?;
        serde_json::from_slice(&response.body).map_err(|source| match response.redirected_to {
            Some(_) => Error::Decode(source),
            None => Error::NoTask(String::from_utf8_lossy(&response.body).into_owned()),
        })
    }

    /// State before output: when an end is seen, all output can be read.
    async fn poll_task(
        &self,
        id: TaskId,
        path: &str,
        offset: u64,
    ) -> Result<(Task, Option<Bytes>), Error> {
        let task: Task = self
            .get_json(&format!("/tasks/{id}"))
            .await
            .wrap(|| "Getting task state")?;
        let news = self
            .get_range(path, offset)
            .await
            .wrap(|| "Getting task output")?;
        Ok((task, news))
    }

    /// Reports an output of a task until it ends; an end other than `done` is an error.
    pub async fn follow_task(
        &self,
        id: TaskId,
        kind: OutputKind,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        reporter.started(id);
        let path = format!("/tasks/{id}/output?type={}", kind.as_str());
        let mut offset = 0;
        let mut pause = FIRST_PAUSE;
        let mut heard = Instant::now();
        let state = loop {
            let (task, news) = match self.poll_task(id, &path, offset).await {
                Ok(answer) => answer,
                Err(error) if error.is_network() && heard.elapsed() < OUTAGE => {
                    tracing::debug!(%id, %error, "the director is away, its task is still followed");
                    tokio::time::sleep(LAST_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            heard = Instant::now();
            reporter.polled(&task);
            if let Some(chunk) = news.filter(|chunk| !chunk.is_empty()) {
                offset += chunk.len() as u64;
                reporter.output(id, &chunk);
                pause = FIRST_PAUSE;
            }
            if !task.is_running() {
                break task.state;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        };
        reporter.finished(id, &state);
        if state == "done" {
            Ok(())
        } else {
            Err(Error::TaskFailed {
                id: id.get(),
                state,
            })
        }
    }
}
