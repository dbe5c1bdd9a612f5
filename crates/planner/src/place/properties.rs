//! Binding properties: what the job's spec declares, with the operator's values or the defaults
//! (releases-and-templates §13).

use manifest::documents::{Problem, ruby_class};
use serde_json::{Map, Value as Json};

use crate::catalogue::Hash;

/// The bound properties of a job: exactly the declared names, in spec order.
///
/// # Errors
/// Code 100 when the way to a declared name leads through something that is no map.
pub(crate) fn bind(declared: &[(String, Json)], given: &Hash) -> Result<Json, Problem> {
    let mut bound = Map::new();
    for (name, default) in declared {
        let value = match look_up(given, name)? {
            Some(value) if !value.is_null() => sorted(value),
            _ => sorted(default),
        };
        store(&mut bound, name, value);
    }
    Ok(Json::Object(bound))
}

/// The value at a dotted path. `None` when a step is missing or null.
pub(crate) fn look_up<'a>(given: &'a Hash, name: &str) -> Result<Option<&'a Json>, Problem> {
    let mut keys = name.split('.');
    let mut at = given.get(keys.next().unwrap_or_default());
    for key in keys {
        match at {
            None | Some(Json::Null) => return Ok(None),
            Some(Json::Object(map)) => at = map.get(key),
            Some(other) => {
                return Err(Problem::new(
                    100,
                    format!(
                        "Property '{name}' expects a hash, but received '{}'",
                        ruby_class(other)
                    ),
                ));
            }
        }
    }
    Ok(at)
}

/// Whether the path exists, with its value even if that is null: the rule for link properties.
pub(crate) fn look_up_present<'a>(given: &'a Hash, name: &str) -> Option<&'a Json> {
    let mut keys = name.split('.');
    let mut at = given.get(keys.next()?)?;
    for key in keys {
        at = at.as_object()?.get(key)?;
    }
    Some(at)
}

/// Stores under a dotted path; a later declared child writes into what its parent stored.
pub(crate) fn store(into: &mut Map<String, Json>, name: &str, value: Json) {
    match name.split_once('.') {
        None => {
            into.insert(name.to_string(), value);
        }
        Some((first, rest)) => {
            let at = into
                .entry(first)
                .or_insert_with(|| Json::Object(Map::new()));
            if !at.is_object() {
                *at = Json::Object(Map::new());
            }
            if let Json::Object(map) = at {
                store(map, rest, value);
            }
        }
    }
}

/// Maps sorted by key, recursively; lists are left alone, with the maps inside them.
fn sorted(value: &Json) -> Json {
    let Json::Object(map) = value else {
        return value.clone();
    };
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort();
    Json::Object(
        keys.into_iter()
            .map(|k| (k.clone(), sorted(&map[k])))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binding_gives_what_the_original_gave_in_every_recorded_case() {
        let text = include_str!("../../../../tests/vectors/erb.json");
        let vectors: Json = serde_json::from_str(text).unwrap();
        let cases = vectors["cases"].as_array().unwrap().iter();
        let mut count = 0;
        for case in cases.filter(|case| case["kind"] == "bind_properties") {
            count += 1;
            let declared: Vec<(String, Json)> = case["spec_properties"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, d)| {
                    (
                        name.clone(),
                        d.get("default").cloned().unwrap_or(Json::Null),
                    )
                })
                .collect();
            let given = case["manifest_properties"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            let bound = bind(&declared, &given);
            match case["expected"].get("bound") {
                // The order of keys counts: templates may walk over a map.
                Some(expected) => {
                    assert_eq!(bound.unwrap().to_string(), expected.to_string(), "{case}")
                }
                None => assert_eq!(
                    bound.unwrap_err().message,
                    case["expected"]["error"],
                    "{case}"
                ),
            }
        }
        assert_eq!(count, 11);
    }
}
