//! Faults in documents, collected.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::yaml::Lines;

/// One fault a person can act on, with the original's code and text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The director error code (manifests-and-planning §8); 100 for what the original leaves unclassified.
    pub code: u32,
    /// The original's text, word for word.
    pub message: String,
    /// What to do next, beside the original's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where: `/instance_groups/0/networks/0` of the manifest, `cloud-config:/networks/0`; empty when it came from
    /// no single place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The line in the uploaded text, when the caller could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Problem {
    /// A fault with neither place nor hint.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Problem {
            code,
            message: message.into(),
            hint: None,
            path: String::new(),
            line: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }
}

/// All faults found, in the order in which the original would have met them; never empty as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The code to report: the first fault's.
    pub fn code(&self) -> u32 {
        self.0.first().map_or(100, |p| p.code)
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Keeps the value of `result`, or collects its fault.
    pub fn take<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|p| self.push(p)).ok()
    }

    /// Keeps the value of `result`, or collects its faults.
    pub fn take_all<T>(&mut self, result: Result<T, Problems>) -> Option<T> {
        result.map_err(|p| self.0.extend(p.0)).ok()
    }

    /// `Ok` when nothing was collected.
    ///
    /// # Errors
    /// Itself, when there is at least one fault.
    pub fn or<T>(self, value: T) -> Result<T, Problems> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// Fills in lines of faults in the manifest, from the nearest known ancestor. Faults in configs keep none:
    /// those are merged from several texts.
    pub fn locate(&mut self, lines: &Lines) {
        for problem in self.0.iter_mut().filter(|p| p.path.starts_with('/')) {
            problem.line = problem.line.or_else(|| lines.of(&problem.path));
        }
    }

    /// Says in which other document the faults are (`cloud-config:/networks/0`).
    #[must_use]
    pub(super) fn within(mut self, document: &str) -> Self {
        for problem in &mut self.0 {
            problem.path = format!("{document}:{}", problem.path);
        }
        self
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
