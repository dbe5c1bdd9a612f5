//! From a request to its reply: the table of actions (`docs/spec/agent-protocol.md` §2) and the errors around them.

use std::sync::Arc;

use agent_protocol::{Request, Response};
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::actions::{
    apply, basic, compile_package, disks, drain, get_state, logs, run_errand, run_script, ssh,
    start, stop, sync_dns, update_settings, upload_blob,
};
use crate::agent::Agent;
use crate::error::{Context, Error, Result};
use crate::tasks::{Job, OnRestart};

/// One call of an action.
pub struct Call {
    /// Whose action it is.
    pub agent: Arc<Agent>,
    /// The director's message protocol.
    pub protocol: u32,
    /// Positional arguments.
    pub arguments: Vec<Value>,
    /// Fires when the task is cancelled.
    pub cancel: CancellationToken,
}

impl Call {
    /// The argument at `index`, of which the action needs `needed` in all.
    pub fn argument<T: DeserializeOwned>(&self, index: usize, needed: usize) -> Result<T> {
        let value = self.arguments.get(index).ok_or_else(|| {
            Error::new(format!(
                "Extracting method arguments from payload: Not enough arguments, expected {needed}, got {}",
                self.arguments.len()
            ))
        })?;
        decode(value)
    }

    /// An argument that may be absent; null counts as absent.
    pub fn optional<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>> {
        match self.arguments.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => decode(value).map(Some),
        }
    }
}

fn decode<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value)
        .context("Extracting method arguments from payload: Unmarshalling action argument")
}

/// How an action is run.
#[derive(Clone, Copy)]
enum Mode {
    /// At once, in the order of arrival.
    Quick,
    /// At once, beside others.
    Beside,
    /// One after another with the others of this mode.
    InTurn,
    /// As a task.
    Task(OnRestart),
    /// As a task that can be cancelled.
    CancellableTask(OnRestart),
    /// As a task from protocol 3 on, at once before.
    TaskSinceProtocol3,
}

type Handler = fn(Call) -> BoxFuture<'static, Result<Value>>;

struct Action {
    name: &'static str,
    mode: Mode,
    run: Handler,
}

macro_rules! action {
    ($name:literal, $mode:expr, $($handler:tt)+) => {
        Action { name: $name, mode: $mode, run: |call| Box::pin($($handler)+(call)) }
    };
}

use Mode::{Beside, CancellableTask, InTurn, Quick, Task, TaskSinceProtocol3};
use OnRestart::{Fail, Forget, Repeat};

static ACTIONS: &[Action] = &[
    action!("ping", Quick, basic::ping),
    action!("info", Quick, basic::info),
    action!("get_task", Quick, basic::get_task),
    action!("cancel_task", Quick, basic::cancel_task),
    action!("get_state", Beside, get_state::get_state),
    action!("prepare", Task(Repeat), apply::prepare),
    action!("apply", Task(Repeat), apply::apply),
    action!("start", InTurn, start::start),
    action!("stop", Task(Repeat), stop::stop),
    action!("drain", CancellableTask(Repeat), drain::drain),
    action!("run_script", Task(Repeat), run_script::run_script),
    action!("run_errand", CancellableTask(Fail), run_errand::run_errand),
    action!(
        "compile_package",
        Task(Repeat),
        compile_package::compile_package
    ),
    action!(
        "compile_package_with_signed_url",
        Task(Repeat),
        compile_package::compile_package_with_signed_url
    ),
    action!("fetch_logs", Task(Repeat), logs::fetch_logs),
    action!(
        "fetch_logs_with_signed_url",
        Task(Repeat),
        logs::fetch_logs_with_signed_url
    ),
    action!("bundle_logs", Beside, logs::bundle_logs),
    action!("remove_file", InTurn, basic::remove_file),
    action!("ssh", InTurn, ssh::ssh),
    action!(
        "update_settings",
        Task(Repeat),
        update_settings::update_settings
    ),
    action!("upload_blob", Task(Forget), upload_blob::upload_blob),
    action!("sync_dns", InTurn, sync_dns::sync_dns),
    action!(
        "sync_dns_with_signed_url",
        InTurn,
        sync_dns::sync_dns_with_signed_url
    ),
    action!("delete_arp_entries", Beside, basic::delete_arp_entries),
    action!("mount_disk", Task(Repeat), disks::mount_disk),
    action!("unmount_disk", Task(Repeat), disks::unmount_disk),
    action!("migrate_disk", Task(Repeat), disks::migrate_disk),
    action!("list_disk", TaskSinceProtocol3, disks::list_disk),
    action!(
        "add_persistent_disk",
        Task(Repeat),
        disks::add_persistent_disk
    ),
    action!(
        "remove_persistent_disk",
        Task(Repeat),
        disks::remove_persistent_disk
    ),
    action!("add_dynamic_disk", Task(Repeat), disks::add_dynamic_disk),
    action!("remove_dynamic_disk", InTurn, disks::remove_dynamic_disk),
    action!("shutdown", InTurn, basic::shutdown),
];

fn find(method: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == method)
}

/// Whether the request is answered without waiting for anything, so that it may be handled in the order of arrival.
/// Queueing a task is.
pub fn is_quick(method: &str) -> bool {
    !matches!(
        find(method).map(|action| action.mode),
        Some(Beside | InTurn)
    )
}

/// Handles one request.
pub async fn handle(agent: &Arc<Agent>, request: Request) -> Response {
    let Some(action) = find(&request.method) else {
        return Response::exception(format!("unknown message {}", request.method));
    };
    let method = request.method.clone();
    if !matches!(method.as_str(), "ping" | "get_task" | "get_state") {
        tracing::info!(method, "request");
    }
    let on_restart = match action.mode {
        Task(on_restart) | CancellableTask(on_restart) => Some(on_restart),
        TaskSinceProtocol3 if request.protocol >= 3 => Some(Repeat),
        _ => None,
    };
    let outcome = match on_restart {
        Some(on_restart) => {
            let cancellable = matches!(action.mode, CancellableTask(_));
            agent
                .tasks
                .submit(request, on_restart, cancellable)
                .map(|id| json!({"agent_task_id": id, "state": "running"}))
        }
        None => {
            let _turn = match action.mode {
                InTurn => Some(agent.in_turn.lock().await),
                _ => None,
            };
            (action.run)(call(agent, request, CancellationToken::new())).await
        }
    };
    match outcome {
        Ok(value) => Response::value(value),
        Err(error) => {
            tracing::warn!(method, %error, "request failed");
            Response::exception(format!("Action Failed {method}: {error}"))
        }
    }
}

fn call(agent: &Arc<Agent>, request: Request, cancel: CancellationToken) -> Call {
    Call {
        agent: agent.clone(),
        protocol: request.protocol,
        arguments: request.arguments,
        cancel,
    }
}

/// Runs tasks one after another, for ever.
pub async fn work(agent: Arc<Agent>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        let method = job.request.method.clone();
        let outcome = match find(&method) {
            None => Err(Error::new(format!("unknown message {method}"))),
            Some(action) => {
                let running = (action.run)(call(&agent, job.request, job.cancel));
                match tokio::spawn(running).await {
                    Ok(outcome) => outcome,
                    Err(error) => Err(Error::new(format!(
                        "'{method}' ended unexpectedly: {error}"
                    ))),
                }
            }
        };
        match &outcome {
            Ok(_) => tracing::info!(method, task = job.id, "task done"),
            Err(error) => tracing::warn!(method, task = job.id, %error, "task failed"),
        }
        agent.tasks.finish(&job.id, outcome);
    }
}
