//! Values as Ruby prints them: the original's messages embed hashes and lists in that form (§0).

use serde_json::Value as Json;

/// `{"name" => "a", "n" => 1}`, nil as `nil`, strings in double quotes.
pub fn inspect(value: &Json) -> String {
    match value {
        Json::Null => "nil".into(),
        Json::Bool(b) => b.to_string(),
        Json::Number(n) => n.to_string(),
        Json::String(s) => inspect_text(s),
        Json::Array(items) => {
            let items: Vec<_> = items.iter().map(inspect).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(map) if map.is_empty() => "{}".into(),
        Json::Object(map) => {
            let pairs: Vec<_> = map
                .iter()
                .map(|(k, v)| format!("{} => {}", inspect_text(k), inspect(v)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// A value in the middle of a sentence (`to_s`): texts bare, nil as nothing.
pub(crate) fn interpolated(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(s) => s.clone(),
        other => inspect(other),
    }
}

/// As `Property '<key>' value (<value>)` shows it: nil spelled out, texts bare with `inspect` for the rest.
pub(crate) fn shown(value: &Json) -> String {
    match value {
        Json::Null => "nil".into(),
        other => inspect(other),
    }
}

/// The Ruby class of a value.
pub fn class(value: &Json) -> &'static str {
    match value {
        Json::Null => "NilClass",
        Json::Bool(true) => "TrueClass",
        Json::Bool(false) => "FalseClass",
        Json::Number(n) if n.is_f64() => "Float",
        Json::Number(_) => "Integer",
        Json::String(_) => "String",
        Json::Array(_) => "Array",
        Json::Object(_) => "Hash",
    }
}

fn inspect_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
