//! Replacing `((placeholders))` by values.
//!
//! Who calls it: [`crate::template`] for the command line, and whoever has a way to look variables up. A missing
//! variable leaves its placeholder as it is; what is inserted is not looked at again. `docs/spec/cli.md` §7.1.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_yaml::{Mapping, Value};

use crate::ops;
use crate::original;
use crate::pointer::Pointer;

/// What a placeholder's name may have: letters of any script, digits, `_`, `-`, `/`, `.`.
const NAME: &str = r"[-/.0-9A-Za-z_\p{L}]+";

static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(r"\A\(\( ?!?({NAME}) ?\)\)\z")).expect("the pattern is a constant")
});
static MENTIONED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(r"\(\( ?!?({NAME}) ?\)\)")).expect("the pattern is a constant")
});
static REPLACED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(r"\(\(!?({NAME})\)\)")).expect("the pattern is a constant")
});

/// A cause from outside: what looks variables up has its own errors.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a document can't be interpolated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Looking a variable up failed, or it lacks what the placeholder asks of it.
    #[error("Finding variable '{name}'")]
    Finding {
        /// The name as it stands in the placeholder.
        name: String,
        /// Why.
        source: BoxError,
    },
    /// A map, list, boolean, float or null inside a longer string.
    #[error(
        "Invalid type '{found}' for value '{value}' and variable '{name}'. Supported types for interpolation within a string are integers and strings."
    )]
    Type {
        /// The value's type.
        found: &'static str,
        /// The value in one line.
        value: String,
        /// The name as it stands in the placeholder.
        name: String,
    },
}

/// Looks a variable up by its name up to the first dot.
pub type Lookup<'a> = dyn FnMut(&str) -> Result<Option<Value>, BoxError> + 'a;

/// A copy of the value with every placeholder replaced whose variable is found, in keys too.
pub fn interpolate(value: &Value, lookup: &mut Lookup<'_>) -> Result<Value, Error> {
    match value {
        Value::String(text) => interpolate_text(text, lookup),
        Value::Sequence(items) => {
            let items = items.iter().map(|item| interpolate(item, lookup));
            Ok(Value::Sequence(items.collect::<Result<_, _>>()?))
        }
        Value::Mapping(map) => {
            let mut result = Mapping::with_capacity(map.len());
            for (key, value) in map {
                result.insert(interpolate(key, lookup)?, interpolate(value, lookup)?);
            }
            Ok(Value::Mapping(result))
        }
        other => Ok(other.clone()),
    }
}

/// The names (up to the first dot) of all placeholders in the value.
pub fn mentioned(value: &Value) -> BTreeSet<String> {
    fn collect(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => {
                names.extend(
                    MENTIONED
                        .captures_iter(text)
                        .map(|found| root(&found[1]).to_owned()),
                );
            }
            Value::Sequence(items) => items.iter().for_each(|item| collect(item, names)),
            Value::Mapping(map) => map.iter().for_each(|(key, value)| {
                collect(key, names);
                collect(value, names);
            }),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    collect(value, &mut names);
    names
}

fn interpolate_text(text: &str, lookup: &mut Lookup<'_>) -> Result<Value, Error> {
    if !text.contains("((") {
        return Ok(Value::String(text.to_owned()));
    }
    if let Some(found) = WHOLE.captures(text) {
        return Ok(get(&found[1], lookup)?.unwrap_or_else(|| Value::String(text.to_owned())));
    }
    // compat: `(( x ))` inside a longer text stays, but it counts as used.
    for found in MENTIONED.captures_iter(text) {
        get(&found[1], lookup)?;
    }
    let mut error = None;
    let replaced = REPLACED.replace_all(text, |found: &Captures<'_>| {
        inserted(&found[1], lookup)
            .unwrap_or_else(|problem| {
                error.get_or_insert(problem);
                None
            })
            .unwrap_or_else(|| found[0].to_owned())
    });
    match error {
        Some(error) => Err(error),
        None => Ok(Value::String(replaced.into_owned())),
    }
}

/// The text that stands for a variable within a longer string.
fn inserted(name: &str, lookup: &mut Lookup<'_>) -> Result<Option<String>, Error> {
    match get(name, lookup)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        Some(other) => Err(Error::Type {
            found: original::type_name(&other),
            value: original::value_text(&other),
            name: name.to_owned(),
        }),
    }
}

/// The value of `a.b.c`: the variable `a`, and in it the path `/b/c`.
fn get(name: &str, lookup: &mut Lookup<'_>) -> Result<Option<Value>, Error> {
    let finding = |source: BoxError| Error::Finding {
        name: name.to_owned(),
        source,
    };
    let root = root(name);
    let Some(value) = lookup(root).map_err(finding)? else {
        return Ok(None);
    };
    if root.len() == name.len() {
        return Ok(Some(value));
    }
    let path = format!("/{}", name[root.len() + 1..].replace('.', "/"));
    let path = Pointer::parse(&path).map_err(|error| finding(error.into()))?;
    ops::find(&value, &path)
        // Digits may also be keys.
        .or_else(|_| ops::find(&value, &path.with_keys_for_positions()))
        .map(Some)
        .map_err(|error| finding(error.into()))
}

fn root(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}
