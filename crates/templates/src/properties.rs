//! Collecting what a job sees of the operator's properties: `docs/spec/releases-and-templates.md` §13.

use serde_json::{Map, Value};

/// A property that should hold others is no map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Property '{name}' expects a hash, but received '{class}'")]
pub struct Error {
    /// The dotted name of the declared property.
    pub name: String,
    /// The Ruby class of what is there.
    pub class: &'static str,
}

/// Binds the declared properties (dotted name and default, in spec order) to the operator's values.
///
/// The result has exactly the declared names; null and absent take the default; maps are sorted by key.
pub fn bind<'a>(
    declared: impl IntoIterator<Item = (&'a str, &'a Value)>,
    given: &Value,
) -> Result<Map<String, Value>, Error> {
    let mut bound = Map::new();
    for (name, default) in declared {
        let value = match find(given, name)? {
            Some(value) => sorted(value),
            None => sorted(default),
        };
        set(&mut bound, name, value);
    }
    Ok(bound)
}

fn find<'a>(given: &'a Value, name: &str) -> Result<Option<&'a Value>, Error> {
    let mut value = given;
    for part in name.split('.') {
        match value {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(part) {
                Some(next) => value = next,
                None => return Ok(None),
            },
            other => {
                return Err(Error {
                    name: name.to_owned(),
                    class: ruby_class(other),
                });
            }
        }
    }
    Ok(Some(value).filter(|value| !value.is_null()))
}

fn ruby_class(value: &Value) -> &'static str {
    match value {
        Value::Null => "NilClass",
        Value::Bool(true) => "TrueClass",
        Value::Bool(false) => "FalseClass",
        Value::Number(number) if number.is_f64() => "Float",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Hash",
    }
}

/// Maps sorted by key at every level of maps; lists are left alone, also maps inside of them.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(entries.collect())
        }
        other => other.clone(),
    }
}

fn set(bound: &mut Map<String, Value>, name: &str, value: Value) {
    let mut parts: Vec<_> = name.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut map = bound;
    for part in parts {
        let next = map.entry(part).or_insert_with(|| Value::Object(Map::new()));
        if !next.is_object() {
            *next = Value::Object(Map::new());
        }
        let Value::Object(next) = next else {
            return;
        };
        map = next;
    }
    map.insert(last.to_owned(), value);
}
