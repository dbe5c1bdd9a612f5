//! Values to text: what order keys have and which strings are quoted, per dialect.

use serde_yaml::{Mapping, Value};

use super::emitter::{Emitter, Style};
use super::{Dialect, number, scalar, sort};

const INDENT: usize = 2;

/// Writes a whole document.
pub(super) fn write(value: &Value, dialect: Dialect) -> String {
    let mut writer = Writer {
        out: Emitter::new(),
        dialect,
    };
    if dialect == Dialect::Director {
        writer.out.write_indicator("---", false, false, false);
        if holds_lines(value) {
            writer.out.write_indent(0);
        }
    }
    writer.node(value, Place::Root);
    writer.out.finish()
}

/// Whether the value is written on lines of its own.
fn holds_lines(value: &Value) -> bool {
    match value {
        Value::Mapping(map) => !map.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        _ => false,
    }
}

/// Where a node stands: decides its indent.
#[derive(Clone, Copy)]
enum Place {
    Root,
    /// A value of a mapping at this indent.
    Value(usize),
    /// A key that stands before its colon.
    Key(usize),
    /// An item of a list at this indent.
    Item(usize),
}

impl Place {
    /// The indent of a mapping, or of a scalar's further lines.
    fn inner(self) -> usize {
        match self {
            Place::Root => 0,
            Place::Value(indent) | Place::Key(indent) | Place::Item(indent) => indent + INDENT,
        }
    }

    fn scalar(self) -> usize {
        match self {
            Place::Root => INDENT,
            other => other.inner(),
        }
    }
}

struct Writer {
    out: Emitter,
    dialect: Dialect,
}

impl Writer {
    fn node(&mut self, value: &Value, place: Place) {
        match value {
            Value::Mapping(map) if map.is_empty() => {
                self.out.write_indicator("{}", true, false, false)
            }
            Value::Sequence(items) if items.is_empty() => {
                self.out.write_indicator("[]", true, false, false);
            }
            Value::Mapping(map) => self.mapping(map, place.inner()),
            Value::Sequence(items) => {
                // A list under a key keeps the key's indent.
                let indent = match place {
                    Place::Value(indent) if !self.out.at_indention() => indent,
                    other => other.inner(),
                };
                for item in items {
                    self.out.write_indent(indent);
                    self.out.write_indicator("-", true, false, true);
                    self.node(item, Place::Item(indent));
                }
            }
            Value::Tagged(tagged) => self.node(&tagged.value, place),
            Value::String(text) => {
                let key = matches!(place, Place::Key(_));
                let style = match (self.dialect, text.as_str()) {
                    // As a key it would read as a merge; to Ruby even when quoted, unless it is tagged.
                    (Dialect::Director, "<<") => {
                        self.out.write_indicator("!!str", true, false, false);
                        Style::SingleQuoted
                    }
                    (Dialect::Cli, "<<") if key => Style::DoubleQuoted,
                    _ => self.style(text),
                };
                self.out.write_scalar(text, style, place.scalar(), key);
            }
            Value::Null => self.plain(
                if self.dialect == Dialect::Cli {
                    "null"
                } else {
                    ""
                },
                place,
            ),
            Value::Bool(value) => self.plain(if *value { "true" } else { "false" }, place),
            Value::Number(n) => {
                let text = match n.as_f64().filter(|_| n.is_f64()) {
                    Some(float) if self.dialect == Dialect::Director => number::ruby(float),
                    _ => number::shortest(n),
                };
                self.plain(&text, place);
            }
        }
    }

    fn plain(&mut self, text: &str, place: Place) {
        if text.is_empty() {
            // Ruby's null is nothing at all, where nothing would be read as null; elsewhere it needs quotes or a word.
            if matches!(place, Place::Key(_)) {
                self.out.write_indicator("!!null ''", true, false, false);
            }
            return;
        }
        self.out
            .write_scalar(text, Style::Plain, place.scalar(), false);
    }

    fn mapping(&mut self, map: &Mapping, indent: usize) {
        let entries = match self.dialect {
            Dialect::Cli => sort::sorted(map),
            Dialect::Director => map.iter().collect(),
        };
        for (key, value) in entries {
            self.out.write_indent(indent);
            if is_simple_key(key) {
                self.node(key, Place::Key(indent));
                self.out.write_indicator(":", false, false, false);
            } else {
                self.out.write_indicator("?", true, false, true);
                self.node(key, Place::Value(indent));
                self.out.write_indent(indent);
                self.out.write_indicator(":", true, false, true);
            }
            self.node(value, Place::Value(indent));
        }
    }

    fn style(&self, text: &str) -> Style {
        match self.dialect {
            Dialect::Cli if text.contains('\n') => Style::Literal,
            Dialect::Cli if scalar::is_string(text, Dialect::Cli) => Style::Plain,
            Dialect::Cli => Style::DoubleQuoted,
            Dialect::Director => ruby_style(text),
        }
    }
}

fn is_simple_key(key: &Value) -> bool {
    match key {
        Value::String(text) => Emitter::is_simple_key(text),
        Value::Mapping(map) => map.is_empty(),
        Value::Sequence(items) => items.is_empty(),
        _ => true,
    }
}

/// The quotes that Ruby gives a string, plus those that other readers need.
fn ruby_style(text: &str) -> Style {
    let inner_break = text.trim_end_matches('\n').contains('\n') || text.ends_with("\n\n");
    let begins_odd = text
        .chars()
        .next()
        .is_some_and(|c| !(c.is_alphanumeric() || c == '_'));
    if inner_break {
        Style::Literal
    } else if matches!(text, "y" | "n" | "Y" | "N") || (begins_odd && !text.contains('"')) {
        Style::DoubleQuoted
    } else if text.contains('\n') {
        Style::Literal
    } else if !scalar::is_string(text, Dialect::Director) || is_octal_like(text) {
        Style::SingleQuoted
    } else {
        Style::Plain
    }
}

/// Digits that begin with a zero and aren't octal (`089`): a string here, a number to others.
fn is_octal_like(text: &str) -> bool {
    text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml;

    /// Texts of the characters that YAML has a meaning for, and any others.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[-:#\\[\\]{},&*!|>'\"%@`?~= \n\t.0-9a-zA-Z_<+/\\\\é☃]{0,12}",
            "(word |word  |: |yes|1e3|0x1F|\n ){0,40}",
            any::<String>(),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e12..1e12f64).prop_map(|float| Value::from(float + 0.5)),
            text().prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((text(), inner), 0..6).prop_map(|entries| {
                    let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
                    Value::Mapping(entries.collect())
                }),
            ]
        })
    }

    /// Floats without a fraction are written as integers by the command line, as the original does.
    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Value::Sequence(a), Value::Sequence(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Mapping(a), Value::Mapping(b)) => {
                a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|b| same(v, b)))
            }
            (a, b) => a == b,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_reads_back_as_the_same_value(value in value()) {
            for dialect in [Dialect::Cli, Dialect::Director] {
                let text = write(&value, dialect);
                let read = yaml::parse(&text, dialect);
                prop_assert!(read.as_ref().is_ok_and(|read| same(&value, read)), "{text}\n{read:?}");
            }
        }
    }
}
