//! One cell of a table: its text, how it sorts, how it looks.

use super::{Tone, time};
use domain::version::Version;
use std::cmp::Ordering;

/// A cell. Several lines are shown below each other.
#[derive(Debug, Clone, Default)]
pub struct Value {
    text: String,
    key: Key,
    tone: Tone,
}

#[derive(Debug, Clone, Default)]
enum Key {
    #[default]
    Text,
    Int(i64),
    Version(Version),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Value {
            text: text.into(),
            ..Value::default()
        }
    }

    /// A text that may be absent.
    pub fn some(text: Option<impl Into<String>>) -> Self {
        text.map(Value::text).unwrap_or_default()
    }

    pub fn int(number: i64) -> Self {
        Value {
            text: number.to_string(),
            key: Key::Int(number),
            tone: Tone::Plain,
        }
    }

    pub fn bool(value: bool) -> Self {
        Value::text(value.to_string())
    }

    /// One item per line.
    pub fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Self {
        let lines: Vec<String> = items
            .into_iter()
            .map(|item| item.as_ref().to_owned())
            .collect();
        Value::text(lines.join("\n"))
    }

    /// Unix seconds; zero and absent are empty.
    pub fn time(seconds: Option<i64>) -> Self {
        match seconds {
            Some(seconds) if seconds != 0 => Value {
                text: time(seconds),
                key: Key::Int(seconds),
                tone: Tone::Plain,
            },
            _ => Value::default(),
        }
    }

    /// A release or stemcell version, sorted as one.
    pub fn version(text: &str) -> Self {
        Value {
            text: text.to_owned(),
            key: Version::parse(text).map_or(Key::Text, Key::Version),
            tone: Tone::Plain,
        }
    }

    /// Appends a mark that does not count for sorting.
    #[must_use]
    pub fn suffix(mut self, mark: &str) -> Self {
        self.text.push_str(mark);
        self
    }

    #[must_use]
    pub fn toned(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// Green when `good`, red otherwise.
    #[must_use]
    pub fn state(self, good: bool) -> Self {
        self.toned(if good { Tone::Good } else { Tone::Bad })
    }

    pub(super) fn tone(&self) -> Tone {
        self.tone
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn lines(&self) -> Vec<&str> {
        if self.text.is_empty() {
            vec!["-"]
        } else {
            self.text.split('\n').collect()
        }
    }

    pub(super) fn compare(&self, other: &Value) -> Ordering {
        match (&self.key, &other.key) {
            (Key::Int(a), Key::Int(b)) => a.cmp(b),
            (Key::Version(a), Key::Version(b)) => a.cmp(b),
            _ => self.text.cmp(&other.text),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::text(text)
    }
}
