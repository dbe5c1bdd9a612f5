//! The VM's agent as `create-env` talks to it, with the original's error texts (spec agent-protocol §1.8).

use crate::error::{Error, Result, Within};
use agent_protocol::{
    AgentClient, AgentState, CompilePackage, CompiledPackage, DrainType, HttpsAgentClient,
    JobState, Target, is_certificate_refused,
};
use domain::{AgentId, DiskCid};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// For one ping, and between two.
const PING: Duration = Duration::from_secs(5);
const PING_PAUSE: Duration = Duration::from_millis(500);
/// For an agent of a VM that was just made or changed.
pub const READY: Duration = Duration::from_secs(600);
/// For one that should be there.
pub const REACHABLE: Duration = Duration::from_secs(10);

/// One agent. No `Debug`: it holds a password.
pub struct Agent {
    client: HttpsAgentClient,
    to: Target,
}

impl Agent {
    /// Nothing is sent yet.
    pub fn new(mbus: &str, ca: Option<&str>, director_id: &str) -> Result<Self> {
        let client = HttpsAgentClient::new(mbus, ca, director_id)
            .map_err(|error| Error::from_chain(&error))
            .within(|| "Creating agent client from cloud_provider.mbus and cloud_provider.cert")?;
        Ok(Agent {
            client,
            // There is one agent behind the URL, whatever its id.
            to: Target {
                agent: AgentId::new("create-env"),
                instance: "create-env".to_owned(),
            },
        })
    }

    /// Waits until the agent answers, for so long.
    pub async fn wait_until_ready(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let Err(error) = self.client.ping(&self.to, PING).await else {
                return Ok(());
            };
            if is_certificate_refused(&error) || Instant::now() >= deadline {
                return Err(told(error).within("Sending ping to the agent"));
            }
            tokio::time::sleep(PING_PAUSE).await;
        }
    }

    pub async fn state(&self) -> Result<AgentState> {
        let state = self.client.get_state(&self.to, false).await;
        state
            .map_err(told)
            .within(|| "Sending get_state to the agent")
    }

    /// Asks once a second until all jobs run, at most so often.
    pub async fn wait_until_running(&self, attempts: u64) -> Result<()> {
        let mut attempt = 1;
        loop {
            let state = self.state().await?.job_state();
            if state == JobState::Running {
                return Ok(());
            }
            if attempt >= attempts {
                let state = json!(state);
                return Err(Error::message(format!(
                    "Received non-running job state: '{}'",
                    state.as_str().unwrap_or_default()
                )));
            }
            attempt += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn call(&self, method: &str, arguments: Vec<Value>) -> Result<Value> {
        sent(method, self.client.call(&self.to, method, arguments).await)
    }

    pub async fn apply(&self, spec: &Value) -> Result<()> {
        self.call("apply", vec![spec.clone()]).await.map(drop)
    }

    pub async fn start(&self) -> Result<()> {
        match self.call("start", vec![]).await? {
            Value::String(text) if text == "started" => Ok(()),
            other => Err(Error::message(format!(
                "Failed to start agent services with response: '{other}'"
            ))),
        }
    }

    pub async fn stop(&self) -> Result<()> {
        self.call("stop", vec![]).await.map(drop)
    }

    /// Agents that don't know scripts have none.
    pub async fn run_script(&self, script: &str) -> Result<()> {
        let ran = self.client.run_script(&self.to, script, json!({})).await;
        sent("run_script", ran)
    }

    /// Drains, waiting as long as the scripts ask.
    pub async fn drain(&self) -> Result<()> {
        let mut kind = DrainType::Shutdown;
        loop {
            let answer = self.call("drain", vec![json!(kind.as_str()), json!({})]);
            let seconds = answer.await?.as_i64().unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
            if seconds >= 0 {
                return Ok(());
            }
            kind = DrainType::Status;
        }
    }

    pub async fn disks(&self) -> Result<Vec<String>> {
        let disks = sent("list_disk", self.client.list_disk(&self.to).await)?;
        Ok(disks.into_iter().map(DiskCid::into_string).collect())
    }

    pub async fn add_persistent_disk(&self, disk: &str, hint: &Value) -> Result<()> {
        let disk = DiskCid::new(disk);
        let added = self.client.add_persistent_disk(&self.to, &disk, hint).await;
        sent("add_persistent_disk", added)
    }

    pub async fn remove_persistent_disk(&self, disk: &str) -> Result<()> {
        let disk = DiskCid::new(disk);
        let removed = self.client.remove_persistent_disk(&self.to, &disk).await;
        sent("remove_persistent_disk", removed)
    }

    pub async fn mount_disk(&self, disk: &str) -> Result<()> {
        let mounted = self.client.mount_disk(&self.to, &DiskCid::new(disk)).await;
        sent("mount_disk", mounted)
    }

    pub async fn unmount_disk(&self, disk: &str) -> Result<()> {
        let unmounted = self
            .client
            .unmount_disk(&self.to, &DiskCid::new(disk))
            .await;
        sent("unmount_disk", unmounted)
    }

    pub async fn migrate_disk(&self) -> Result<()> {
        self.call("migrate_disk", vec![]).await.map(drop)
    }

    pub async fn compile_package(&self, request: &CompilePackage) -> Result<CompiledPackage> {
        let compiled = self.client.compile_package(&self.to, request).await;
        sent("compile_package", compiled).within(|| {
            format!(
                "Remotely compiling package '{}' with the agent",
                request.name
            )
        })
    }

    /// Stores a file on the VM; its id.
    pub async fn put_blob(&self, file: &Path) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        let stored = self.client.put_blob(&id, file).await;
        stored
            .map_err(|error| Error::from_chain(error.as_ref()))
            .within(|| {
                format!(
                    "Putting file '{}' into blobstore as blobID '{id}'",
                    file.display()
                )
            })?;
        Ok(id)
    }
}

/// An answer, with what was asked around an error.
fn sent<T>(method: &str, answer: Result<T, agent_protocol::Error>) -> Result<T> {
    answer
        .map_err(told)
        .within(|| format!("Sending '{method}' to the agent"))
}

fn told(error: agent_protocol::Error) -> Error {
    match error {
        agent_protocol::Error::Remote { message, .. } => {
            Error::message(format!("Agent responded with error: {message}"))
        }
        agent_protocol::Error::Bus { source, .. } => {
            Error::from_chain(source.as_ref()).within("Performing request to agent")
        }
        other => Error::from_chain(&other),
    }
}
