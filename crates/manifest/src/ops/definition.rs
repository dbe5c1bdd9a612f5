//! Reading an operations file and checking every operation of it.

use std::fmt::Write as _;

use serde_yaml::{Mapping, Value};

use super::{Kind, Operation};
use crate::pointer::Pointer;
use crate::yaml::{self, Dialect};

/// An operations file that can't be used: `docs/spec/cli.md` §8.7.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DefinitionError {
    /// The file is no YAML.
    #[error("Deserializing ops file '{file}'")]
    Yaml {
        /// The file as it was named.
        file: String,
        /// Why.
        source: yaml::Error,
    },
    /// The file is YAML, but no list of operations.
    #[error("Deserializing ops file '{file}': yaml: unmarshal errors:\n  {problem}")]
    Shape {
        /// The file as it was named.
        file: String,
        /// Where and why.
        problem: String,
    },
    /// One of the operations is incomplete or contradicts itself.
    #[error("Building ops: {problem} within\n{definition}")]
    Operation {
        /// Which one and why.
        problem: String,
        /// The definition as JSON, without its value.
        definition: String,
    },
}

/// Parses the text of an operations file; `file` names it in errors.
pub fn parse(text: &str, file: &str) -> Result<Vec<Operation>, DefinitionError> {
    let document =
        yaml::parse_document(text, Dialect::Cli).map_err(|source| DefinitionError::Yaml {
            file: file.to_owned(),
            source,
        })?;
    let shape = |path: &str, problem: String| {
        let line = document.lines.of(path).unwrap_or(1);
        DefinitionError::Shape {
            file: file.to_owned(),
            problem: format!("line {line}: {problem}"),
        }
    };
    let items = match &document.value {
        Value::Null => return Ok(Vec::new()),
        Value::Sequence(items) => items,
        other => {
            let found = yaml::type_name(other);
            return Err(shape(
                "",
                format!("expected a list of operations, found a {found}"),
            ));
        }
    };
    let definitions = items
        .iter()
        .enumerate()
        .map(|(at, item)| {
            Definition::read(item, at, file).map_err(|problem| shape(&format!("/{at}"), problem))
        })
        .collect::<Result<Vec<_>, _>>()?;
    definitions
        .into_iter()
        .enumerate()
        .map(|(at, definition)| definition.build(at))
        .collect()
}

/// An operation as written.
struct Definition {
    kind: String,
    path: Option<String>,
    value: Option<Value>,
    absent: Option<bool>,
    label: String,
}

impl Definition {
    fn read(item: &Value, at: usize, file: &str) -> Result<Self, String> {
        let empty = Mapping::new();
        let map = match item {
            Value::Mapping(map) => map,
            Value::Null => &empty,
            other => {
                return Err(format!(
                    "expected an operation, found a {}",
                    yaml::type_name(other)
                ));
            }
        };
        let text = |key: &str| match map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => yaml::scalar_text(value).map(Some).ok_or_else(|| {
                format!(
                    "expected '{key}' to be a string, found a {}",
                    yaml::type_name(value)
                )
            }),
        };
        let absent = match map.get("absent") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(absent)) => Some(*absent),
            Some(other) => {
                let found = yaml::type_name(other);
                return Err(format!(
                    "expected 'absent' to be a boolean, found a {found}"
                ));
            }
        };
        Ok(Self {
            kind: text("type")?.unwrap_or_default(),
            path: text("path")?,
            // compat: an explicit null counts as no value.
            value: map.get("value").filter(|value| !value.is_null()).cloned(),
            absent,
            label: format!("operation [{at}] in {file} failed"),
        })
    }

    fn build(self, at: usize) -> Result<Operation, DefinitionError> {
        let name = match self.kind.as_str() {
            "replace" => "Replace",
            "remove" => "Remove",
            "test" => "Test",
            other => {
                return Err(self.error(format!("Unknown operation [{at}] with type '{other}'")));
            }
        };
        let fail = |problem: String| self.error(format!("{name} operation [{at}]: {problem}"));
        let Some(path) = &self.path else {
            return Err(fail("Missing path".into()));
        };
        let kind = self.kind.as_str();
        if kind == "replace" && self.value.is_none() {
            return Err(fail("Missing value".into()));
        }
        if kind == "remove" && self.value.is_some() {
            return Err(fail("Cannot specify value".into()));
        }
        if kind == "test" && self.value.is_none() && self.absent.is_none() {
            return Err(fail("Missing value or absent".into()));
        }
        let path = Pointer::parse(path).map_err(|error| fail(format!("Invalid path: {error}")))?;
        let kind = match kind {
            "replace" => Kind::Replace {
                path,
                value: self.value.unwrap_or_default(),
            },
            "remove" => Kind::Remove { path },
            _ if self.absent == Some(true) => Kind::TestAbsent { path },
            _ => Kind::TestValue {
                path,
                value: self.value.unwrap_or_default(),
            },
        };
        Ok(Operation {
            label: self.label,
            kind,
        })
    }

    /// The definition is shown without its value, which may be a secret.
    fn error(&self, problem: String) -> DefinitionError {
        let mut fields = Vec::new();
        if !self.kind.is_empty() {
            fields.push(("Type", json_text(&self.kind)));
        }
        if let Some(path) = &self.path {
            fields.push(("Path", json_text(path)));
        }
        if self.value.is_some() {
            fields.push(("Value", json_text("<redacted>")));
        }
        if let Some(absent) = self.absent {
            fields.push(("Absent", absent.to_string()));
        }
        fields.push(("Error", json_text(&self.label)));
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(name, text)| format!("  \"{name}\": {text}"))
            .collect();
        let definition = format!("{{\n{}\n}}", fields.join(",\n"));
        DefinitionError::Operation {
            problem,
            definition,
        }
    }
}

/// A JSON string, with the escapes that the original's has.
fn json_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '&' | '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
