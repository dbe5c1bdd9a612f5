//! What becomes of services when something has happened to them.

use tokio::time::Instant;

use super::{Engine, RECOVERED, pause_after, tell};
use crate::supervisor::config::{Condition, Kind};
use crate::supervisor::events::Event;
use crate::supervisor::process::Process;
use crate::supervisor::report::Monitor;
use crate::supervisor::rules::CYCLE;
use crate::supervisor::service::{Activity, Afterwards};

impl Engine {
    pub(super) fn event(&mut self, event: Event) {
        let Some(i) = self
            .services
            .iter()
            .position(|service| service.config.name == event.service())
        else {
            return;
        };
        let service = &self.services[i];
        let running = service.process.as_ref().map(|p| p.ticket);
        match event {
            Event::Started {
                ticket, outcome, ..
            } if ticket == service.ticket => self.started(i, outcome),
            Event::Stopped {
                ticket, outcome, ..
            } if ticket == service.ticket => self.stopped(i, outcome),
            Event::Ended { ticket, .. } if Some(ticket) == running => self.ended(i),
            Event::Settled { ticket, .. } if Some(ticket) == running => {
                let service = &mut self.services[i];
                if service.monitor != Monitor::Off {
                    service.monitor = Monitor::On;
                    service.error = None;
                    tracing::info!(service = service.config.name, "running");
                }
            }
            Event::PauseOver { ticket, .. }
                if ticket == service.ticket && service.activity == Activity::Pausing =>
            {
                self.services[i].activity = Activity::StartPending;
            }
            Event::Tested { rule, failed, .. } => self.count_rule(i, rule, failed),
            _ => {} // about something that is over
        }
    }

    pub(super) fn started(&mut self, i: usize, outcome: Result<Process, String>) {
        let afterwards = self.services[i].afterwards.take();
        match outcome {
            Ok(process) => {
                let (name, pid) = (&self.services[i].config.name, process.identity.pid);
                tracing::info!(service = %name, pid, "started");
                self.adopt(i, process);
            }
            Err(reason) => {
                let service = &mut self.services[i];
                tracing::warn!(service = service.config.name, %reason, "start failed");
                service.activity = Activity::Idle;
                if service.monitor != Monitor::Off {
                    service.monitor = Monitor::On;
                    service.error = Some(format!("Execution failed: {reason}"));
                    self.alert(
                        i,
                        "execution failed",
                        "alert",
                        &format!("failed to start: {reason}"),
                    );
                    if afterwards.is_none() {
                        self.restart_later(i);
                    }
                }
            }
        }
        match afterwards {
            Some(Afterwards::Stop) => self.request_stop(i),
            Some(Afterwards::Restart) => self.request_restart(i),
            None => {}
        }
    }

    pub(super) fn stopped(&mut self, i: usize, outcome: Result<(), String>) {
        let service = &mut self.services[i];
        let then_start = service.activity == (Activity::Stopping { then_start: true });
        service.activity = Activity::Idle;
        match outcome {
            Ok(()) => {
                tracing::info!(service = service.config.name, "stopped");
                service.process = None;
                if then_start {
                    service.activity = Activity::StartPending;
                }
            }
            Err(reason) => {
                tracing::warn!(service = service.config.name, %reason, "stop failed");
                service.error = Some(format!("Execution failed: failed to stop: {reason}"));
                if then_start {
                    service.monitor = Monitor::On;
                }
                self.alert(
                    i,
                    "execution failed",
                    "alert",
                    &format!("failed to stop: {reason}"),
                );
            }
        }
    }

    pub(super) fn ended(&mut self, i: usize) {
        let uptime = self.services[i].uptime();
        let service = &mut self.services[i];
        let pid = service.process.take().map(|p| p.process.identity.pid);
        if matches!(
            service.activity,
            Activity::Stopping { .. } | Activity::StopPending { .. }
        ) || service.monitor == Monitor::Off
        {
            return;
        }
        let Kind::Process { pidfile } = &service.config.kind else {
            return;
        };
        if let Some(process) = Process::find(pidfile, service.remembered.as_ref()) {
            self.alert(i, "pid changed", "alert", "process pid changed");
            self.adopt(i, process);
            return;
        }
        tracing::warn!(service = service.config.name, pid, uptime = ?uptime, "process is gone");
        if uptime >= RECOVERED {
            service.failures = 0;
        }
        service.monitor = Monitor::On;
        service.error = Some("Does not exist".into());
        let active = service.config.active;
        let action = if active { "restart" } else { "alert" };
        self.alert(i, "does not exist", action, "process is not running");
        if active {
            self.restart_later(i);
            for dependent in self.dependents(i) {
                if self.services[dependent].monitor != Monitor::Off {
                    self.request_restart(dependent);
                }
            }
        }
    }

    /// Starts a service after a failure, sooner or later, or gives it up if its rules say so.
    pub(super) fn restart_later(&mut self, i: usize) {
        let ticket = self.ticket();
        let service = &mut self.services[i];
        let now = Instant::now();
        service.restarts.push_back(now);
        while service.restarts.len() > 100 {
            service.restarts.pop_front();
        }
        let gives_up = service
            .config
            .rules
            .iter()
            .any(|rule| match rule.condition {
                Condition::Restarts { count, cycles } => {
                    let since = now.checked_sub(CYCLE * cycles);
                    let recent = |at: &&Instant| since.is_none_or(|since| **at >= since);
                    service.restarts.iter().filter(recent).count() as u32 > count
                }
                _ => false,
            });
        if gives_up {
            service.monitor = Monitor::Off;
            service.activity = Activity::Idle;
            service.restarts.clear();
            self.alert(i, "timeout", "unmonitor", "service restarted too often");
            return;
        }
        service.failures += 1;
        for rule in &mut service.rules {
            rule.clear();
        }
        let pause = pause_after(service.failures);
        if pause.is_zero() {
            service.activity = Activity::StartPending;
            return;
        }
        service.activity = Activity::Pausing;
        service.ticket = ticket;
        let (name, sender) = (service.config.name.clone(), self.sender.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            tell(
                &sender,
                Event::PauseOver {
                    service: name,
                    ticket,
                },
            );
        });
    }
}
