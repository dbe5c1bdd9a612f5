//! Reading the files that flags name.

use std::io;
use std::path::{Path, PathBuf};

/// What flags say of an empty path.
pub(super) const EMPTY_PATH: &str = "Expected file path to be non-empty";

/// A file that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be opened or read.
    #[error("Opening file {path}")]
    Open {
        /// The path as it was tried.
        path: String,
        /// Why.
        source: Cause,
    },
    /// It is no text.
    #[error("Expected file '{0}' to be UTF-8 text")]
    NotText(String),
    /// `~` and relative paths need to know where they start.
    #[error("Expanding path '{path}'")]
    Expand {
        /// The path as it was given.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.error.kind() == io::ErrorKind::NotFound)
    }
}

/// `open x: no such file or directory`
#[derive(Debug, thiserror::Error)]
#[error("open {path}: {}", words(.error))]
pub struct Cause {
    path: String,
    error: io::Error,
}

/// The operating system's words without its number, in the original's case.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

/// The text of a file.
pub(super) fn read(path: &str) -> Result<String, Error> {
    // The path is in the error's own words already.
    #[allow(clippy::disallowed_methods)]
    let bytes = std::fs::read(path).map_err(|error| Error::Open {
        path: path.to_owned(),
        source: Cause {
            path: path.to_owned(),
            error,
        },
    })?;
    String::from_utf8(bytes).map_err(|_| Error::NotText(path.to_owned()))
}

/// The absolute path, with the home folder for a leading `~`.
pub(super) fn expand(path: &str) -> Result<String, Error> {
    let expanded: PathBuf = match path.strip_prefix("~/") {
        Some(rest) => match std::env::home_dir() {
            Some(home) => home.join(rest),
            None => PathBuf::from(path),
        },
        None => PathBuf::from(path),
    };
    let absolute = std::path::absolute(&expanded).map_err(|source| Error::Expand {
        path: path.to_owned(),
        source,
    })?;
    Ok(absolute.display().to_string())
}

/// Replaces a file's content at once: a reader sees the old or the new. A new file is the owner's alone.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A symbolic link stays one.
    let target = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    durable::replace(&target, text.as_bytes(), durable::Mode::KeepOr(0o600))
}
