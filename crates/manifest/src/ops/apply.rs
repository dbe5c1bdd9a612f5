//! Carrying operations out.

use serde_yaml::{Mapping, Value};

use super::{Error, Kind, Operation, concrete, find, matches, missing_key};
use crate::original;
use crate::pointer::{Modifier, Pointer, Token};

/// An operation that could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Error '{label}': {cause}")]
pub struct ApplyError {
    /// Which one: `operation [2] in ops/x.yml failed`.
    pub label: String,
    /// Why.
    pub cause: Error,
}

/// Applies the operations in order; the first that fails ends it.
pub fn apply(document: &mut Value, operations: &[Operation]) -> Result<(), ApplyError> {
    for operation in operations {
        apply_one(document, &operation.kind).map_err(|cause| ApplyError {
            label: operation.label.clone(),
            cause,
        })?;
    }
    Ok(())
}

fn apply_one(document: &mut Value, kind: &Kind) -> Result<(), Error> {
    match kind {
        Kind::Replace { path, value } => replace(document, path, 0, value),
        Kind::Remove { path } if path.tokens().is_empty() => Err(Error::RemoveDocument),
        Kind::Remove { path } => remove(document, path, 0),
        Kind::TestValue { path, value } => {
            if find(document, path)? == *value {
                Ok(())
            } else {
                Err(Error::Mismatch)
            }
        }
        Kind::TestAbsent { path } => test_absent(document, path),
    }
}

/// Only the last step may be missing: a missing parent is an error of its own.
fn test_absent(document: &Value, path: &Pointer) -> Result<(), Error> {
    let whole = path.to_string();
    match find(document, path) {
        Ok(_) => Err(Error::Present(whole)),
        Err(Error::MissingKey { path, .. } | Error::MissingIndex { path, .. }) if path == whole => {
            Ok(())
        }
        Err(other) => Err(other),
    }
}

fn replace(target: &mut Value, path: &Pointer, at: usize, new: &Value) -> Result<(), Error> {
    let Some(token) = path.tokens().get(at) else {
        target.clone_from(new);
        return Ok(());
    };
    let last = at + 1 == path.tokens().len();
    match token {
        Token::Key { key, optional } => {
            let found = original::type_name(target);
            let Value::Mapping(map) = target else {
                return Err(Error::NoMap {
                    path: path.up_to(at),
                    found,
                });
            };
            if !map.contains_key(key.as_str()) {
                if !optional {
                    return Err(missing_key(map, key, path, at));
                }
                let value = if last {
                    Value::Null
                } else {
                    created(path, at)?
                };
                map.insert(Value::from(key.clone()), value);
            }
            match map.get_mut(key.as_str()) {
                Some(inner) => replace(inner, path, at + 1, new),
                None => Ok(()),
            }
        }
        Token::AfterLast => {
            list(target, path, at)?.push(new.clone());
            Ok(())
        }
        Token::Index { index, modifiers } => {
            let items = list(target, path, at)?;
            place(items, *index, modifiers, path, at, new)
        }
        Token::Match {
            key,
            value,
            optional,
            modifiers,
        } => {
            let items = list(target, path, at)?;
            match matches(items, key, value)[..] {
                [] if *optional && last => {
                    items.push(new.clone());
                    Ok(())
                }
                [] if *optional => {
                    let entry = (Value::from(key.clone()), Value::from(value.clone()));
                    let mut item = Value::Mapping(Mapping::from_iter([entry]));
                    replace(&mut item, path, at + 1, new)?;
                    items.push(item);
                    Ok(())
                }
                [index] => place(items, index as i64, modifiers, path, at, new),
                ref several => Err(Error::NotOneMatch {
                    path: path.up_to(at),
                    found: several.len(),
                }),
            }
        }
    }
}

/// What a missing optional key gets when the path goes on behind it.
fn created(path: &Pointer, at: usize) -> Result<Value, Error> {
    match path.tokens().get(at + 1) {
        Some(Token::Key { .. }) => Ok(Value::Mapping(Mapping::new())),
        Some(Token::AfterLast | Token::Match { .. }) => Ok(Value::Sequence(Vec::new())),
        _ => Err(Error::CannotCreate {
            expected: "key, matching index or after last index token",
            path: path.up_to(at + 1),
        }),
    }
}

/// Replaces the item at a position or inserts beside it; goes on inside of it if the path does.
fn place(
    items: &mut Vec<Value>,
    index: i64,
    modifiers: &[Modifier],
    path: &Pointer,
    at: usize,
    new: &Value,
) -> Result<(), Error> {
    if at + 1 < path.tokens().len() {
        let index = concrete(index, modifiers, items.len(), path, at)?;
        return replace(&mut items[index], path, at + 1, new);
    }
    let insertion = modifiers
        .iter()
        .position(|modifier| matches!(modifier, Modifier::Before | Modifier::After));
    let Some(insertion) = insertion else {
        let index = concrete(index, modifiers, items.len(), path, at)?;
        items[index].clone_from(new);
        return Ok(());
    };
    let after = modifiers[insertion] == Modifier::After;
    if let Some(second) = modifiers.get(insertion + 1) {
        let first = if after { "after" } else { "before" };
        return Err(Error::AfterInsertion {
            first,
            second: *second,
        });
    }
    let index = concrete(index, &modifiers[..insertion], items.len(), path, at)?;
    items.insert(index + usize::from(after), new.clone());
    Ok(())
}

fn remove(target: &mut Value, path: &Pointer, at: usize) -> Result<(), Error> {
    let last = at + 1 == path.tokens().len();
    match &path.tokens()[at] {
        Token::AfterLast => Err(Error::AfterLastInRemove(path.up_to(at))),
        Token::Key { key, optional } => {
            let found = original::type_name(target);
            let Value::Mapping(map) = target else {
                return Err(Error::NoMap {
                    path: path.up_to(at),
                    found,
                });
            };
            if !map.contains_key(key.as_str()) {
                return if *optional {
                    Ok(())
                } else {
                    Err(missing_key(map, key, path, at))
                };
            }
            if last {
                map.shift_remove(key.as_str());
                return Ok(());
            }
            match map.get_mut(key.as_str()) {
                Some(inner) => remove(inner, path, at + 1),
                None => Ok(()),
            }
        }
        Token::Index { index, modifiers } => {
            let items = list(target, path, at)?;
            remove_item(items, *index, modifiers, path, at)
        }
        Token::Match {
            key,
            value,
            optional,
            modifiers,
        } => {
            let items = list(target, path, at)?;
            match matches(items, key, value)[..] {
                [] if *optional => Ok(()),
                [index] => remove_item(items, index as i64, modifiers, path, at),
                ref several => Err(Error::NotOneMatch {
                    path: path.up_to(at),
                    found: several.len(),
                }),
            }
        }
    }
}

fn remove_item(
    items: &mut Vec<Value>,
    index: i64,
    modifiers: &[Modifier],
    path: &Pointer,
    at: usize,
) -> Result<(), Error> {
    let index = concrete(index, modifiers, items.len(), path, at)?;
    if at + 1 < path.tokens().len() {
        return remove(&mut items[index], path, at + 1);
    }
    items.remove(index);
    Ok(())
}

fn list<'a>(target: &'a mut Value, path: &Pointer, at: usize) -> Result<&'a mut Vec<Value>, Error> {
    let found = original::type_name(target);
    match target {
        Value::Sequence(items) => Ok(items),
        _ => Err(Error::NoList {
            path: path.up_to(at),
            found,
        }),
    }
}
