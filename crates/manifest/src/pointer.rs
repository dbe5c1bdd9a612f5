//! Paths into documents, as operations and `--path` use them: `/instance_groups/name=web/jobs/0/properties?/port`.
//!
//! Syntax: `docs/spec/cli.md` §8.1.

use std::fmt;
use std::str::FromStr;

/// A text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither empty nor with a leading `/`.
    #[error("Expected to start with '/'")]
    NoSlash,
    /// What stands behind a `:` is no modifier.
    #[error(
        "Expected to find one of the following modifiers: 'prev', 'next', 'before', or 'after' but found '{0}'"
    )]
    UnknownModifier(String),
    /// `-:after`
    #[error("Expected not to find any modifiers with after last index token")]
    ModifierAfterLast,
    /// `key:after`
    #[error("Expected not to find any modifiers with key token")]
    ModifierOfKey,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A list item by position; negative counts from the end.
    Index {
        /// The position.
        index: i64,
        /// Moves from it.
        modifiers: Vec<Modifier>,
    },
    /// `-`: behind the last list item.
    AfterLast,
    /// `key=value`: the list item that is a map with this string.
    Match {
        /// The key.
        key: String,
        /// The string it has.
        value: String,
        /// Whether it may be missing.
        optional: bool,
        /// Moves from it.
        modifiers: Vec<Modifier>,
    },
    /// A map's key.
    Key {
        /// The key.
        key: String,
        /// Whether it may be missing.
        optional: bool,
    },
}

impl Token {
    /// Whether it may be missing.
    pub fn is_optional(&self) -> bool {
        match self {
            Token::Match { optional, .. } | Token::Key { optional, .. } => *optional,
            Token::Index { .. } | Token::AfterLast => false,
        }
    }
}

/// A move from a list item, before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modifier {
    /// The item before.
    Prev,
    /// The item after.
    Next,
    /// Insert before it.
    Before,
    /// Insert after it.
    After,
}

impl Modifier {
    /// Its name in error texts.
    ///
    /// compat: the original names its own type.
    pub(crate) fn original_name(self) -> &'static str {
        match self {
            Modifier::Prev => "patch.PrevModifier",
            Modifier::Next => "patch.NextModifier",
            Modifier::Before => "patch.BeforeModifier",
            Modifier::After => "patch.AfterModifier",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Modifier::Prev => "prev",
            Modifier::Next => "next",
            Modifier::Before => "before",
            Modifier::After => "after",
        }
    }
}

/// A path; without tokens it is the whole document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pointer {
    tokens: Vec<Token>,
}

impl Pointer {
    /// Parses a path.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let rest = text.strip_prefix('/').ok_or(Error::NoSlash)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let mut optional = false;
        let mut tokens = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            tokens.push(parse_token(part, at + 1 == parts.len(), &mut optional)?);
        }
        Ok(Self { tokens })
    }

    /// The steps.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The path up to and with the step at `last`, for error texts.
    pub(crate) fn up_to(&self, last: usize) -> String {
        Self {
            tokens: self.tokens[..=last].to_vec(),
        }
        .to_string()
    }

    /// The same path with list positions read as keys.
    pub(crate) fn with_keys_for_positions(&self) -> Self {
        let tokens = self.tokens.iter().map(|token| match token {
            Token::Index { index, .. } => Token::Key {
                key: index.to_string(),
                optional: false,
            },
            other => other.clone(),
        });
        Self {
            tokens: tokens.collect(),
        }
    }
}

fn parse_token(part: &str, last: bool, optional: &mut bool) -> Result<Token, Error> {
    let mut pieces = part.split(':');
    let text = decode(pieces.next().unwrap_or_default());
    let modifiers = pieces.map(parse_modifier).collect::<Result<Vec<_>, _>>()?;
    if last && text == "-" {
        return if modifiers.is_empty() {
            Ok(Token::AfterLast)
        } else {
            Err(Error::ModifierAfterLast)
        };
    }
    if let Ok(index) = text.parse::<i64>() {
        return Ok(Token::Index { index, modifiers });
    }
    let text = match text.strip_suffix('?') {
        Some(text) => {
            *optional = true;
            text.to_owned()
        }
        None => text,
    };
    if let Some((key, value)) = text.split_once('=') {
        let (key, value) = (key.to_owned(), value.to_owned());
        return Ok(Token::Match {
            key,
            value,
            optional: *optional,
            modifiers,
        });
    }
    if modifiers.is_empty() {
        Ok(Token::Key {
            key: text,
            optional: *optional,
        })
    } else {
        Err(Error::ModifierOfKey)
    }
}

fn parse_modifier(text: &str) -> Result<Modifier, Error> {
    match text {
        "prev" => Ok(Modifier::Prev),
        "next" => Ok(Modifier::Next),
        "before" => Ok(Modifier::Before),
        "after" => Ok(Modifier::After),
        other => Err(Error::UnknownModifier(other.to_owned())),
    }
}

fn decode(text: &str) -> String {
    text.replace("~1", "/")
        .replace("~7", ":")
        .replace("~0", "~")
}

fn encode(text: &str) -> String {
    text.replace('~', "~0")
        .replace('/', "~1")
        .replace(':', "~7")
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut optional = false;
        for token in &self.tokens {
            let (text, modifiers): (String, &[Modifier]) = match token {
                Token::Index { index, modifiers } => (index.to_string(), modifiers),
                Token::AfterLast => ("-".to_owned(), &[]),
                Token::Match {
                    key,
                    value,
                    modifiers,
                    ..
                } => (format!("{}={}", encode(key), encode(value)), modifiers),
                Token::Key { key, .. } => (encode(key), &[]),
            };
            // Once optional, all that follows is: the mark is shown once.
            let mark = if token.is_optional() && !optional {
                "?"
            } else {
                ""
            };
            optional |= token.is_optional();
            write!(f, "/{text}{mark}")?;
            for modifier in modifiers {
                write!(f, ":{}", modifier.name())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Pointer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_it_is_written_with_one_optional_mark() {
        for (text, shown) in [
            ("", ""),
            ("/", "/"),
            ("/a~1b/c~0d/e~7f", "/a~1b/c~0d/e~7f"),
            ("/a?/b?/name=x?:after", "/a?/b/name=x:after"),
            ("/l/-1:prev:next/k", "/l/-1:prev:next/k"),
            ("/l/-", "/l/-"),
        ] {
            assert_eq!(Pointer::parse(text).unwrap().to_string(), shown);
        }
    }
}
