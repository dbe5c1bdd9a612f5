//! Why a text is no document.

use std::fmt;

/// A text that can't be read, with the place.
///
/// The display is the command line's (`yaml: line 2: …`); [`Error::psych`] has the director's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was wrong.
    pub(super) problem: String,
    /// What was being read (`while parsing a block mapping`), if known.
    pub(super) context: Option<String>,
    /// Where it was noticed: line and column, both from 1.
    pub(super) at: (usize, usize),
    /// Where the thing that was being read began.
    pub(super) began: (usize, usize),
    /// The text is fine, but safe loading refuses the class it asks for.
    pub(super) refused_class: bool,
}

impl Error {
    pub(super) fn new(problem: impl Into<String>, at: (usize, usize)) -> Self {
        Self {
            problem: problem.into(),
            context: None,
            at,
            began: at,
            refused_class: false,
        }
    }

    /// The line (from 1) where it was noticed.
    pub fn line(&self) -> usize {
        self.at.0
    }

    /// The text without place.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// The words of the original director's parser, as they stand in its error descriptions: for instance
    /// `(<unknown>): did not find expected key while parsing a block mapping at line 1 column 1`.
    pub fn psych(&self) -> String {
        if self.refused_class {
            return self.problem.clone();
        }
        let (line, column) = self.began;
        let context = self
            .context
            .as_ref()
            .map(|c| format!(" {c}"))
            .unwrap_or_default();
        format!(
            "(<unknown>): {}{context} at line {line} column {column}",
            self.problem
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "yaml: line {}: {}", self.at.0, self.problem)
    }
}

impl std::error::Error for Error {}
