//! Operations files: ordered edits of a document.
//!
//! Who calls it: the command line for `-o`, before variables are looked at. All operations of all files are parsed and
//! checked before the first is applied. `docs/spec/cli.md` §8.

mod apply;
mod definition;
mod find;

pub use apply::{ApplyError, apply};
pub use definition::{DefinitionError, parse};
pub use find::find;

use serde_yaml::Value;

use crate::original;
use crate::pointer::{Modifier, Pointer};

/// One edit, with the words that name it in errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// `operation [2] in ops/x.yml failed`
    pub(crate) label: String,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Replace { path: Pointer, value: Value },
    Remove { path: Pointer },
    TestValue { path: Pointer, value: Value },
    TestAbsent { path: Pointer },
}

/// Why a path leads nowhere in a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A map lacks the key.
    #[error("Expected to find a map key '{key}' for path '{path}' ({})", siblings(.keys))]
    MissingKey {
        /// The key.
        key: String,
        /// The path to it.
        path: String,
        /// The map's string keys, sorted.
        keys: Vec<String>,
    },
    /// A key's container is no map.
    #[error("Expected to find a map at path '{path}' but found '{found}'")]
    NoMap {
        /// The path with the key.
        path: String,
        /// What there is instead.
        found: &'static str,
    },
    /// A position's container is no list.
    #[error("Expected to find an array at path '{path}' but found '{found}'")]
    NoList {
        /// The path with the position.
        path: String,
        /// What there is instead.
        found: &'static str,
    },
    /// A position outside of the list.
    #[error(
        "Expected to find array index '{index}' but found array of length '{length}' for path '{path}'"
    )]
    MissingIndex {
        /// The position after all moves.
        index: i64,
        /// The list's length.
        length: usize,
        /// The path with the position.
        path: String,
    },
    /// No item, or several, have the string.
    #[error("Expected to find exactly one matching array item for path '{path}' but found {found}")]
    NotOneMatch {
        /// The path with the match.
        path: String,
        /// How many there are.
        found: usize,
    },
    /// `-` where something is to be found.
    #[error(
        "Expected not to find after last index token in path '{0}' (not supported in find operations)"
    )]
    AfterLastInFind(String),
    /// `-` where something is to be removed.
    #[error("Expected to not find token 'patch.AfterLastIndexToken' at path '{0}'")]
    AfterLastInRemove(String),
    /// A missing optional key is followed by a position.
    #[error("Expected to find {expected} at path '{path}'")]
    CannotCreate {
        /// What could follow.
        expected: &'static str,
        /// The path with the following step.
        path: String,
    },
    /// Inserting where something is to be found.
    #[error(
        "Expected to find one of the following modifiers: 'prev', 'next', but found modifier '{}'",
        .0.original_name()
    )]
    NotAMove(Modifier),
    /// A move after the insertion.
    #[error(
        "Expected to not find any modifiers after '{first}' modifier, but found modifier '{}'",
        .second.original_name()
    )]
    AfterInsertion {
        /// `before` or `after`.
        first: &'static str,
        /// What stands behind it.
        second: Modifier,
    },
    /// Removing the whole document.
    #[error("Cannot remove entire document")]
    RemoveDocument,
    /// The test's value is another one.
    #[error("Found value does not match expected value")]
    Mismatch,
    /// The test's path is there.
    #[error("Expected to not find '{0}'")]
    Present(String),
}

fn siblings(keys: &[String]) -> String {
    if keys.is_empty() {
        return "found no other map keys".to_owned();
    }
    format!("found map keys: '{}'", keys.join("', '"))
}

/// The map at a step with a key, or the error that names what is there.
fn no_map(container: &Value, path: &Pointer, at: usize) -> Error {
    Error::NoMap {
        path: path.up_to(at),
        found: original::type_name(container),
    }
}

fn no_list(container: &Value, path: &Pointer, at: usize) -> Error {
    Error::NoList {
        path: path.up_to(at),
        found: original::type_name(container),
    }
}

fn missing_key(map: &serde_yaml::Mapping, key: &str, path: &Pointer, at: usize) -> Error {
    let mut keys: Vec<String> = map
        .keys()
        .filter_map(|key| key.as_str().map(str::to_owned))
        .collect();
    keys.sort();
    Error::MissingKey {
        key: key.to_owned(),
        path: path.up_to(at),
        keys,
    }
}

/// The positions of the items that are maps with the string.
fn matches(items: &[Value], key: &str, value: &str) -> Vec<usize> {
    let has = |item: &Value| item.get(key).and_then(Value::as_str) == Some(value);
    (0..items.len())
        .filter(|at| items[*at].is_mapping() && has(&items[*at]))
        .collect()
}

/// The item that a position with `prev` and `next` means.
fn concrete(
    index: i64,
    modifiers: &[Modifier],
    length: usize,
    path: &Pointer,
    at: usize,
) -> Result<usize, Error> {
    let mut index = index;
    for modifier in modifiers {
        index = match modifier {
            Modifier::Prev => index.saturating_sub(1),
            Modifier::Next => index.saturating_add(1),
            other => return Err(Error::NotAMove(*other)),
        };
    }
    let from_start = if index < 0 {
        index.saturating_add_unsigned(length as u64)
    } else {
        index
    };
    usize::try_from(from_start)
        .ok()
        .filter(|at| *at < length)
        .ok_or_else(|| Error::MissingIndex {
            index,
            length,
            path: path.up_to(at),
        })
}
