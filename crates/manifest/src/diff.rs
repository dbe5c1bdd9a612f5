//! What changes from one manifest or config to the next, as the lines that people confirm.
//!
//! Who calls it: the director for the diff endpoints; it merges configs into the manifest and resolves versions first.
//! Compared is what is there, shown is what may be seen: a changed secret is two redacted lines.
//! `docs/spec/director-api.md` §10.3 and §11.4, `docs/spec/manifests-and-planning.md` §4.4.

use serde::Serialize;
use serde_yaml::{Mapping, Value};

use crate::yaml;

/// What a line says about the next manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the next has it.
    Added,
    /// Only the former had it.
    Removed,
}

/// One line with its change; context lines have none. Serialises as `[text, "added"|"removed"|null]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line(pub String, pub Option<Change>);

/// Sections stand in this order, others behind them as they are found.
const SECTIONS: [&str; 15] = [
    "azs:",
    "vm_types:",
    "vm_extensions:",
    "resource_pools:",
    "compilation:",
    "networks:",
    "disk_types:",
    "name:",
    "stemcells:",
    "releases:",
    "update:",
    "jobs:",
    "release:",
    "addons:",
    "variables:",
];

const REDACTED: &str = "<redacted>";

/// Compares two documents; what is no map counts as an empty one.
pub fn diff(before: &Value, after: &Value, redact: bool) -> Vec<Line> {
    let empty = Mapping::new();
    let before = before.as_mapping().unwrap_or(&empty);
    let after = after.as_mapping().unwrap_or(&empty);
    let visibility = if redact {
        Visibility::Guarded
    } else {
        Visibility::Open
    };
    let mut sections = Vec::new();
    for key in keys(before, after) {
        let change = entry_lines(key, before.get(key), after.get(key), 0, visibility);
        // A change of kind or scalar is two sections.
        match change {
            EntryLines::Replaced(removed, added) => sections.extend([removed, added]),
            EntryLines::Together(lines) => sections.push(lines),
        }
    }
    sections.retain(|section| !section.is_empty());
    // compat: only a section whose first line is the bare key has its place in the order.
    sections.sort_by_key(|section| {
        SECTIONS
            .iter()
            .position(|name| *name == section[0].0)
            .unwrap_or(SECTIONS.len())
    });
    sections.join(&Line(String::new(), None))
}

/// Whether values may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visibility {
    /// All of them.
    Open,
    /// All but those below `properties` and `bosh`, and credentials in URLs.
    Guarded,
    /// None.
    Hidden,
}

impl Visibility {
    /// What holds for the value of a key.
    fn below(self, key: &Value, value: &Value) -> Self {
        let secret = matches!(key.as_str(), Some("properties" | "bosh")) && value.is_mapping();
        if self == Self::Guarded && secret {
            Self::Hidden
        } else {
            self
        }
    }
}

/// The keys of both maps, the former's first.
fn keys<'a>(before: &'a Mapping, after: &'a Mapping) -> Vec<&'a Value> {
    let new = after.keys().filter(|key| !before.contains_key(*key));
    before.keys().chain(new).collect()
}

enum EntryLines {
    Together(Vec<Line>),
    Replaced(Vec<Line>, Vec<Line>),
}

fn entry_lines(
    key: &Value,
    before: Option<&Value>,
    after: Option<&Value>,
    level: usize,
    visibility: Visibility,
) -> EntryLines {
    let whole = |value: &Value, change| {
        let entry = Mapping::from_iter([(key.clone(), value.clone())]);
        text_lines(&Value::Mapping(entry), level, visibility, change)
    };
    let context = || Line(format!("{}{}:", indent(level), key_text(key)), None);
    EntryLines::Together(match (before, after) {
        (None, None) => Vec::new(),
        (Some(before), None) => whole(before, Change::Removed),
        (None, Some(after)) => whole(after, Change::Added),
        (Some(before), Some(after)) if before == after => Vec::new(),
        (Some(before @ Value::Mapping(b)), Some(Value::Mapping(a))) => {
            let mut lines = vec![context()];
            lines.extend(map_lines(b, a, level + 1, visibility.below(key, before)));
            lines
        }
        (Some(Value::Sequence(b)), Some(Value::Sequence(a))) => {
            let mut lines = vec![context()];
            lines.extend(list_lines(b, a, level, visibility));
            lines
        }
        (Some(before), Some(after)) => {
            return EntryLines::Replaced(
                whole(before, Change::Removed),
                whole(after, Change::Added),
            );
        }
    })
}

fn map_lines(before: &Mapping, after: &Mapping, level: usize, visibility: Visibility) -> Vec<Line> {
    let entries = keys(before, after).into_iter().flat_map(|key| {
        match entry_lines(key, before.get(key), after.get(key), level, visibility) {
            EntryLines::Together(lines) => lines,
            EntryLines::Replaced(removed, added) => [removed, added].concat(),
        }
    });
    entries.collect()
}

/// New and changed items in their order, then those that are gone. Items are the same by `name`, or else by `range`.
fn list_lines(
    before: &[Value],
    after: &[Value],
    level: usize,
    visibility: Visibility,
) -> Vec<Line> {
    let mut gone: Vec<&Value> = before.iter().filter(|item| !after.contains(item)).collect();
    let mut lines = Vec::new();
    for item in after.iter().filter(|item| !before.contains(item)) {
        let former = identity(item).and_then(|identity| {
            let at = gone
                .iter()
                .position(|other| same_identity(other, identity))?;
            Some((identity, gone.remove(at)))
        });
        match former {
            Some(((key, value), former)) => {
                let entry = Mapping::from_iter([(Value::from(key), value.clone())]);
                let mut context =
                    shown_lines(&Value::from(vec![Value::Mapping(entry)]), level, visibility);
                lines.extend(context.drain(..).map(|text| Line(text, None)));
                let empty = Mapping::new();
                let map = |value: &Value| value.as_mapping().cloned().unwrap_or(empty.clone());
                lines.extend(map_lines(&map(former), &map(item), level + 1, visibility));
            }
            None => lines.extend(item_lines(item, level, visibility, Change::Added)),
        }
    }
    for item in gone {
        lines.extend(item_lines(item, level, visibility, Change::Removed));
    }
    lines
}

/// What an item is known by.
fn identity(item: &Value) -> Option<(&'static str, &Value)> {
    let map = item.as_mapping()?;
    ["name", "range"]
        .into_iter()
        .find_map(|key| Some((key, map.get(key)?)))
}

fn same_identity(item: &Value, (key, value): (&str, &Value)) -> bool {
    item.as_mapping().and_then(|map| map.get(key)) == Some(value)
}

fn item_lines(item: &Value, level: usize, visibility: Visibility, change: Change) -> Vec<Line> {
    text_lines(
        &Value::Sequence(vec![item.clone()]),
        level,
        visibility,
        change,
    )
}

fn text_lines(value: &Value, level: usize, visibility: Visibility, change: Change) -> Vec<Line> {
    let lines = shown_lines(value, level, visibility);
    lines
        .into_iter()
        .map(|text| Line(text, Some(change)))
        .collect()
}

/// The lines of a map or list, without a document marker.
fn shown_lines(value: &Value, level: usize, visibility: Visibility) -> Vec<String> {
    let text = yaml::to_director_string(&shown(value, visibility));
    let text = text.strip_prefix("---").unwrap_or(&text);
    text.trim_matches('\n')
        .lines()
        .map(|line| format!("{}{line}", indent(level)))
        .collect()
}

/// The value as it may be seen.
fn shown(value: &Value, visibility: Visibility) -> Value {
    match value {
        Value::Mapping(map) => {
            let mut result = Mapping::with_capacity(map.len());
            for (key, value) in map {
                let visible = match value {
                    Value::String(url)
                        if visibility == Visibility::Guarded && key.as_str() == Some("url") =>
                    {
                        Value::String(without_credentials(url))
                    }
                    other => shown(other, visibility.below(key, other)),
                };
                result.insert(key.clone(), visible);
            }
            Value::Mapping(result)
        }
        Value::Sequence(items) => {
            Value::Sequence(items.iter().map(|item| shown(item, visibility)).collect())
        }
        _ if visibility == Visibility::Hidden => Value::from(REDACTED),
        other => other.clone(),
    }
}

/// `https://user:password@host` without the two.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("//") else {
        return url.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) if rest[..at].contains(':') => {
            format!("{scheme}//{REDACTED}:{REDACTED}{}", &rest[at..])
        }
        _ => url.to_owned(),
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn key_text(key: &Value) -> String {
    yaml::scalar_text(key).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Dialect;

    /// The lines with `+`, `-` or a space in front.
    fn shown_diff(before: &str, after: &str, redact: bool) -> String {
        let read = |text| yaml::parse(text, Dialect::Director).unwrap();
        let lines = diff(&read(before), &read(after), redact)
            .into_iter()
            .map(|line| {
                let sign = match line.1 {
                    Some(Change::Added) => '+',
                    Some(Change::Removed) => '-',
                    None => ' ',
                };
                format!("{sign} {}", line.0).trim_end().to_owned() + "\n"
            });
        lines.collect()
    }

    #[test]
    fn changed_items_are_shown_under_their_name_and_sections_are_apart() {
        let before = "
azs:
- cloud_properties: {zone: one}
  name: z1
- cloud_properties: {zone: two}
  name: z2
vm_types:
- cloud_properties: {cores: 1}
  name: small
- cloud_properties: {cores: 4}
  name: large
";
        let after = "
azs:
- cloud_properties: {zone: one}
  name: z1
- cloud_properties: {zone: second}
  name: z2
- name: z3
vm_types:
- cloud_properties: {cores: 1}
  name: small
- cloud_properties: {cores: 8}
  name: large
";
        let expected = "  azs:
  - name: z2
    cloud_properties:
-     zone: two
+     zone: second
+ - name: z3

  vm_types:
  - name: large
    cloud_properties:
-     cores: 4
+     cores: 8
";
        assert_eq!(shown_diff(before, after, true), expected);
        assert_eq!(shown_diff(before, before, true), "");
    }

    #[test]
    fn a_changed_scalar_at_the_top_is_two_sections_and_other_items_are_gone_and_new() {
        let before = "anything: 1\nstemcells:\n- {alias: default, version: '1'}\n";
        let after = "anything: 2\nstemcells:\n- {alias: default, version: '2'}\n";
        let expected = "  stemcells:
+ - alias: default
+   version: '2'
- - alias: default
-   version: '1'

- anything: 1

+ anything: 2
";
        assert_eq!(shown_diff(before, after, true), expected);
        assert_eq!(
            shown_diff("azs:\n- name: a\n", "azs: 1\n", true),
            "- azs:\n- - name: a\n\n+ azs: 1\n"
        );
    }

    #[test]
    fn properties_and_credentials_are_compared_but_not_shown() {
        let before = "
releases:
- {name: r, url: 'https://me:pass@host/a'}
addons:
- name: banner
  jobs:
  - {name: banner, properties: {text: old, list: [a]}}
";
        let after = "
releases:
- {name: r, url: 'https://me:other@host/b'}
addons:
- name: banner
  jobs:
  - {name: banner, properties: {text: new, list: [a], more: {deep: 1}}}
";
        let expected = "  releases:
  - name: r
-   url: https://<redacted>:<redacted>@host/a
+   url: https://<redacted>:<redacted>@host/b

  addons:
  - name: banner
    jobs:
    - name: banner
      properties:
-       text: \"<redacted>\"
+       text: \"<redacted>\"
+       more:
+         deep: \"<redacted>\"
";
        assert_eq!(shown_diff(before, after, true), expected);
        assert!(shown_diff(before, after, false).contains("+       text: new\n"));
    }

    #[test]
    fn lines_serialise_as_the_api_has_them() {
        let lines = [
            Line("a:".into(), None),
            Line("  b: 1".into(), Some(Change::Added)),
        ];
        let json = serde_json::to_string(&lines).unwrap();
        assert_eq!(json, r#"[["a:",null],["  b: 1","added"]]"#);
    }
}
