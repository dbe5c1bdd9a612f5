//! What commands ask of services: requests are noted here and carried out by `progress`.

use super::Engine;
use crate::error::{Error, Result};
use crate::supervisor::config::Kind;
use crate::supervisor::process::Process;
use crate::supervisor::report::Monitor;
use crate::supervisor::service::{Activity, Afterwards};
use crate::supervisor::{Selection, Verb};

impl Engine {
    pub(super) fn act(&mut self, verb: Verb, selection: &Selection) -> Result<Vec<String>> {
        let chosen: Vec<usize> = (0..self.services.len())
            .filter(|&i| match selection {
                Selection::All => true,
                Selection::Group(group) => self.services[i].config.groups.contains(group),
                Selection::Named(name) => &self.services[i].config.name == name,
            })
            .collect();
        if let (Selection::Named(name), true) = (selection, chosen.is_empty()) {
            return Err(Error::new(format!("There is no service named \"{name}\"")));
        }
        for &i in &chosen {
            match verb {
                Verb::Start | Verb::Monitor => self.request_start(i),
                Verb::Stop => self.request_stop(i),
                Verb::Restart => self.request_restart(i),
                Verb::Unmonitor => self.unmonitor(i),
            }
        }
        Ok(chosen
            .into_iter()
            .map(|i| self.services[i].config.name.clone())
            .collect())
    }

    pub(super) fn request_start(&mut self, i: usize) {
        for dependency in self.dependencies(i) {
            if !self.services[dependency].is_up()
                || self.services[dependency].monitor == Monitor::Off
            {
                self.request_start(dependency);
            }
        }
        let service = &mut self.services[i];
        service.afterwards = None;
        match &mut service.activity {
            Activity::StartPending | Activity::Starting => service.monitor = Monitor::Initializing,
            Activity::StopPending { then_start } | Activity::Stopping { then_start } => {
                *then_start = true;
                service.monitor = Monitor::Initializing;
            }
            Activity::Idle | Activity::Pausing => {
                let Kind::Process { pidfile } = &service.config.kind else {
                    service.monitor = Monitor::On;
                    return;
                };
                if service.process.is_some() {
                    if service.monitor == Monitor::Off {
                        service.monitor = Monitor::On;
                        service.error = None;
                    }
                    return;
                }
                service.error = None;
                service.failures = 0;
                service.monitor = Monitor::Initializing;
                match Process::find(pidfile, service.remembered.as_ref()) {
                    Some(process) => self.adopt(i, process),
                    None => service.activity = Activity::StartPending,
                }
            }
        }
    }

    pub(super) fn request_stop(&mut self, i: usize) {
        let service = &mut self.services[i];
        service.monitor = Monitor::Off;
        service.error = None;
        service.failures = 0;
        match &mut service.activity {
            Activity::Starting => service.afterwards = Some(Afterwards::Stop),
            Activity::StopPending { then_start } | Activity::Stopping { then_start } => {
                *then_start = false;
            }
            Activity::Idle | Activity::Pausing | Activity::StartPending => {
                service.activity = if service.process.is_some() {
                    Activity::StopPending { then_start: false }
                } else {
                    Activity::Idle
                };
            }
        }
        for dependent in self.dependents(i) {
            self.request_stop(dependent);
        }
    }

    pub(super) fn request_restart(&mut self, i: usize) {
        for dependent in self.dependents(i) {
            if !self.services[dependent].is_down() {
                self.request_restart(dependent);
            }
        }
        let service = &mut self.services[i];
        service.error = None;
        match service.activity {
            Activity::Starting => service.afterwards = Some(Afterwards::Restart),
            Activity::Idle if service.process.is_some() => {
                service.monitor = Monitor::Initializing;
                service.activity = Activity::StopPending { then_start: true };
            }
            _ => self.request_start(i),
        }
    }

    pub(super) fn unmonitor(&mut self, i: usize) {
        let service = &mut self.services[i];
        service.monitor = Monitor::Off;
        service.error = None;
        if matches!(service.activity, Activity::Pausing | Activity::StartPending) {
            service.activity = Activity::Idle;
        }
    }
}
