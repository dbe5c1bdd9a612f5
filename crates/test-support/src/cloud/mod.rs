//! A cloud in memory: knows its VMs, disks and stemcells, refuses what a real one refuses (a second attach,
//! an unknown disk), is idempotent on the agent id and the disk key as bosun's own CPIs are, and runs a
//! simulated agent in every VM. It can fail a call, lose its reply, hang, and stop the world at any call.

mod agent;
mod cpi;
mod faults;
mod world;

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use serde_json::Value;

pub use faults::{Crash, Fault};
pub use world::{AgentState, Call, FakeDisk, FakeVm, World};

/// Where a simulated agent puts a blob: gets the signed URL, if it was given one, and the bytes; returns the
/// blob's id.
pub type PutBlob = Arc<
    dyn Fn(Option<String>, Vec<u8>) -> BoxFuture<'static, anyhow::Result<String>> + Send + Sync,
>;

/// The model. Cheap to clone; all clones are the same cloud.
#[derive(Clone)]
pub struct FakeCloud {
    world: Arc<Mutex<World>>,
    nats: async_nats::Client,
    put_blob: PutBlob,
}

impl FakeCloud {
    /// A cloud whose VMs' agents speak over `nats_url` and store blobs with `put_blob`.
    pub async fn new(nats_url: &str, put_blob: PutBlob) -> anyhow::Result<FakeCloud> {
        let nats = async_nats::connect(nats_url).await?;
        Ok(FakeCloud {
            world: Arc::default(),
            nats,
            put_blob,
        })
    }

    /// The state of the world, to look at or to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// CIDs of all VMs there are.
    pub fn vm_cids(&self) -> Vec<String> {
        self.world().vms.keys().cloned().collect()
    }

    /// CIDs of all disks there are.
    pub fn disk_cids(&self) -> Vec<String> {
        self.world().disks.keys().cloned().collect()
    }

    /// All calls since the last [`FakeCloud::take_calls`], to the cloud and to agents, in order.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.world().calls)
    }

    /// The next `times` calls of a CPI method or agent action end like this.
    pub fn break_next(&self, method: &str, times: usize, fault: Fault) {
        self.world().faults.add(method, times, fault);
    }

    /// Calls of `method` behave again.
    pub fn mend(&self, method: &str) {
        self.world().faults.remove(method);
    }

    /// Agents of VMs created from now on never answer.
    pub fn mute_new_agents(&self, mute: bool) {
        self.world().mute_new_agents = mute;
    }

    /// The agent with this id stops answering.
    pub fn mute_agent(&self, agent_id: &str) {
        for vm in self
            .world()
            .vms
            .values_mut()
            .filter(|vm| vm.agent_id == agent_id)
        {
            vm.agent.mute = true;
        }
    }

    /// A job (by name) that never gets to run from now on, or does again.
    pub fn fail_job(&self, job: &str, fails: bool) {
        let mut world = self.world();
        if fails {
            world.failing_jobs.insert(job.to_owned());
        } else {
            world.failing_jobs.remove(job);
        }
    }

    /// A package (by name) that does not compile from now on, or does again.
    pub fn fail_package(&self, package: &str, fails: bool) {
        let mut world = self.world();
        if fails {
            world.failing_packages.insert(package.to_owned());
        } else {
            world.failing_packages.remove(package);
        }
    }

    /// Stops the world at the `n`-th call from now (1 is the next one), before or after its effect. The
    /// receiver fires when it is reached; that call is never answered, later ones are.
    pub fn crash_at(&self, n: usize, when: Crash) -> tokio::sync::oneshot::Receiver<Call> {
        self.world().faults.crash_at(n, when)
    }

    /// Makes a stemcell exist, as if it had been uploaded.
    pub fn add_stemcell(&self, cid: &str) {
        self.world().stemcells.insert(cid.to_owned());
    }

    /// Writes an entry on a disk, as a job's process would.
    pub fn write_disk(&self, cid: &str, entry: &str) {
        if let Some(disk) = self.world().disks.get_mut(cid) {
            disk.data.push(entry.to_owned());
        }
    }

    fn start_agent(&self, vm_cid: &str, agent_id: &str) -> tokio::task::AbortHandle {
        agent::start(self.clone(), vm_cid.to_owned(), agent_id.to_owned())
    }
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}
