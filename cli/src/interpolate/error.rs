//! Why a document can't be interpolated.

use manifest::template;

use super::files;

/// An error of the flags, of the files they name, or of the evaluation.
///
/// Each level is one line of what people see: the chain of sources is printed a level per line, deeper levels
/// indented (`docs/spec/cli.md` §6).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value of a flag is of no use.
    // compat: scripts match on these texts, which name the original's own type of the flag.
    #[error("invalid argument for flag `{flag}' (expected {kind}): {problem}")]
    Flag {
        /// As the help shows it: `-o, --ops-file`.
        flag: &'static str,
        /// The original's type.
        kind: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The template can't be read.
    #[error(transparent)]
    File(#[from] files::Error),
    /// Standard input can't be read.
    #[error("Reading from stdin")]
    Stdin {
        /// Why.
        source: std::io::Error,
    },
    /// The template has no result.
    #[error(transparent)]
    Template(#[from] template::Error),
}

impl Error {
    pub(super) fn flag(flag: &'static str, kind: &'static str, problem: impl Into<String>) -> Self {
        Self::Flag {
            flag,
            kind,
            problem: problem.into(),
        }
    }
}

/// An error with its sources in one line.
pub(super) fn flat(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
