//! The plan for people: what a dry run prints, and what tests compare.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::change::Action;
use crate::plan::{DeploymentPlan, InstancePlan};

/// Serialises as JSON; `Display` gives the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub deployment: String,
    /// `name/fingerprint` for `os/version`.
    pub compile: Vec<String>,
    /// Instances of groups that are gone.
    pub deleted: Vec<InstanceLine>,
    /// In update order; groups without changes are only counted.
    pub groups: Vec<GroupLines>,
    pub unchanged: usize,
    pub warnings: Vec<String>,
}

/// One group's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLines {
    pub group: String,
    /// The AZs one after another, with their limits: `z1: 1 canary, 2 at a time`.
    pub order: Vec<String>,
    pub instances: Vec<InstanceLine>,
}

/// One instance that is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLine {
    /// `<ig>/<uuid> (<index>)`.
    pub instance: String,
    pub az: Option<String>,
    pub action: Action,
    pub canary: bool,
    pub bootstrap: bool,
    /// The addresses it shall have.
    pub addresses: Vec<String>,
    pub reasons: Vec<String>,
}

impl Report {
    pub(crate) fn new(plan: &DeploymentPlan) -> Report {
        let line = |i: &usize| InstanceLine::new(&plan.instances[*i]);
        let compile = plan
            .compile
            .iter()
            .map(|p| format!("{} for {}/{}", p.title(), p.stemcell.os, p.stemcell.version));
        let groups = plan
            .batches
            .iter()
            .flat_map(|batch| &batch.groups)
            .map(|group| GroupLines {
                group: group.group.to_string(),
                order: group
                    .waves
                    .iter()
                    .map(|wave| {
                        let az = wave
                            .az
                            .as_ref()
                            .map_or(String::new(), |az| format!("{az}: "));
                        let canaries = match wave.canaries.len() {
                            0 => String::new(),
                            1 => "1 canary, ".to_string(),
                            n => format!("{n} canaries, "),
                        };
                        format!("{az}{canaries}{} at a time", wave.max_in_flight)
                    })
                    .collect(),
                instances: group
                    .delete
                    .iter()
                    .chain(
                        group
                            .waves
                            .iter()
                            .flat_map(|w| w.canaries.iter().chain(&w.rest)),
                    )
                    .map(line)
                    .collect(),
            });
        Report {
            deployment: plan.deployment.to_string(),
            compile: compile.collect(),
            deleted: plan.delete_first.iter().map(line).collect(),
            groups: groups.collect(),
            unchanged: plan
                .instances
                .iter()
                .filter(|i| i.action == Action::None)
                .count(),
            warnings: plan.warnings.clone(),
        }
    }

    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        self.compile.is_empty() && self.deleted.is_empty() && self.groups.is_empty()
    }

    fn lines(&self) -> impl Iterator<Item = &InstanceLine> {
        self.deleted
            .iter()
            .chain(self.groups.iter().flat_map(|g| &g.instances))
    }
}

impl InstanceLine {
    fn new(plan: &InstancePlan) -> InstanceLine {
        let mut reasons: Vec<String> = Vec::with_capacity(plan.changes.len());
        for change in &plan.changes {
            // Two kinds may have one reason: an agent that does not answer is both `recreate` and `state`.
            if !reasons.contains(&change.reason) {
                reasons.push(change.reason.clone());
            }
        }
        InstanceLine {
            instance: plan.title(),
            az: plan.spec.az.as_ref().map(ToString::to_string),
            action: plan.action,
            canary: plan.canary,
            bootstrap: plan.spec.bootstrap && plan.action != Action::Delete,
            addresses: plan
                .addresses
                .iter()
                .map(|a| a.address.to_string())
                .collect(),
            reasons,
        }
    }
}

impl fmt::Display for InstanceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action.as_str(), self.instance)?;
        if let Some(az) = &self.az {
            write!(f, " {az}")?;
        }
        for address in &self.addresses {
            write!(f, " {address}")?;
        }
        for (flag, word) in [(self.bootstrap, "bootstrap"), (self.canary, "canary")] {
            if flag {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Deployment '{}'", self.deployment)?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for package in &self.compile {
            writeln!(f, "  compile {package}")?;
        }
        for line in &self.deleted {
            writeln!(f, "  {line}")?;
        }
        for group in &self.groups {
            let order = group.order.join("; ");
            let order = if order.is_empty() {
                String::new()
            } else {
                format!(" ({order})")
            };
            writeln!(f, "  {}{order}", group.group)?;
            for line in &group.instances {
                writeln!(f, "    {line}")?;
                for reason in &line.reasons {
                    writeln!(f, "      - {reason}")?;
                }
            }
        }
        let mut counts: Vec<(Action, usize)> = Vec::new();
        for line in self.lines() {
            match counts.iter_mut().find(|(action, _)| *action == line.action) {
                Some((_, n)) => *n += 1,
                None => counts.push((line.action, 1)),
            }
        }
        let mut parts: Vec<String> = counts
            .iter()
            .map(|(action, n)| format!("{n} to {}", action.as_str()))
            .collect();
        parts.push(format!("{} unchanged", self.unchanged));
        writeln!(f, "{}", parts.join(", "))
    }
}
