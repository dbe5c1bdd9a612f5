//! Words for types and values in the error texts of the original command line.
//!
//! compat: scripts match on these texts, so they keep the names of the original's own types.

use serde_yaml::Value;

use crate::yaml;

/// The name of a value's type.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(n) if n.is_i64() => "int",
        Value::Number(_) => "uint64",
        Value::String(_) => "string",
        Value::Sequence(_) => "[]interface {}",
        Value::Mapping(_) => "map[interface {}]interface {}",
        Value::Tagged(tagged) => type_name(&tagged.value),
    }
}

/// A value in one line: `map[a:1 b:[x y]]`.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Number(n) => yaml::number_in_text(n),
        Value::Sequence(items) => {
            let items: Vec<_> = items.iter().map(value_text).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Mapping(map) => {
            let mut entries: Vec<_> = map
                .iter()
                .map(|(k, v)| (value_text(k), value_text(v)))
                .collect();
            entries.sort();
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(k, v)| format!("{k}:{v}"))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        Value::Tagged(tagged) => value_text(&tagged.value),
        other => yaml::scalar_text(other).unwrap_or_default(),
    }
}
