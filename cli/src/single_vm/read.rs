//! Reading a manifest's YAML as the original's typed reader does: absent and null are empty, scalars are texts.

use crate::error::{Error, Result};
use manifest::yaml::{Value, scalar_text};
use serde_json::{Map, Value as Json};

pub fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|found| !found.is_null())
}

pub fn text(value: &Value, key: &str) -> String {
    get(value, key).and_then(scalar_text).unwrap_or_default()
}

pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    get(value, key)
        .and_then(Value::as_sequence)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

pub fn texts(value: &Value, key: &str) -> Vec<String> {
    list(value, key).iter().filter_map(scalar_text).collect()
}

pub fn integer(value: &Value, key: &str, at: &str) -> Result<i64> {
    match get(value, key) {
        None => Ok(0),
        Some(found) => found
            .as_i64()
            .ok_or_else(|| Error::message(format!("{at}.{key} must be an integer"))),
    }
}

/// A map as JSON, keys sorted at every level as the original writes them.
pub fn object(value: &Value, key: &str, at: &str) -> Result<Map<String, Json>> {
    Ok(optional_object(value, key, at)?.unwrap_or_default())
}

pub fn optional_object(value: &Value, key: &str, at: &str) -> Result<Option<Map<String, Json>>> {
    let Some(found) = get(value, key) else {
        return Ok(None);
    };
    match sorted(manifest::documents::to_json(found)) {
        Json::Object(map) => Ok(Some(map)),
        _ => Err(Error::message(format!("{at}.{key} must be a map"))),
    }
}

/// The same value with the keys of all its maps in order.
pub fn sorted(value: Json) -> Json {
    match value {
        Json::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Json::Object(entries.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

pub fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Whether a URL is one that can be fetched.
pub fn is_url(url: &str) -> bool {
    ["file://", "http://", "https://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
}

/// All problems in one error; success without any.
pub fn all(problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Several(
        problems.into_iter().map(Error::message).collect(),
    ))
}
