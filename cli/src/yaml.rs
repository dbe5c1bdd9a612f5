//! YAML between the CLI's own data and its output, in the original's form.

use serde_yaml::Value;

/// YAML text of a JSON value, keys sorted, without the last newline.
pub fn from_json(value: &serde_json::Value) -> String {
    let value = to_value(value);
    manifest::yaml::to_cli_string(&value)
        .trim_end_matches('\n')
        .to_owned()
}

fn to_value(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Number(number.into()),
            (_, Some(number)) => Value::Number(number.into()),
            _ => Value::Number(number.as_f64().unwrap_or_default().into()),
        },
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Array(items) => Value::Sequence(items.iter().map(to_value).collect()),
        serde_json::Value::Object(fields) => Value::Mapping(
            fields
                .iter()
                .map(|(key, value)| (Value::String(key.clone()), to_value(value)))
                .collect(),
        ),
    }
}
