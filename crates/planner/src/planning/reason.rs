//! Differences in words. A person decides by them whether to go on, so they name what differs; they never show
//! what may be a secret.

use serde_json::{Map, Value as Json};

/// Longer values are not shown: a reason is one line.
const LONGEST_SHOWN: usize = 60;
/// More differences than this in one place are counted, not listed.
const MOST_LISTED: usize = 8;
/// Parts of names whose values are never shown.
const SECRET_WORDS: [&str; 10] = [
    "pass", "secret", "token", "key", "cert", "cred", "private", "auth", "salt", "seed",
];

/// What differences of jobs' properties are called.
pub(super) const PROPERTY: &str = "property";

/// `1.2 → 1.3`.
pub(super) fn arrow(from: impl std::fmt::Display, to: impl std::fmt::Display) -> String {
    format!("{from} → {to}")
}

/// All leaves in which two values differ, as sentences that begin with `what` (`property`).
pub(super) fn differences(what: &str, old: &Json, new: &Json, suffix: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(String::new(), old, new, &mut found);
    let more = found.len().saturating_sub(MOST_LISTED);
    let mut sentences: Vec<String> = found
        .into_iter()
        .take(MOST_LISTED)
        .map(|(path, old, new)| sentence(what, &path, old, new) + suffix)
        .collect();
    if more > 0 {
        sentences.push(format!("{more} more of kind {what}{suffix}"));
    }
    sentences
}

/// As [`differences`], of maps.
pub(super) fn map_differences(
    what: &str,
    old: &Map<String, Json>,
    new: &Map<String, Json>,
) -> Vec<String> {
    differences(
        what,
        &Json::Object(old.clone()),
        &Json::Object(new.clone()),
        "",
    )
}

/// As [`map_differences`], names only.
pub(super) fn map_names(
    what: &str,
    old: &Map<String, Json>,
    new: &Map<String, Json>,
) -> Vec<String> {
    let (old, new) = (Json::Object(old.clone()), Json::Object(new.clone()));
    let mut found = Vec::new();
    walk(String::new(), &old, &new, &mut found);
    let names = found
        .into_iter()
        .map(|(path, _, _)| format!("{what} {path} changed"));
    names.collect()
}

type Difference<'a> = (String, Option<&'a Json>, Option<&'a Json>);

fn walk<'a>(path: String, old: &'a Json, new: &'a Json, found: &mut Vec<Difference<'a>>) {
    if same(old, new) {
        return;
    }
    let (Json::Object(before), Json::Object(after)) = (old, new) else {
        found.push((path, Some(old), Some(new)));
        return;
    };
    let below = |key: &str| {
        if path.is_empty() {
            key.to_string()
        } else {
            format!("{path}.{key}")
        }
    };
    for (key, value) in after {
        match before.get(key) {
            Some(old) => walk(below(key), old, value, found),
            None => found.push((below(key), None, Some(value))),
        }
    }
    for (key, value) in before {
        if !after.contains_key(key) {
            found.push((below(key), Some(value), None));
        }
    }
}

/// Equal, numbers by value: a database may give `1000` back for `1e3`.
fn same(old: &Json, new: &Json) -> bool {
    match (old, new) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => old == new,
    }
}

fn sentence(what: &str, path: &str, old: Option<&Json>, new: Option<&Json>) -> String {
    let lower = path.to_lowercase();
    let secret = SECRET_WORDS.iter().any(|word| lower.contains(word));
    // Any text of a job's property may be a secret, whatever its name: only numbers and switches are shown.
    let property = what == PROPERTY;
    let shown = |value: &Json| -> Option<String> {
        let text = match value {
            Json::Null => "none".to_string(),
            Json::String(text) if text.is_empty() => "\"\"".to_string(),
            Json::String(_) if property => return None,
            Json::String(text) => text.clone(),
            Json::Bool(_) | Json::Number(_) => value.to_string(),
            Json::Array(_) | Json::Object(_) => return None,
        };
        (!secret && text.len() <= LONGEST_SHOWN && !text.contains('\n')).then_some(text)
    };
    match (old, new) {
        (Some(old), Some(new)) => match (shown(old), shown(new)) {
            (Some(old), Some(new)) => format!("{what} {path} {}", arrow(old, new)),
            _ => format!("{what} {path} changed"),
        },
        (None, Some(new)) => match shown(new) {
            Some(new) => format!("{what} {path} set to {new}"),
            None => format!("{what} {path} set"),
        },
        (Some(_), None) | (None, None) => format!("{what} {path} removed"),
    }
}

/// A fingerprint or digest, short enough to be told apart by eye.
pub(super) fn short(fingerprint: &str) -> &str {
    let hex = fingerprint.strip_prefix("sha256:").unwrap_or(fingerprint);
    hex.get(..8).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_name_what_changed_and_never_show_a_secret() {
        let old = json!({"port": 80, "db": {"password": "hunter2", "pool": 5}, "gone": 1, "ca": "-----\nA", "title": "a"});
        let new = json!({"port": 8080, "db": {"password": "hunter3", "pool": 5}, "added": true, "ca": "-----\nB", "title": "b"});
        assert_eq!(
            differences("property", &old, &new, " (job web)"),
            [
                "property port 80 → 8080 (job web)",
                "property db.password changed (job web)",
                "property added set to true (job web)",
                "property ca changed (job web)",
                "property title changed (job web)",
                "property gone removed (job web)",
            ]
        );
    }

    #[test]
    fn many_differences_are_counted() {
        let map = |n: i64| -> Json {
            (0..20)
                .map(|i| (format!("p{i:02}"), json!(n)))
                .collect::<Map<_, _>>()
                .into()
        };
        let all = differences("property", &map(1), &map(2), "");
        assert_eq!(all.len(), MOST_LISTED + 1);
        assert_eq!(all.last().unwrap(), "12 more of kind property");
    }
}
