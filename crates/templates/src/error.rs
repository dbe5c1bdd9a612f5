//! Why rendering failed, with the texts gathered as the original gathers them:
//! `docs/spec/releases-and-templates.md` §16.3.

use std::io;
use std::time::Duration;

/// Why an instance could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Templates failed; the text names them.
    #[error("{0}")]
    Templates(RenderErrors),
    /// There is no Ruby to render with.
    #[error(
        "The Ruby interpreter '{ruby}' can't be started: templates of jobs are Ruby programs. Install Ruby 2.7 or later, or name another interpreter in the configuration"
    )]
    Ruby {
        /// What was to be started.
        ruby: String,
        /// Why it wasn't.
        #[source]
        source: io::Error,
    },
    /// A template never ended.
    #[error(
        "Rendering instance group '{group}' took longer than {} seconds and was stopped. Jobs: {jobs}. Look for an endless loop or a wait in their templates", .timeout.as_secs()
    )]
    Timeout {
        /// The instance group.
        group: String,
        /// Its jobs.
        jobs: String,
        /// The time given.
        timeout: Duration,
    },
    /// The worker process ended, twice.
    #[error(
        "The Ruby process that rendered instance group '{group}' ended ({ended}). Jobs: {jobs}. Look for `exit!` or very large data in their templates{output}"
    )]
    Died {
        /// The instance group.
        group: String,
        /// Its jobs.
        jobs: String,
        /// Exit status or signal.
        ended: String,
        /// The end of what it wrote to standard error.
        output: String,
    },
    /// The worker answered something else than its protocol has.
    #[error(
        "The Ruby process that rendered instance group '{group}' gave an answer that can't be read: {reason}"
    )]
    Answer {
        /// The instance group.
        group: String,
        /// What was wrong.
        reason: String,
    },
}

/// What went wrong in one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// The monit file failed: nothing else of the job was rendered.
    Monit(String),
    /// These templates failed.
    Templates {
        /// The job.
        job: String,
        /// One text per template.
        errors: Vec<String>,
    },
    /// Something outside of templates (variables, schemas) in the original's words.
    Other(String),
}

/// All that went wrong in one instance. `Display` is the instance group's block of the task's error text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderErrors {
    /// The instance group.
    pub group: String,
    /// By job.
    pub jobs: Vec<JobError>,
}

impl std::fmt::Display for JobError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // compat: not wrapped like the others.
            Self::Monit(text) | Self::Other(text) => f.write_str(text),
            Self::Templates { job, errors } => {
                write!(
                    f,
                    "- Unable to render templates for job '{job}'. Errors are:"
                )?;
                for error in errors {
                    write!(f, "\n{}", indented(&format!("- {error}")))?;
                }
                Ok(())
            }
        }
    }
}

impl std::fmt::Display for RenderErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "- Unable to render jobs for instance group '{}'. Errors are:",
            self.group
        )?;
        for job in &self.jobs {
            write!(f, "\n{}", indented(&job.to_string()))?;
        }
        Ok(())
    }
}

/// The task's error text over all instance groups that failed.
pub fn deployment_errors<'a>(groups: impl IntoIterator<Item = &'a RenderErrors>) -> String {
    let mut text = String::from("Unable to render instance groups for deployment. Errors are:");
    for group in groups {
        text.push('\n');
        text.push_str(&indented(&group.to_string()));
    }
    text
}

fn indented(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(|line| format!("  {line}")).collect();
    lines.join("\n")
}
