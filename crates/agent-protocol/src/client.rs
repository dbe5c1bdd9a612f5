//! [`AgentClient`]: how a director asks agents to do things.
//!
//! One method per action. All of them come down to [`AgentClient::exchange`], which an implementation provides: one
//! message, one reply. Long actions are started and then asked about with `get_task` until they end, soon at first and
//! then once a second, so short ones cost no waiting.

use std::time::Duration;

use async_trait::async_trait;
use domain::{DiskCid, VmCid};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::actions::{
    BundleLogs, CompilePackage, CompilePackageWithSignedUrl, CompiledPackage, DrainType,
    ErrandResult, FetchLogsWithSignedUrl, FetchedLogs, LogBundle, SshResult, SyncDnsWithSignedUrl,
    UploadBlob,
};
use crate::answers::{compiled, decode, encode, synced, tolerate_unknown, unexpected};
use crate::apply_spec::ApplySpec;
use crate::envelope::{Reply, TaskState};
use crate::error::Error;
use crate::patience::{Patience, Target, timeouts};
use crate::settings::{DiskHint, UpdateSettings};
use crate::state::{AgentInfo, AgentState};

/// Talks to agents. Cheap to share; every method may be called concurrently. Dropping a future of a long action stops
/// asking, the agent goes on; [`AgentClient::wait_for_task`] takes it up again.
#[async_trait]
pub trait AgentClient: Send + Sync {
    /// Sends one message and returns the reply, retries included. An exception is [`Error::Remote`].
    async fn exchange(
        &self,
        to: &Target,
        method: &str,
        arguments: Vec<Value>,
        patience: Patience,
    ) -> Result<Reply, Error>;

    /// Sends a message without waiting for its reply.
    async fn send(&self, to: &Target, method: &str, arguments: Vec<Value>) -> Result<(), Error>;

    /// Asks for an action and returns its result, waiting for its task if it is a long one.
    async fn call(&self, to: &Target, method: &str, arguments: Vec<Value>) -> Result<Value, Error> {
        let patience = Patience::for_method(method);
        match self.exchange(to, method, arguments, patience).await? {
            Reply::Running(task) => {
                self.wait_for_task(to, method, &task.agent_task_id, None)
                    .await
            }
            Reply::Done(value) => Ok(value),
            Reply::Exception(exception) => Err(Error::remote(method, exception)),
        }
    }

    /// Asks `get_task` until the task has ended, however long it takes. When `cancel` fires the agent is told
    /// (`cancel_task`) and the answer is awaited.
    async fn wait_for_task(
        &self,
        to: &Target,
        method: &str,
        task: &str,
        cancel: Option<&CancellationToken>,
    ) -> Result<Value, Error> {
        // A task that makes the agent reconnect may swallow a question, so ask often rather than wait long.
        let patience = match method {
            "update_settings" => Patience {
                reply: timeouts::RESTARTING,
                retries: 74,
            },
            _ => Patience::for_method("get_task"),
        };
        let mut pause = Duration::from_millis(20);
        let mut told = false;
        loop {
            if !told && cancel.is_some_and(CancellationToken::is_cancelled) {
                told = true;
                self.cancel_task(to, task).await?;
            }
            let reply = self
                .exchange(to, "get_task", vec![json!(task)], patience)
                .await?;
            match reply {
                Reply::Running(TaskState { .. }) => {}
                Reply::Done(value) => return Ok(value),
                Reply::Exception(exception) => return Err(Error::remote(method, exception)),
            }
            match cancel {
                Some(cancel) if !told => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = cancel.cancelled() => {}
                    }
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(timeouts::POLL);
        }
    }

    /// One ping; the error is a timeout if nobody answers in `patience`.
    async fn ping(&self, to: &Target, patience: Duration) -> Result<(), Error> {
        let reply = self
            .exchange(to, "ping", vec![], Patience::once(patience))
            .await?;
        match reply {
            Reply::Done(Value::String(text)) if text == "pong" => Ok(()),
            Reply::Exception(exception) => Err(Error::remote("ping", exception)),
            _ => Err(unexpected(to, "ping", "not \"pong\"")),
        }
    }

    /// Pings until the agent answers or `limit` is over: after a VM was made or a disk attached.
    async fn wait_until_ready(
        &self,
        to: &Target,
        cid: &VmCid,
        limit: Duration,
    ) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + limit;
        // The first pings usually find nobody: a booting agent subscribes within milliseconds of its start, so ask
        // often at first.
        let mut patience = Duration::from_millis(50);
        loop {
            let error = match self.ping(to, patience).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let retry = match &error {
                Error::Timeout { .. } => true,
                Error::Remote { message, .. } => message.starts_with("restarting agent"),
                _ => false,
            };
            if !retry {
                return Err(error);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::NotReady {
                    cid: cid.to_string(),
                    agent: to.agent.to_string(),
                    seconds: limit.as_secs(),
                });
            }
            if matches!(error, Error::Remote { .. }) {
                tokio::time::sleep(patience).await;
            }
            patience = (patience * 3 / 2).min(timeouts::PING);
        }
    }

    /// The agent's API version; 0 from agents that don't know the question.
    async fn info(&self, to: &Target) -> Result<AgentInfo, Error> {
        match self.call(to, "info", vec![]).await {
            Err(error) if error.is_unknown_message() => Ok(AgentInfo { api_version: 0 }),
            other => decode(to, "info", other?),
        }
    }

    /// The instance's state; `full` adds vitals.
    async fn get_state(&self, to: &Target, full: bool) -> Result<AgentState, Error> {
        self.get_state_within(to, full, Patience::for_method("get_state"))
            .await
    }

    /// [`AgentClient::get_state`] with another patience: 5 s for listings, 10 s for cloud check, both asked once.
    async fn get_state_within(
        &self,
        to: &Target,
        full: bool,
        patience: Patience,
    ) -> Result<AgentState, Error> {
        let arguments = if full { vec![json!("full")] } else { vec![] };
        match self.exchange(to, "get_state", arguments, patience).await? {
            Reply::Done(value) => decode(to, "get_state", value),
            Reply::Exception(exception) => Err(Error::remote("get_state", exception)),
            Reply::Running(_) => Err(unexpected(to, "get_state", "a task")),
        }
    }

    /// Downloads what the spec needs, changing nothing yet.
    async fn prepare(&self, to: &Target, spec: &ApplySpec) -> Result<(), Error> {
        let arguments = vec![encode("prepare", spec)?];
        self.call(to, "prepare", arguments).await.map(drop)
    }

    /// Makes the spec the instance's.
    async fn apply(&self, to: &Target, spec: &ApplySpec) -> Result<(), Error> {
        let arguments = vec![encode("apply", spec)?];
        self.call(to, "apply", arguments).await.map(drop)
    }

    /// Starts the jobs; returns when that is accepted, not when they run.
    async fn start(&self, to: &Target) -> Result<(), Error> {
        self.call(to, "start", vec![]).await.map(drop)
    }

    /// Stops the jobs. compat: after 300 s, or when the agent says that it timed out waiting for services, this is a
    /// success: the VM is about to be changed or deleted anyway.
    async fn stop(&self, to: &Target) -> Result<(), Error> {
        match tokio::time::timeout(timeouts::STOP, self.call(to, "stop", vec![])).await {
            Err(_) => {
                tracing::warn!(agent = %to.agent, instance = %to.instance, "stop takes longer than 300 s, going on");
                Ok(())
            }
            Ok(Err(Error::Remote { message, .. }))
                if message.contains("Timed out waiting for service") =>
            {
                tracing::warn!(agent = %to.agent, instance = %to.instance, %message, "stop timed out, going on");
                Ok(())
            }
            Ok(other) => other.map(drop),
        }
    }

    /// Runs the drain scripts and waits for them; the result is how many seconds the director shall still wait
    /// (negative: ask again with [`DrainType::Status`] after that long), 0 from agents that wait themselves. When
    /// `cancel` fires the agent is told and the result is [`Error::Cancelled`].
    async fn drain(
        &self,
        to: &Target,
        kind: DrainType,
        spec: Option<&ApplySpec>,
        cancel: Option<&CancellationToken>,
    ) -> Result<i64, Error> {
        let mut arguments = vec![json!(kind.as_str())];
        if let Some(spec) = spec {
            arguments.push(encode("drain", spec)?);
        }
        let value = call_cancellable(self, to, "drain", arguments, cancel).await?;
        if cancel.is_some_and(CancellationToken::is_cancelled) {
            return Err(Error::Cancelled {
                method: "drain".into(),
            });
        }
        value
            .as_i64()
            .ok_or_else(|| unexpected(to, "drain", "not an integer"))
    }

    /// Runs a lifecycle script of all jobs. `options` is `{}` or [`crate::NextStates::to_options`]. Agents that don't
    /// know the action are taken to have no scripts.
    async fn run_script(&self, to: &Target, script: &str, options: Value) -> Result<(), Error> {
        let arguments = vec![json!(script), options];
        tolerate_unknown(self.call(to, "run_script", arguments).await)
    }

    /// Starts an errand. Returns the agent's task, to be asked about by [`AgentClient::errand_result`].
    async fn start_errand(&self, to: &Target, name: Option<&str>) -> Result<String, Error> {
        let arguments = name.map(|name| json!(name)).into_iter().collect();
        let patience = Patience::for_method("run_errand");
        match self.exchange(to, "run_errand", arguments, patience).await? {
            Reply::Running(task) => Ok(task.agent_task_id),
            Reply::Done(_) => Err(unexpected(to, "run_errand", "not a task")),
            Reply::Exception(exception) => Err(Error::remote("run_errand", exception)),
        }
    }

    /// Waits for the end of a started errand; a cancelled one is told so and still gives its result. May be asked
    /// again, by another director process too.
    async fn errand_result(
        &self,
        to: &Target,
        task: &str,
        cancel: Option<&CancellationToken>,
    ) -> Result<ErrandResult, Error> {
        let value = self.wait_for_task(to, "run_errand", task, cancel).await?;
        decode(to, "run_errand", value)
    }

    /// Runs an errand and waits for its end.
    async fn run_errand(
        &self,
        to: &Target,
        name: Option<&str>,
        cancel: Option<&CancellationToken>,
    ) -> Result<ErrandResult, Error> {
        let task = self.start_errand(to, name).await?;
        self.errand_result(to, &task, cancel).await
    }

    /// Compiles a package from blob to blob.
    async fn compile_package(
        &self,
        to: &Target,
        request: &CompilePackage,
    ) -> Result<CompiledPackage, Error> {
        let value = self
            .call(to, "compile_package", request.to_arguments())
            .await?;
        compiled(to, "compile_package", value)
    }

    /// Compiles a package from URL to URL.
    async fn compile_package_with_signed_url(
        &self,
        to: &Target,
        request: &CompilePackageWithSignedUrl,
    ) -> Result<CompiledPackage, Error> {
        let method = "compile_package_with_signed_url";
        let value = self
            .call(to, method, vec![encode(method, request)?])
            .await?;
        compiled(to, method, value)
    }

    /// Collects logs into a blob. `log_type` is a comma-separated list of `job`, `agent`, `system`.
    async fn fetch_logs(
        &self,
        to: &Target,
        log_type: &str,
        filters: Option<&[String]>,
    ) -> Result<FetchedLogs, Error> {
        let arguments = vec![json!(log_type), json!(filters)];
        let value = self.call(to, "fetch_logs", arguments).await?;
        decode(to, "fetch_logs", value)
    }

    /// Collects logs to a URL.
    async fn fetch_logs_with_signed_url(
        &self,
        to: &Target,
        request: &FetchLogsWithSignedUrl,
    ) -> Result<FetchedLogs, Error> {
        let method = "fetch_logs_with_signed_url";
        let value = self
            .call(to, method, vec![encode(method, request)?])
            .await?;
        decode(to, method, value)
    }

    /// Collects logs into a file on the VM.
    async fn bundle_logs(&self, to: &Target, request: &BundleLogs) -> Result<LogBundle, Error> {
        let arguments = vec![encode("bundle_logs", request)?];
        let value = self.call(to, "bundle_logs", arguments).await?;
        decode(to, "bundle_logs", value)
    }

    /// Removes a file or directory of the VM.
    async fn remove_file(&self, to: &Target, path: &str) -> Result<(), Error> {
        self.call(to, "remove_file", vec![json!(path)])
            .await
            .map(drop)
    }

    /// Makes a user that may log in with this key.
    async fn ssh_setup(
        &self,
        to: &Target,
        user: &str,
        public_key: &str,
    ) -> Result<SshResult, Error> {
        let params = json!({"user": user, "public_key": public_key});
        let value = self.call(to, "ssh", vec![json!("setup"), params]).await?;
        decode(to, "ssh", value)
    }

    /// Removes the users `bosh_*` that match the expression.
    async fn ssh_cleanup(&self, to: &Target, user_regex: &str) -> Result<SshResult, Error> {
        let params = json!({"user_regex": user_regex});
        let value = self.call(to, "ssh", vec![json!("cleanup"), params]).await?;
        decode(to, "ssh", value)
    }

    /// Gives the agent certificates, disk names, blobstores, message bus; it may restart underneath.
    async fn update_settings(&self, to: &Target, settings: &UpdateSettings) -> Result<(), Error> {
        let arguments = vec![encode("update_settings", settings)?];
        tolerate_unknown(self.call(to, "update_settings", arguments).await)
    }

    /// Hands a small blob over in the message itself.
    async fn upload_blob(&self, to: &Target, blob: &UploadBlob) -> Result<(), Error> {
        let arguments = vec![encode("upload_blob", blob)?];
        self.call(to, "upload_blob", arguments).await.map(drop)
    }

    /// Gives the agent newer DNS records.
    async fn sync_dns(
        &self,
        to: &Target,
        blob_id: &str,
        digest: &str,
        version: u64,
        patience: Duration,
    ) -> Result<(), Error> {
        let arguments = vec![json!(blob_id), json!(digest), json!(version)];
        let patience = Patience::once(patience);
        synced(
            to,
            self.exchange(to, "sync_dns", arguments, patience).await?,
        )
    }

    /// [`AgentClient::sync_dns`] by URL.
    async fn sync_dns_with_signed_url(
        &self,
        to: &Target,
        request: &SyncDnsWithSignedUrl,
        patience: Duration,
    ) -> Result<(), Error> {
        let method = "sync_dns_with_signed_url";
        let arguments = vec![encode(method, request)?];
        let patience = Patience::once(patience);
        synced(to, self.exchange(to, method, arguments, patience).await?)
    }

    /// Forgets neighbours' hardware addresses; not waited for.
    async fn delete_arp_entries(&self, to: &Target, ips: &[String]) -> Result<(), Error> {
        self.send(to, "delete_arp_entries", vec![json!({"ips": ips})])
            .await
    }

    /// Switches the VM off; not waited for.
    async fn shutdown(&self, to: &Target) -> Result<(), Error> {
        self.send(to, "shutdown", vec![]).await
    }

    /// Mounts a disk at `/var/vcap/store`, or beside it for a migration if another is there.
    async fn mount_disk(&self, to: &Target, disk: &DiskCid) -> Result<(), Error> {
        self.call(to, "mount_disk", vec![json!(disk)])
            .await
            .map(drop)
    }

    /// Unmounts a disk; not mounted is fine.
    async fn unmount_disk(&self, to: &Target, disk: &DiskCid) -> Result<(), Error> {
        self.call(to, "unmount_disk", vec![json!(disk)])
            .await
            .map(drop)
    }

    /// Copies the old disk to the new one and swaps them. compat: agents ignore both arguments.
    async fn migrate_disk(&self, to: &Target, from: &DiskCid, into: &DiskCid) -> Result<(), Error> {
        self.call(to, "migrate_disk", vec![json!(from), json!(into)])
            .await
            .map(drop)
    }

    /// The disks that are mounted.
    async fn list_disk(&self, to: &Target) -> Result<Vec<DiskCid>, Error> {
        let value = self.call(to, "list_disk", vec![]).await?;
        decode(to, "list_disk", value)
    }

    /// Tells the agent where an attached disk is: the hint of `attach_disk`, verbatim.
    async fn add_persistent_disk(
        &self,
        to: &Target,
        disk: &DiskCid,
        hint: &Value,
    ) -> Result<(), Error> {
        let arguments = vec![json!(disk), hint.clone()];
        tolerate_unknown(self.call(to, "add_persistent_disk", arguments).await)
    }

    /// Tells the agent to forget a disk.
    async fn remove_persistent_disk(&self, to: &Target, disk: &DiskCid) -> Result<(), Error> {
        tolerate_unknown(
            self.call(to, "remove_persistent_disk", vec![json!(disk)])
                .await,
        )
    }

    /// Links an attached dynamic disk under `data/dynamic_disks`.
    async fn add_dynamic_disk(
        &self,
        to: &Target,
        disk: &DiskCid,
        hint: &DiskHint,
    ) -> Result<(), Error> {
        let arguments = vec![json!(disk), encode("add_dynamic_disk", hint)?];
        tolerate_unknown(self.call(to, "add_dynamic_disk", arguments).await)
    }

    /// Removes that link.
    async fn remove_dynamic_disk(&self, to: &Target, disk: &DiskCid) -> Result<(), Error> {
        tolerate_unknown(
            self.call(to, "remove_dynamic_disk", vec![json!(disk)])
                .await,
        )
    }

    /// Cancels a drain or an errand; other actions refuse.
    async fn cancel_task(&self, to: &Target, task: &str) -> Result<(), Error> {
        self.call(to, "cancel_task", vec![json!(task)])
            .await
            .map(drop)
    }
}

async fn call_cancellable<C: AgentClient + ?Sized>(
    client: &C,
    to: &Target,
    method: &str,
    arguments: Vec<Value>,
    cancel: Option<&CancellationToken>,
) -> Result<Value, Error> {
    let patience = Patience::for_method(method);
    match client.exchange(to, method, arguments, patience).await? {
        Reply::Running(task) => {
            client
                .wait_for_task(to, method, &task.agent_task_id, cancel)
                .await
        }
        Reply::Done(value) => Ok(value),
        Reply::Exception(exception) => Err(Error::remote(method, exception)),
    }
}
