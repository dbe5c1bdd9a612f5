//! Starts and stops what can be started and stopped now: dependencies first, dependents down before.

use tokio::time::Instant;

use super::{Engine, SETTLE, pause_after, tell};
use crate::supervisor::config::Kind;
use crate::supervisor::events::Event;
use crate::supervisor::process::{self, Process, Reason};
use crate::supervisor::report::Monitor;
use crate::supervisor::service::{Activity, Watched};

impl Engine {
    /// Does one thing that can be done now; says whether there was one.
    pub(super) fn advance(&mut self) -> bool {
        for i in 0..self.services.len() {
            match self.services[i].activity {
                Activity::StartPending
                    if self
                        .dependencies(i)
                        .iter()
                        .all(|&d| self.services[d].is_up()) =>
                {
                    self.launch_start(i);
                    return true;
                }
                Activity::StopPending { then_start }
                    if self
                        .dependents(i)
                        .iter()
                        .all(|&d| self.services[d].is_down()) =>
                {
                    self.launch_stop(i, then_start);
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    pub(super) fn launch_start(&mut self, i: usize) {
        let ticket = self.ticket();
        let service = &mut self.services[i];
        let (Kind::Process { pidfile }, Some(program)) =
            (&service.config.kind, &service.config.start)
        else {
            service.activity = Activity::Idle;
            service.error = Some("it has no start program".into());
            service.monitor = Monitor::On;
            return;
        };
        tracing::info!(service = service.config.name, "starting");
        service.activity = Activity::Starting;
        service.ticket = ticket;
        let (pidfile, program) = (pidfile.clone(), program.clone());
        let (name, remembered) = (service.config.name.clone(), service.remembered.clone());
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let reason = Reason {
                service: &name,
                event: "Started",
            };
            let outcome = process::start(&pidfile, &program, remembered.as_ref(), &reason).await;
            tell(
                &sender,
                Event::Started {
                    service: name.clone(),
                    ticket,
                    outcome,
                },
            );
        });
    }

    pub(super) fn launch_stop(&mut self, i: usize, then_start: bool) {
        let ticket = self.ticket();
        let service = &mut self.services[i];
        let Some(watched) = &service.process else {
            service.activity = Activity::Idle;
            if then_start {
                service.activity = Activity::StartPending;
            }
            return;
        };
        tracing::info!(service = service.config.name, "stopping");
        service.activity = Activity::Stopping { then_start };
        service.ticket = ticket;
        let (program, process) = (service.config.stop.clone(), watched.process.clone());
        let (name, sender) = (service.config.name.clone(), self.sender.clone());
        tokio::spawn(async move {
            let reason = Reason {
                service: &name,
                event: "Stopped",
            };
            let outcome = process::stop(program.as_ref(), &process, &reason).await;
            tell(
                &sender,
                Event::Stopped {
                    service: name.clone(),
                    ticket,
                    outcome,
                },
            );
        });
    }

    /// Watches a process from now on.
    pub(super) fn adopt(&mut self, i: usize, process: Process) {
        let ticket = self.ticket();
        let service = &mut self.services[i];
        let (name, sender) = (service.config.name.clone(), self.sender.clone());
        let watching = process.clone();
        let watcher = tokio::spawn(async move {
            watching.ended().await;
            tell(
                &sender,
                Event::Ended {
                    service: name,
                    ticket,
                },
            );
        });
        service.remembered = Some(process.remember());
        service.cpu = None;
        service.activity = Activity::Idle;
        service.process = Some(Watched {
            age: process.age().unwrap_or_default(),
            process,
            ticket,
            since: Instant::now(),
            watcher: watcher.abort_handle(),
        });
        if service.monitor == Monitor::Initializing || service.error.is_some() {
            // One that keeps dying has to prove more.
            let settle = SETTLE.max(pause_after(service.failures + 1) / 2);
            let (name, sender) = (service.config.name.clone(), self.sender.clone());
            tokio::spawn(async move {
                tokio::time::sleep(settle).await;
                tell(
                    &sender,
                    Event::Settled {
                        service: name,
                        ticket,
                    },
                );
            });
        }
    }
}
