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
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The text is no YAML.
    Syntax,
    /// Safe loading refuses the class that a scalar asks for.
    Class,
    /// There is no such anchor.
    Alias(String),
}

impl Error {
    pub(super) fn new(problem: impl Into<String>, at: (usize, usize)) -> Self {
        Self::of_kind(Kind::Syntax, problem, at)
    }

    pub(super) fn of_kind(kind: Kind, problem: impl Into<String>, at: (usize, usize)) -> Self {
        Self {
            problem: problem.into(),
            context: None,
            at,
            began: at,
            kind,
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

    /// The class of the original director's error, which stands in front of [`Error::psych`] where it inspects it.
    pub fn psych_class(&self) -> &'static str {
        match self.kind {
            Kind::Class => "Psych::DisallowedClass",
            Kind::Alias(_) => "Psych::BadAlias",
            Kind::Syntax => "Psych::SyntaxError",
        }
    }

    /// The words of the original director's parser, as they stand in its error descriptions: for instance
    /// `(<unknown>): did not find expected key while parsing a block mapping at line 1 column 1`.
    pub fn psych(&self) -> String {
        match &self.kind {
            Kind::Class => self.problem.clone(),
            Kind::Alias(anchor) => format!("Unknown alias: {anchor}"),
            Kind::Syntax => {
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
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "yaml: line {}: {}", self.at.0, self.problem)
    }
}

impl std::error::Error for Error {}
