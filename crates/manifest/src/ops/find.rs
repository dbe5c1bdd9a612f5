//! Finding the value at a path, without changing the document.

use std::borrow::Cow;

use serde_yaml::{Mapping, Value};

use super::{Error, concrete, matches, missing_key, no_list, no_map};
use crate::pointer::{Pointer, Token};

/// The value at `path`. A missing optional key is null, a missing optional match a map of only that match.
pub fn find(document: &Value, path: &Pointer) -> Result<Value, Error> {
    let tokens = path.tokens();
    let mut current = Cow::Borrowed(document);
    for (at, token) in tokens.iter().enumerate() {
        current = match current {
            Cow::Borrowed(value) => step(value, token, path, at)?,
            // What was made up for a missing optional key is small: copying it is fine.
            Cow::Owned(value) => Cow::Owned(step(&value, token, path, at)?.into_owned()),
        };
    }
    Ok(current.into_owned())
}

fn step<'a>(
    container: &'a Value,
    token: &Token,
    path: &Pointer,
    at: usize,
) -> Result<Cow<'a, Value>, Error> {
    match token {
        Token::Index { index, modifiers } => {
            let items = container
                .as_sequence()
                .ok_or_else(|| no_list(container, path, at))?;
            let index = concrete(*index, modifiers, items.len(), path, at)?;
            Ok(Cow::Borrowed(&items[index]))
        }
        Token::AfterLast => Err(Error::AfterLastInFind(path.up_to(at))),
        Token::Match {
            key,
            value,
            optional,
            modifiers,
        } => {
            let items = container
                .as_sequence()
                .ok_or_else(|| no_list(container, path, at))?;
            match matches(items, key, value)[..] {
                [] if *optional => {
                    let entry = (Value::from(key.clone()), Value::from(value.clone()));
                    Ok(Cow::Owned(Value::Mapping(Mapping::from_iter([entry]))))
                }
                [index] => {
                    let index = concrete(index as i64, modifiers, items.len(), path, at)?;
                    Ok(Cow::Borrowed(&items[index]))
                }
                ref several => Err(Error::NotOneMatch {
                    path: path.up_to(at),
                    found: several.len(),
                }),
            }
        }
        Token::Key { key, optional } => {
            let map = container
                .as_mapping()
                .ok_or_else(|| no_map(container, path, at))?;
            match map.get(key.as_str()) {
                Some(value) => Ok(Cow::Borrowed(value)),
                None if !optional => Err(missing_key(map, key, path, at)),
                None => made_up(path, at).map(Cow::Owned),
            }
        }
    }
}

/// What stands for a missing optional key, so that the next step can go on.
fn made_up(path: &Pointer, at: usize) -> Result<Value, Error> {
    match path.tokens().get(at + 1) {
        None => Ok(Value::Null),
        Some(Token::Key { .. }) => Ok(Value::Mapping(Mapping::new())),
        Some(Token::Match { .. }) => Ok(Value::Sequence(Vec::new())),
        Some(_) => Err(Error::CannotCreate {
            expected: "key or matching index token",
            path: path.up_to(at + 1),
        }),
    }
}
