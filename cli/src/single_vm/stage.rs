//! What `create-env` and its kin print: groups, and steps in them with their times (spec cli §17.3).

use crate::error::Result;
use crate::ui::{Ui, duration};
use std::time::Instant;

/// What became of a step.
pub enum Outcome<T> {
    Done(T),
    /// Not done, for this reason; what there is instead.
    Skipped(T, String),
}

/// Prints one level of groups and steps.
pub struct Stage {
    ui: Ui,
    depth: usize,
    /// The last thing at this level was a step: a group is set off by an empty line.
    after_step: bool,
}

impl Stage {
    pub fn new(ui: &Ui) -> Self {
        Stage {
            ui: ui.clone(),
            depth: 0,
            after_step: true,
        }
    }

    /// Tells of a step while it runs.
    pub async fn step<T>(
        &mut self,
        name: impl AsRef<str>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let work = async { work.await.map(Outcome::Done) };
        self.step_or_skip(name, work).await
    }

    /// A step that may turn out to be unnecessary.
    pub async fn step_or_skip<T>(
        &mut self,
        name: impl AsRef<str>,
        work: impl Future<Output = Result<Outcome<T>>>,
    ) -> Result<T> {
        if !self.after_step {
            self.begin("\n");
            self.after_step = true;
        }
        self.begin(&format!("{}...", name.as_ref()));
        let started = Instant::now();
        let outcome = work.await;
        let took = elapsed(started);
        match outcome {
            Ok(Outcome::Done(value)) => {
                self.ui.end_line(format!(" Finished ({took})"));
                Ok(value)
            }
            Ok(Outcome::Skipped(value, reason)) => {
                self.ui.end_line(format!(" Skipped [{reason}] ({took})"));
                Ok(value)
            }
            Err(error) => {
                self.ui.end_line(format!(" Failed ({took})"));
                Err(error)
            }
        }
    }

    /// Puts what `work` prints into a group.
    pub async fn group<T>(
        &mut self,
        name: &str,
        work: impl AsyncFnOnce(&mut Stage) -> Result<T>,
    ) -> Result<T> {
        self.begin("\n");
        self.after_step = false;
        self.begin(&format!("Started {name}\n"));
        let started = Instant::now();
        let mut inner = Stage {
            ui: self.ui.clone(),
            depth: self.depth + 1,
            after_step: true,
        };
        let outcome = work(&mut inner).await;
        let verb = if outcome.is_ok() {
            "Finished"
        } else {
            "Failed"
        };
        self.begin(&format!("{verb} {name} ({})\n", elapsed(started)));
        outcome
    }

    fn begin(&self, text: &str) {
        self.ui
            .begin_line(format!("{}{text}", "  ".repeat(self.depth)));
    }
}

fn elapsed(since: Instant) -> String {
    duration(since.elapsed().as_secs().try_into().unwrap_or(i64::MAX))
}
