//! [`Agent`]: what all actions share.

use std::sync::{Arc, Mutex, MutexGuard};

use agent_protocol::{JobState, subjects};
use serde_json::json;

use crate::blobs::Blobs;
use crate::bus;
use crate::error::Result;
use crate::files;
use crate::layout::Layout;
use crate::platform::Platform;
use crate::settings;
use crate::supervisor::{self, ServiceReport, aggregate};
use crate::tasks::Tasks;
use crate::vitals::VitalsReader;

/// One agent.
pub struct Agent {
    /// Where everything is.
    pub layout: Layout,
    /// The machine.
    pub platform: Arc<dyn Platform>,
    /// The settings; never locked across an await.
    settings: Mutex<settings::Service>,
    /// The jobs' supervisor.
    pub supervisor: supervisor::Handle,
    /// Long actions.
    pub tasks: Tasks,
    /// The message bus.
    pub bus: bus::Handle,
    /// CPU, memory, disks.
    pub vitals: VitalsReader,
    /// Held by the synchronous actions that change things, which so run one after another.
    pub in_turn: tokio::sync::Mutex<()>,
}

impl Agent {
    /// Puts the parts together.
    pub fn new(
        layout: Layout,
        platform: Arc<dyn Platform>,
        settings: settings::Service,
        supervisor: supervisor::Handle,
        tasks: Tasks,
    ) -> Self {
        Self {
            vitals: VitalsReader::new(layout.clone()),
            layout,
            platform,
            settings: Mutex::new(settings),
            supervisor,
            tasks,
            bus: bus::Handle::default(),
            in_turn: tokio::sync::Mutex::new(()),
        }
    }

    /// The settings. Don't hold this across an await.
    pub fn settings(&self) -> MutexGuard<'_, settings::Service> {
        // Every change ends with an assignment, so a panic can't leave them half changed.
        self.settings
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The agent's id.
    pub fn id(&self) -> String {
        self.settings().current().agent_id.clone()
    }

    /// The blobstore in force.
    pub fn blobs(&self) -> Arc<Blobs> {
        let settings = self.settings().blobstore();
        Arc::new(Blobs::new(self.layout.clone(), settings))
    }

    /// Aggregate state and all services.
    pub async fn job_state(&self, usage: bool) -> Result<(JobState, Vec<ServiceReport>)> {
        let services = self.supervisor.report(usage).await?;
        let stopped = self.layout.monit_stopped().exists();
        Ok((aggregate(&services, stopped), services))
    }

    /// Writes health.json, which jobs may read.
    pub async fn write_health(&self) -> Result<()> {
        let (state, _) = self.job_state(false).await?;
        files::replace_json(&self.layout.health(), &json!({"state": state}), 0o644)
    }

    /// Tells the health monitor that this VM is about to go.
    pub async fn announce_shutdown(&self) {
        let subject = subjects::shutdown(&self.id());
        self.bus.publish(subject, &serde_json::Value::Null).await;
    }
}
