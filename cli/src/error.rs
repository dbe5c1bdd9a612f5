//! Errors of the CLI: trees of messages, printed one level per line (spec cli §6).

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A message, what it happened in, and what caused it.
#[derive(Debug)]
pub enum Error {
    /// A sentence.
    Message(String),
    /// What was being done when `source` happened.
    Within { text: String, source: Box<Error> },
    /// Several, shown as a list.
    Several(Vec<Error>),
}

impl Error {
    pub fn message(text: impl Into<String>) -> Self {
        Error::Message(text.into())
    }

    /// Puts what was being done around it.
    #[must_use]
    pub fn within(self, text: impl Into<String>) -> Self {
        Error::Within {
            text: text.into(),
            source: Box::new(self),
        }
    }

    /// The tree of any error: one level per source.
    pub fn from_chain(error: &(dyn std::error::Error + 'static)) -> Self {
        let text = error.to_string();
        match error.source() {
            Some(source) => Error::from_chain(source).within(text),
            None => Error::Message(text),
        }
    }

    /// The text as printed before `Exit code 1`.
    pub fn render(&self) -> String {
        let mut lines = Vec::new();
        self.render_into(0, &mut lines);
        lines.join("\n")
    }

    fn render_into(&self, indent: usize, lines: &mut Vec<String>) {
        let margin = " ".repeat(indent);
        match self {
            // A list that came as a text.
            Error::Message(text) if text.starts_with("- ") => {
                lines.extend(text.lines().map(|line| format!("{margin}{line}")));
            }
            Error::Message(text) => lines.push(format!("{margin}{text}")),
            Error::Within { text, source } => {
                lines.push(format!("{margin}{text}:"));
                source.render_into(indent + 2, lines);
            }
            Error::Several(errors) => {
                for error in errors {
                    let mut item = Vec::new();
                    error.render_into(indent + 2, &mut item);
                    if let Some(first) = item.first_mut() {
                        first.replace_range(..indent + 2, &format!("{margin}- "));
                    }
                    lines.append(&mut item);
                }
            }
        }
    }

    /// All levels in one line, as inside of flag values.
    pub fn flat(&self) -> String {
        match self {
            Error::Message(text) => text.clone(),
            Error::Within { text, source } => format!("{text}: {}", source.flat()),
            Error::Several(errors) => errors
                .iter()
                .map(Error::flat)
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.flat())
    }
}

impl std::error::Error for Error {}

impl From<director_client::Error> for Error {
    fn from(error: director_client::Error) -> Self {
        let tree = Error::from_chain(&error);
        match hint(&error) {
            Some(hint) => Error::Several(vec![tree, Error::message(hint)]).unlisted(),
            None => tree,
        }
    }
}

impl Error {
    /// A hint below an error is no list item: it follows on a line of its own.
    fn unlisted(self) -> Self {
        match self {
            Error::Several(errors) => Error::Message(
                errors
                    .iter()
                    .map(Error::render)
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
            other => other,
        }
    }
}

/// What to do about an error that says little by itself.
fn hint(error: &director_client::Error) -> Option<&'static str> {
    if error.is_network() {
        return Some(
            "Is the director running, and is this its address? See 'bosun environments', or pass -e ADDRESS and --ca-cert FILE",
        );
    }
    if matches!(error, director_client::Error::EmptyUrl) {
        return Some(
            "Name a director with -e/--environment or BOSH_ENVIRONMENT, or start one on this machine with 'bosun up'",
        );
    }
    let refused = error.status() == Some(401)
        && error
            .body()
            .is_some_and(|body| body.starts_with("Not authorized"));
    if refused {
        return Some(
            "The director does not know this user and password: log in with 'bosun log-in', or pass --client and --client-secret",
        );
    }
    None
}

impl From<release_archive::Problem> for Error {
    fn from(problem: release_archive::Problem) -> Self {
        use release_archive::problem::Causes;
        let (text, causes) = problem.into_parts();
        let source = match causes {
            Causes::None => return Error::Message(text),
            Causes::One(cause) => Error::from(*cause),
            Causes::Many(causes) => Error::Several(causes.into_iter().map(Into::into).collect()),
        };
        if text.is_empty() {
            source
        } else {
            source.within(text)
        }
    }
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Error::Message(text)
    }
}

impl From<std::io::Error> for Error {
    /// For errors of `fs_err`, whose text names the file.
    fn from(error: std::io::Error) -> Self {
        Error::Message(error.to_string())
    }
}

/// Puts what was being done around the error of a result.
pub trait Within<T> {
    fn within<S: Into<String>>(self, text: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Within<T> for Result<T, E> {
    fn within<S: Into<String>>(self, text: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().within(text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_indented_and_lists_marked() {
        let list = |title: &str, names: [&str; 2]| {
            Error::Several(names.iter().map(|name| Error::message(*name)).collect()).within(title)
        };
        let error = Error::Several(vec![
            list("Expected to find variables", ["a", "b"]),
            Error::message("other"),
        ]);
        assert_eq!(
            error.render(),
            "- Expected to find variables:\n    - a\n    - b\n- other"
        );
        assert_eq!(
            Error::message("EOF").within("Asking for text").render(),
            "Asking for text:\n  EOF"
        );
    }
}
