//! `if` rules and paths, looked at once a cycle, and only if there are any.

use super::{Engine, tell};
use crate::supervisor::config::{Action, Kind};
use crate::supervisor::events::Event;
use crate::supervisor::process::{self, Reason};
use crate::supervisor::report::Monitor;
use crate::supervisor::rules::{self, Verdict};
use crate::supervisor::service::Activity;
use crate::supervisor::usage::Snapshot;

impl Engine {
    pub(super) fn needs_cycles(&self) -> bool {
        self.services.iter().any(|service| {
            matches!(service.config.kind, Kind::Path { .. })
                || service.config.rules.iter().any(rules::needs_cycles)
        })
    }

    pub(super) fn cycle(&mut self) {
        let snapshot = Snapshot::take();
        for i in 0..self.services.len() {
            let service = &mut self.services[i];
            if service.monitor != Monitor::On || service.activity != Activity::Idle {
                continue;
            }
            if let Kind::Path { path, .. } = &service.config.kind {
                service.error = (!path.exists()).then(|| "Does not exist".to_owned());
            }
            let Some(pid) = service.process.as_ref().map(|p| p.process.identity.pid) else {
                continue;
            };
            let usage = snapshot.usage(pid, &mut service.cpu);
            for (index, rule) in service.config.rules.clone().into_iter().enumerate() {
                if let Some(met) = rules::measure(&rule.condition, &usage, &snapshot) {
                    self.count_rule(i, index, met);
                } else if rules::is_tested(&rule.condition) {
                    let (name, sender) =
                        (self.services[i].config.name.clone(), self.sender.clone());
                    tokio::spawn(async move {
                        let failed = rules::connection_fails(rule.condition).await;
                        tell(
                            &sender,
                            Event::Tested {
                                service: name,
                                rule: index,
                                failed,
                            },
                        );
                    });
                }
            }
        }
    }

    pub(super) fn count_rule(&mut self, i: usize, index: usize, met: bool) {
        let service = &mut self.services[i];
        let (Some(rule), Some(state)) = (
            service.config.rules.get(index).cloned(),
            service.rules.get_mut(index),
        ) else {
            return;
        };
        if service.monitor != Monitor::On
            || service.activity != Activity::Idle
            || state.count(&rule, met) == Verdict::Same
        {
            return;
        }
        let event = rules::event_of(&rule.condition);
        let description = format!("{event} {} times within {} cycles", rule.times, rule.within);
        self.alert(i, event, rule.action.as_str(), &description);
        match rule.action {
            Action::Alert => {}
            Action::Start => self.request_start(i),
            Action::Restart => self.request_restart(i),
            Action::Stop => self.request_stop(i),
            Action::Unmonitor => self.unmonitor(i),
            Action::Exec(program) => {
                let reason = Reason {
                    service: &self.services[i].config.name,
                    event,
                };
                if let Err(error) = process::spawn(&program, &reason) {
                    tracing::warn!(%error, "a rule's program can't be run");
                }
            }
        }
    }
}
