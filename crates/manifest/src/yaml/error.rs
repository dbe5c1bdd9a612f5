//! Why a text is no document.

use std::fmt;

use super::events::Place;

/// A text that can't be read, with the place.
///
/// The display is the command line's (`yaml: line 2: …`); [`Error::psych`] has the director's words.
#[derive(Debug, Clone, PartialEq, Eq)]
// Boxed: errors of all who read YAML hold one.
pub struct Error(Box<Detail>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Detail {
    /// What was wrong.
    problem: String,
    /// What was being read (`while parsing a block mapping`), if known.
    context: Option<String>,
    /// Where it was noticed.
    at: Place,
    /// Where the thing that was being read began.
    began: Place,
    kind: Kind,
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
    pub(super) fn new(problem: impl Into<String>, at: Place) -> Self {
        Self::of_kind(Kind::Syntax, problem, at)
    }

    pub(super) fn of_kind(kind: Kind, problem: impl Into<String>, at: Place) -> Self {
        Self(Box::new(Detail {
            problem: problem.into(),
            context: None,
            at,
            began: at,
            kind,
        }))
    }

    /// Adds what was being read, and where that began.
    pub(super) fn within(mut self, context: Option<String>, began: Place) -> Self {
        self.0.context = context;
        self.0.began = began;
        self
    }

    /// The line (from 1) where it was noticed.
    pub fn line(&self) -> usize {
        self.0.at.0
    }

    /// The text without place.
    pub fn problem(&self) -> &str {
        &self.0.problem
    }

    /// The class of the original director's error, which stands in front of [`Error::psych`] where it inspects it.
    pub fn psych_class(&self) -> &'static str {
        match self.0.kind {
            Kind::Class => "Psych::DisallowedClass",
            Kind::Alias(_) => "Psych::BadAlias",
            Kind::Syntax => "Psych::SyntaxError",
        }
    }

    /// The words of the original director's parser, as they stand in its error descriptions: for instance
    /// `(<unknown>): did not find expected key while parsing a block mapping at line 1 column 1`.
    pub fn psych(&self) -> String {
        let Detail {
            problem,
            context,
            began: (line, column),
            kind,
            ..
        } = &*self.0;
        match kind {
            Kind::Class => problem.clone(),
            Kind::Alias(anchor) => format!("Unknown alias: {anchor}"),
            Kind::Syntax => {
                let context = context
                    .as_ref()
                    .map(|c| format!(" {c}"))
                    .unwrap_or_default();
                format!("(<unknown>): {problem}{context} at line {line} column {column}")
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "yaml: line {}: {}", self.0.at.0, self.0.problem)
    }
}

impl std::error::Error for Error {}
