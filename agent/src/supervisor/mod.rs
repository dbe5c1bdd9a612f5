//! Job supervision, built in (`docs/spec/agent-protocol.md` §8).
//!
//! ```text
//!  actions, monit command --Command--> engine (one task, owns all services)
//!  pidfd watchers, start and stop programs, timers --Event--> engine
//!  engine --ServiceAlert--> health monitor,  --change counter--> whoever waits
//! ```
//! The engine never blocks: programs run as tasks and report back. What it needs to find its processes again is on
//! disk before anybody is told, so a killed agent's successor adopts them; processes themselves never notice.

pub mod config;
mod engine;
mod events;
mod lexer;
mod memory;
mod parser;
#[cfg(test)]
mod parser_tests;
pub mod process;
mod report;
mod rules;
mod service;
pub mod socket;
mod usage;

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Error, Result};
pub use report::{Monitor, ServiceReport, aggregate};

/// What the health monitor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAlert {
    /// The service.
    pub service: String,
    /// Monit's name of the event.
    pub event: String,
    /// What was done.
    pub action: String,
    /// What happened.
    pub description: String,
}

/// Which services a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every one.
    All,
    /// Those of a group.
    Group(String),
    /// One.
    Named(String),
}

impl Selection {
    /// Those that the director sees.
    pub fn visible() -> Self {
        Self::Group(config::VCAP.to_owned())
    }
}

/// What can be done to services. All are idempotent and return as soon as they are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Monitor, and start unless it runs; what it depends on first.
    Start,
    /// Stop monitoring and stop; what depends on it first.
    Stop,
    /// Stop and start.
    Restart,
    /// Monitor again, and start unless it runs.
    Monitor,
    /// Stop monitoring; the process goes on.
    Unmonitor,
}

pub(crate) enum Message {
    Reload(oneshot::Sender<Result<()>>),
    Act(Verb, Selection, oneshot::Sender<Result<Vec<String>>>),
    Report {
        usage: bool,
        answer: oneshot::Sender<Vec<ServiceReport>>,
    },
    Event(events::Event),
}

/// Where the engine's files are.
#[derive(Debug, Clone)]
pub struct Files {
    /// Folders whose `*.monitrc` are read.
    pub monit: Vec<PathBuf>,
    /// The engine's memory.
    pub state: PathBuf,
    /// Marker: jobs were stopped on purpose, so that they are not started at boot.
    pub stopped: PathBuf,
    /// Emptied after a reboot: pid files of another life.
    pub run: PathBuf,
}

/// Speaks to the engine. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    sender: mpsc::UnboundedSender<Message>,
    changes: watch::Receiver<u64>,
}

impl Handle {
    /// Starts the engine and loads the services that there are: processes that run are adopted, those that should run
    /// and don't are started.
    pub fn start(files: Files, alerts: mpsc::UnboundedSender<ServiceAlert>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (notify, changes) = watch::channel(0);
        let engine = engine::Engine::new(files, sender.downgrade(), alerts, notify);
        tokio::spawn(engine.run(receiver));
        Self { sender, changes }
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T> {
        let gone = || Error::new("the job supervisor has ended");
        let (sender, receiver) = oneshot::channel();
        self.sender.send(message(sender)).map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())
    }

    /// Reads the monit files again. Services that are gone are forgotten, not stopped.
    pub async fn reload(&self) -> Result<()> {
        self.ask(Message::Reload).await?
    }

    /// Does something to services; returns their names.
    pub async fn act(&self, verb: Verb, selection: Selection) -> Result<Vec<String>> {
        self.ask(|answer| Message::Act(verb, selection, answer))
            .await?
    }

    /// How all services do; CPU and memory cost a walk through `/proc`.
    pub async fn report(&self, usage: bool) -> Result<Vec<ServiceReport>> {
        self.ask(|answer| Message::Report { usage, answer }).await
    }

    /// Counts changes of any service.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}
