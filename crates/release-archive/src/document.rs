//! The YAML documents of releases: reading them as values, and writing them as the original's CLI does.

use std::path::Path;

use manifest::yaml::{self, Dialect};
use serde_yaml::{Mapping, Value};

use crate::problem::{Problem, Within};

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(path)
        .map_err(|error| Problem::io("open", path, &error))
        .within(|| format!("Opening file {}", path.display()))
}

/// Reads a document. What `reading` says is put around the problem of reading its file, what `parsing` says around one
/// of its content.
/// Scalars are texts as they are written, see [`texts_of`].
pub(crate) fn load(
    path: &Path,
    reading: impl FnOnce() -> String,
    parsing: impl FnOnce() -> String,
) -> Result<Value, Problem> {
    let text = read(path).within(reading)?;
    texts_of(&text).within(parsing)
}

/// Parses a document whose fields are texts, as the command line does. An empty document is null.
pub(crate) fn texts_of(text: &str) -> Result<Value, Problem> {
    yaml::parse_texts(text).map_err(|error| Problem::new(error.to_string()))
}

/// Parses a document with typed values as the command line does. An empty document is null.
pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    parse_as(text, Dialect::Cli)
}

/// Parses a document as the director does: for what templates see (`default` values of properties).
pub(crate) fn parse_for_director(text: &str) -> Result<Value, Problem> {
    parse_as(text, Dialect::Director)
}

fn parse_as(text: &str, dialect: Dialect) -> Result<Value, Problem> {
    yaml::parse(text, dialect).map_err(|error| Problem::new(error.to_string()))
}

/// The mapping's member, null counting as absent.
pub(crate) fn get<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    map.as_mapping()?.get(key).filter(|value| !value.is_null())
}

/// A scalar as text: versions and names may be written as bare numbers.
pub(crate) fn text(value: &Value) -> Option<String> {
    yaml::scalar_text(value).filter(|_| !value.is_null())
}

pub(crate) fn get_text(map: &Value, key: &str) -> Option<String> {
    get(map, key).and_then(text)
}

/// A switch, typed or as its text.
pub(crate) fn get_bool(map: &Value, key: &str) -> bool {
    match get(map, key) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "yes" | "on" | "y"
        ),
        _ => false,
    }
}

/// A list of scalars; absent is empty, anything else is `None`.
pub(crate) fn texts(map: &Value, key: &str) -> Option<Vec<String>> {
    match get(map, key) {
        None => Some(Vec::new()),
        Some(Value::Sequence(items)) => items.iter().map(text).collect(),
        Some(_) => None,
    }
}

pub(crate) fn entries(map: &Value, key: &str) -> Mapping {
    get(map, key)
        .and_then(Value::as_mapping)
        .cloned()
        .unwrap_or_default()
}

/// The value as JSON, key order kept. Keys that are no texts become their text.
pub fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Number(number) => number
            .as_i64()
            .map(Into::into)
            .or_else(|| number.as_u64().map(Into::into))
            .or_else(|| number.as_f64().map(Into::into))
            .unwrap_or(serde_json::Value::Null),
        Value::String(text) => text.clone().into(),
        Value::Sequence(items) => items.iter().map(to_json).collect(),
        Value::Mapping(map) => map
            .iter()
            .map(|(key, value)| (text(key).unwrap_or_default(), to_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Tagged(tagged) => text(value)
            .map(Into::into)
            .unwrap_or_else(|| to_json(&tagged.value)),
    }
}

/// A string as a YAML scalar: bare where every YAML 1.1 and 1.2 reader takes it for a string, else double quoted.
pub(crate) fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        // A JSON string is a YAML double quoted scalar.
        serde_json::Value::from(text).to_string()
    }
}

fn is_plain(text: &str) -> bool {
    let first_ok = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '$' | '('));
    let rest_ok = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-./+:;()$=~@, ".contains(c));
    let syntax = text.contains(": ") || text.ends_with([':', ' ']) || text.starts_with("..");
    if !first_ok || !rest_ok || syntax {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let word = matches!(
        lower.as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | ".nan" | ".inf"
    );
    !word && !is_number_like(&lower)
}

/// Integers in any base, floats, sexagesimals and dates.
fn is_number_like(lower: &str) -> bool {
    let starts = lower.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let digits = lower
        .chars()
        .all(|c| c.is_ascii_digit() || "._:-+ tz".contains(c));
    let exponent = || {
        lower.split_once('e').is_some_and(|(mantissa, exponent)| {
            mantissa
                .chars()
                .all(|c| c.is_ascii_digit() || c == '.' || c == '_')
                && exponent
                    .trim_start_matches(['+', '-'])
                    .chars()
                    .all(|c| c.is_ascii_digit())
        })
    };
    let prefixed = || {
        lower
            .strip_prefix("0x")
            .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit() || c == '_'))
            || lower.starts_with("0o")
            || lower.starts_with("0b")
    };
    starts && (digits || exponent() || prefixed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_that_read_as_something_else_are_quoted() {
        for plain in [
            "1+dev.1",
            "sha256:ab",
            "46e1b5a7b2",
            "non-git",
            "a",
            "jobs/web",
        ] {
            if plain == "1+dev.1" || plain == "sha256:ab" || plain.len() > 1 {
                assert_eq!(scalar(plain), plain);
            }
        }
        for quoted in [
            "1",
            "1.10",
            "1e5",
            "123e456",
            "yes",
            "12:30",
            "2026-11-21",
            "0x1f",
            "",
            "- a",
            "a: b",
        ] {
            assert_eq!(scalar(quoted), format!("{quoted:?}"));
        }
    }

    #[test]
    fn old_binary_tags_are_read_as_text() {
        let value = parse("sha1: !binary |-\n  YWJj\n").unwrap();
        assert_eq!(get_text(&value, "sha1").as_deref(), Some("abc"));
    }
}
