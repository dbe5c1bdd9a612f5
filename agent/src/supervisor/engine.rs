//! The engine: one task that owns all services and decides what to do about them.

mod commands;
mod cycle;
mod outcomes;
mod progress;

use std::collections::BTreeSet;
use std::time::Duration;

use fs_err as fs;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::config::{Kind, ServiceConfig};
use super::events::Event;
use super::memory::Memory;
use super::process::Process;
use super::report::Monitor;
use super::rules::{CYCLE, RuleState};
use super::service::{Activity, Service};
use super::usage::Snapshot;
use super::{Files, Message, ServiceAlert, parser};
use crate::error::{Context, Error, Result, plain};

/// A process must live so long after a start to be called running, so that one which dies at once never looks well.
const SETTLE: Duration = Duration::from_millis(500);

/// After so long the deaths before don't count any more.
const RECOVERED: Duration = Duration::from_secs(60);

/// The longest pause between restarts: monit's cycle, within which releases expect a restart.
const LONGEST_PAUSE: Duration = CYCLE;

/// The first restart is immediate, then 1, 2, 4, 8 and at last 10 seconds apart.
fn pause_after(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 2).min(6)).min(LONGEST_PAUSE),
    }
}

pub struct Engine {
    files: Files,
    sender: mpsc::WeakUnboundedSender<Message>,
    alerts: mpsc::UnboundedSender<ServiceAlert>,
    notify: watch::Sender<u64>,
    services: Vec<Service>,
    memory: Memory,
    tickets: u64,
}

impl Engine {
    pub fn new(
        files: Files,
        sender: mpsc::WeakUnboundedSender<Message>,
        alerts: mpsc::UnboundedSender<ServiceAlert>,
        notify: watch::Sender<u64>,
    ) -> Self {
        let memory = Memory::load(&files.state, &files.run);
        Self {
            files,
            sender,
            alerts,
            notify,
            services: Vec::new(),
            memory,
            tickets: 0,
        }
    }

    pub async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        if let Err(error) = self.reload() {
            tracing::error!(%error, "the monit files can't be loaded; jobs are not supervised until the next reload");
        }
        self.settle_changes();
        let mut cycle = tokio::time::interval(CYCLE);
        cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.handle(message),
                    None => return,
                },
                _ = cycle.tick(), if self.needs_cycles() => self.cycle(),
            }
            self.settle_changes();
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Reload(answer) => {
                let outcome = self.reload();
                self.settle_changes();
                let _ = answer.send(outcome);
            }
            Message::Act(verb, selection, answer) => {
                let outcome = self.act(verb, &selection);
                // On disk before anybody relies on it.
                self.settle_changes();
                let _ = answer.send(outcome);
            }
            Message::Report { usage, answer } => {
                let snapshot = usage.then(Snapshot::take);
                let reports = self
                    .services
                    .iter_mut()
                    .map(|service| service.report(snapshot.as_ref()))
                    .collect();
                let _ = answer.send(reports);
            }
            Message::Event(event) => self.event(event),
        }
    }

    /// Starts and stops what can be started and stopped now, then saves and tells.
    fn settle_changes(&mut self) {
        while self.advance() {}
        let services = self
            .services
            .iter()
            .map(|service| (service.config.name.clone(), service.memory()))
            .collect();
        if self.memory.services != services {
            self.memory.services = services;
            if let Err(error) = self.memory.save(&self.files.state) {
                tracing::error!(%error, "the supervisor's memory can't be saved");
            }
        }
        self.notify.send_modify(|count| *count += 1);
    }

    fn reload(&mut self) -> Result<()> {
        let configs = self.read_configs()?;
        let monitored = !self.files.stopped.exists();
        let mut old = std::mem::take(&mut self.services);
        for config in configs {
            let known = old.iter().position(|s| s.config.name == config.name);
            match known.map(|position| old.remove(position)) {
                Some(mut service) => {
                    service.rules = vec![RuleState::default(); config.rules.len()];
                    service.config = config;
                    self.services.push(service);
                }
                None => {
                    let memory = self.memory.services.get(&config.name).cloned();
                    self.services.push(Service::new(config, memory, monitored));
                    self.take_up(self.services.len() - 1);
                }
            }
        }
        for gone in old {
            tracing::info!(service = gone.config.name, "no longer supervised");
        }
        Ok(())
    }

    fn read_configs(&self) -> Result<Vec<ServiceConfig>> {
        let mut configs: Vec<ServiceConfig> = Vec::new();
        let mut names = BTreeSet::new();
        for folder in &self.files.monit {
            let Ok(entries) = fs::read_dir(folder) else {
                continue;
            };
            let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            paths.retain(|path| path.extension().is_some_and(|ext| ext == "monitrc"));
            paths.sort();
            for path in paths {
                let text = fs::read_to_string(&path).map_err(plain)?;
                let services =
                    parser::parse(&text).with_context(|| format!("Reading {}", path.display()))?;
                for service in services {
                    if !names.insert(service.name.clone()) {
                        return Err(Error::new(format!(
                            "Reading {}: there is another service '{}'; names must be unique on an instance",
                            path.display(),
                            service.name
                        )));
                    }
                    configs.push(service);
                }
            }
        }
        break_cycles(&mut configs);
        Ok(configs)
    }

    /// Finds the process of a service that is new here, or starts it if it should run.
    fn take_up(&mut self, i: usize) {
        let service = &mut self.services[i];
        let Kind::Process { pidfile } = &service.config.kind else {
            return;
        };
        match Process::find(pidfile, service.remembered.as_ref()) {
            Some(process) => {
                tracing::info!(
                    service = service.config.name,
                    pid = process.identity.pid,
                    "adopted"
                );
                self.adopt(i, process);
            }
            None if service.monitor != Monitor::Off && service.config.active => {
                service.monitor = Monitor::Initializing;
                service.activity = Activity::StartPending;
            }
            None => {}
        }
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn alert(&self, i: usize, event: &str, action: &str, description: &str) {
        let _ = self.alerts.send(ServiceAlert {
            service: self.services[i].config.name.clone(),
            event: event.to_owned(),
            action: action.to_owned(),
            description: description.to_owned(),
        });
    }

    fn dependencies(&self, i: usize) -> Vec<usize> {
        let names = &self.services[i].config.depends;
        (0..self.services.len())
            .filter(|&j| names.contains(&self.services[j].config.name))
            .collect()
    }

    fn dependents(&self, i: usize) -> Vec<usize> {
        let name = &self.services[i].config.name;
        (0..self.services.len())
            .filter(|&j| self.services[j].config.depends.contains(name))
            .collect()
    }
}

fn tell(sender: &mpsc::WeakUnboundedSender<Message>, event: Event) {
    if let Some(sender) = sender.upgrade() {
        let _ = sender.send(Message::Event(event));
    }
}

/// Services that depend on each other in a circle could never be started: the dependency that closes it is dropped.
fn break_cycles(configs: &mut [ServiceConfig]) {
    fn reaches(configs: &[ServiceConfig], from: &str, to: &str, depth: usize) -> bool {
        depth < configs.len()
            && configs.iter().filter(|c| c.name == from).any(|config| {
                let depends = &config.depends;
                depends
                    .iter()
                    .any(|name| name == to || reaches(configs, name, to, depth + 1))
            })
    }
    for i in 0..configs.len() {
        let name = configs[i].name.clone();
        for dependency in configs[i].depends.clone() {
            if dependency == name || reaches(configs, &dependency, &name, 0) {
                tracing::warn!(service = name, dependency, "circular dependency is ignored");
                configs[i].depends.retain(|other| *other != dependency);
            }
        }
    }
}
