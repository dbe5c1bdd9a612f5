//! A problem as the release author sees it: a text, and below it what caused it, one cause or a list.
//!
//! Reading a release folder collects all problems before it gives up, and nests them by what was being done. The
//! printed shape is that of the original's CLI, which people and scripts know: `docs/spec/releases-and-templates.md` §7.

use std::fmt;
use std::io;
use std::path::Path;

/// A text with its causes. `Display` prints the whole tree, without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    text: String,
    causes: Causes,
}

/// Why a problem happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Causes {
    /// Its text says it.
    None,
    /// Because of this.
    One(Box<Problem>),
    /// Because of all of these; shown as a list.
    Many(Vec<Problem>),
}

impl Problem {
    /// A problem that says everything itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            causes: Causes::None,
        }
    }

    /// What was being done when `self` happened.
    pub fn within(self, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            causes: Causes::One(Box::new(self)),
        }
    }

    /// What was being done when all of `causes` happened.
    pub fn list(text: impl Into<String>, causes: Vec<Problem>) -> Self {
        Self {
            text: text.into(),
            causes: Causes::Many(causes),
        }
    }

    /// The problems of several things done at once: a list without a text of its own, also if there is just one.
    pub(crate) fn together(problems: Vec<Problem>) -> Self {
        Self::list("", problems)
    }

    /// The first of several, where one is enough.
    pub(crate) fn first(problems: Vec<Problem>) -> Self {
        problems
            .into_iter()
            .next()
            .unwrap_or_else(|| Self::new(String::new()))
    }

    /// `open <path>: no such file or directory` and the like.
    pub fn io(call: &str, path: &Path, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory".to_owned(),
            io::ErrorKind::NotADirectory => "not a directory".to_owned(),
            _ => error.to_string(),
        };
        Self::new(format!("{call} {}: {reason}", path.display()))
    }

    /// The first line: this layer's own text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text and what caused it. A list may have no text.
    pub fn into_parts(self) -> (String, Causes) {
        (self.text, self.causes)
    }

    // Line breaks inside of a text (a command's output) are kept as they are, so indentation is put before the
    // structure's own lines only.
    fn render(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.causes {
            // A list without a text of its own begins at once.
            Causes::Many(causes) if self.text.is_empty() => {
                for (place, cause) in causes.iter().enumerate() {
                    let (line, margin) = if place == 0 { ("", 0) } else { ("\n", indent) };
                    write!(f, "{line}{:margin$}- ", "")?;
                    cause.render(f, indent + 2)?;
                }
                Ok(())
            }
            Causes::None => Ok(()),
            Causes::One(cause) => {
                write!(f, ":\n{:1$}", "", indent + 2)?;
                cause.render(f, indent + 2)
            }
            Causes::Many(causes) => {
                f.write_str(":")?;
                for cause in causes {
                    write!(f, "\n{:1$}- ", "", indent + 2)?;
                    cause.render(f, indent + 4)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(f, 0)
    }
}

impl std::error::Error for Problem {}

impl From<io::Error> for Problem {
    /// For errors of `fs_err`, which name call and path themselves.
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Wraps the problem of a result with what was being done.
pub(crate) trait Within<T> {
    fn within(self, text: impl FnOnce() -> String) -> Result<T, Problem>;
}

impl<T, E: Into<Problem>> Within<T> for Result<T, E> {
    fn within(self, text: impl FnOnce() -> String) -> Result<T, Problem> {
        self.map_err(|error| error.into().within(text()))
    }
}
