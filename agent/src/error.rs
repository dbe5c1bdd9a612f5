//! The agent's one error: a chain of texts `outer: inner`, because that is what goes to the director.
//!
//! The texts are part of the wire (`docs/spec/agent-protocol.md` §1.4): directors and people match on them.

use std::error::Error as StdError;
use std::fmt::{self, Display};

/// What failed, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

/// The agent's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that starts here.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Error {}

/// Says what was being done when an error came up.
pub trait Context<T> {
    /// Puts `doing: ` in front of the error's whole chain.
    fn context(self, doing: impl Display) -> Result<T>;

    /// [`Context::context`] with a text that is only made when needed.
    fn with_context<D: Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: StdError> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl Display) -> Result<T> {
        self.with_context(|| doing)
    }

    fn with_context<D: Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| {
            let mut chain = format!("{}: {error}", doing());
            let mut source = error.source();
            while let Some(inner) = source {
                chain.push_str(&format!(": {inner}"));
                source = inner.source();
            }
            Error(chain)
        })
    }
}

/// An error whose own text says enough.
pub fn plain(error: impl StdError) -> Error {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        // fs_err's text already has its source's.
        if !chain.contains(&text) {
            chain.push_str(&format!(": {text}"));
        }
        source = inner.source();
    }
    Error(chain)
}
