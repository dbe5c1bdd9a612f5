//! Parser events to values: anchors, merge keys, duplicate keys, tags, lines.
//!
//! All events of the document are there before the first value is made: a syntax error anywhere comes first.

use std::collections::HashMap;

use base64::Engine as _;
use serde_yaml::{Mapping, Number, Value};

use super::error::Kind;
use super::events::{self, Event, Failure, Place};
use super::{Dialect, Error, Lines, lines, scalar};

/// Deeper nesting than any manifest has; a hostile one must not overflow the stack.
pub(super) const DEPTH_LIMIT: usize = 200;
/// How many values aliases may add up to: a few kilobytes of nested aliases can stand for billions.
const ALIAS_LIMIT: usize = 2_000_000;

/// Reads the first document; what follows it is not looked at.
pub(super) fn read(
    text: &str,
    dialect: Dialect,
    lines: Option<&mut Lines>,
) -> Result<Value, Error> {
    Reader::new(text, dialect, lines)?.document()
}

/// Reads the first document with every scalar but null as the text that is written.
pub(super) fn read_texts(text: &str) -> Result<Value, Error> {
    let mut reader = Reader::new(text, Dialect::Cli, None)?;
    reader.texts = true;
    reader.document()
}

/// Reads the first document in the command line's dialect, the keys of its own map as text.
pub(super) fn read_with_text_keys(text: &str) -> Result<Value, Error> {
    let mut reader = Reader::new(text, Dialect::Cli, None)?;
    reader.text_keys = true;
    reader.document()
}

struct Reader<'l> {
    events: std::vec::IntoIter<(Event, Place)>,
    dialect: Dialect,
    lines: Option<&'l mut Lines>,
    /// The path of the node that is being read, for `lines`.
    path: String,
    /// Finished anchors, with how many values they hold.
    anchors: HashMap<String, (Value, usize)>,
    aliased: usize,
    /// The anchors of the collections that are being read.
    open: Vec<Option<String>>,
    /// Keys of the document's own map are texts whatever they look like.
    text_keys: bool,
    /// Plain scalars are texts whatever they look like.
    texts: bool,
}

/// The closing bracket of the flow collection that a node stands in.
type Flow = Option<char>;

impl<'l> Reader<'l> {
    fn new(text: &str, dialect: Dialect, lines: Option<&'l mut Lines>) -> Result<Self, Error> {
        let events = events::first_document(text).map_err(|failure| explain(failure, text))?;
        Ok(Self {
            events: events.into_iter(),
            dialect,
            lines,
            path: String::new(),
            anchors: HashMap::new(),
            aliased: 0,
            open: Vec::new(),
            text_keys: false,
            texts: false,
        })
    }

    fn document(&mut self) -> Result<Value, Error> {
        match self.events.next() {
            Some((event, place)) => self.node(event, place, None),
            None => Ok(Value::Null),
        }
    }

    /// The next event inside of a collection; none at its end.
    fn next(&mut self) -> Option<(Event, Place)> {
        self.events.next().filter(|(event, _)| *event != Event::End)
    }

    fn node(&mut self, event: Event, place: Place, flow: Flow) -> Result<Value, Error> {
        match event {
            Event::Scalar {
                anchor,
                tag,
                text,
                plain,
            } => {
                let value = self.scalar(&text, plain, tag.as_deref(), place, flow)?;
                self.remember(anchor, &value);
                Ok(value)
            }
            Event::Alias(anchor) => self.alias(&anchor, place),
            Event::SequenceStart {
                anchor,
                flow: starts,
            } => {
                self.enter(anchor, place)?;
                let value = self.sequence(if starts { Some(']') } else { flow })?;
                self.leave(&value);
                Ok(value)
            }
            Event::MappingStart {
                anchor,
                flow: starts,
            } => {
                self.enter(anchor, place)?;
                let value = self.mapping(if starts { Some('}') } else { flow })?;
                self.leave(&value);
                Ok(value)
            }
            Event::End => Err(Error::new("did not find expected node content", place)),
        }
    }

    /// Notes that a collection begins.
    fn enter(&mut self, anchor: Option<String>, place: Place) -> Result<(), Error> {
        if self.open.len() >= DEPTH_LIMIT {
            let problem = format!("nesting is deeper than {DEPTH_LIMIT} levels");
            return Err(Error::new(problem, place));
        }
        self.open.push(anchor);
        Ok(())
    }

    /// Notes that the innermost collection is complete.
    fn leave(&mut self, value: &Value) {
        let anchor = self.open.pop().flatten();
        self.remember(anchor, value);
    }

    fn sequence(&mut self, flow: Flow) -> Result<Value, Error> {
        let mut items = Vec::new();
        let length = self.path.len();
        while let Some((event, place)) = self.next() {
            self.go_to(place, || items.len().to_string());
            items.push(self.node(event, place, flow)?);
            self.path.truncate(length);
        }
        Ok(Value::Sequence(items))
    }

    fn mapping(&mut self, flow: Flow) -> Result<Value, Error> {
        let mut map = Mapping::new();
        let length = self.path.len();
        while let Some((event, place)) = self.next() {
            let merge = self.is_merge(&event);
            let key = self.key(event, place, flow)?;
            let Some((event, value_place)) = self.next() else {
                break;
            };
            let collection = !matches!(event, Event::Scalar { .. });
            self.go_to(place, || super::scalar_text(&key).unwrap_or_default());
            let value = self.node(event, value_place, flow)?;
            self.path.truncate(length);
            if merge {
                self.merge(&mut map, key, value, collection, value_place)?;
            } else {
                map.insert(key, value);
            }
        }
        Ok(Value::Mapping(map))
    }

    /// Extends the path by a segment and notes its line.
    fn go_to(&mut self, place: Place, segment: impl FnOnce() -> String) {
        if let Some(lines) = self.lines.as_deref_mut() {
            lines::push(&mut self.path, &segment());
            lines.set(&self.path, place.0);
        }
    }

    /// A key has no path of its own, so nothing inside it is noted.
    fn key(&mut self, event: Event, place: Place, flow: Flow) -> Result<Value, Error> {
        if let (true, 1, Event::Scalar { text, .. }) = (self.text_keys, self.open.len(), &event) {
            return Ok(Value::String(text.clone()));
        }
        let lines = self.lines.take();
        let key = self.node(event, place, flow);
        self.lines = lines;
        let key = key?;
        // compat: the command line knows no such keys; Ruby does.
        if self.dialect == Dialect::Cli && matches!(key, Value::Mapping(_) | Value::Sequence(_)) {
            let what = super::type_name(&key);
            return Err(Error::new(
                format!("invalid map key: a {what} can't be a key"),
                place,
            ));
        }
        Ok(key)
    }

    fn is_merge(&self, event: &Event) -> bool {
        match event {
            Event::Scalar {
                text, plain, tag, ..
            } if text == "<<" => match self.dialect {
                Dialect::Cli => *plain && tag.is_none(),
                Dialect::Director => tag.as_deref() != Some(STR),
            },
            _ => false,
        }
    }

    /// compat: what is merged overwrites what stands before it in the mapping; of a list, earlier maps win.
    fn merge(
        &self,
        map: &mut Mapping,
        key: Value,
        value: Value,
        collection: bool,
        place: Place,
    ) -> Result<(), Error> {
        match value {
            Value::Mapping(merged) if collection => map.extend(merged),
            Value::Sequence(items) if collection && items.iter().all(|item| item.is_mapping()) => {
                for item in items.into_iter().rev() {
                    if let Value::Mapping(merged) = item {
                        map.extend(merged);
                    }
                }
            }
            other if self.dialect == Dialect::Director => {
                map.insert(key, other);
            }
            _ => {
                return Err(Error::new(
                    "map merge requires map or sequence of maps as the value",
                    place,
                ));
            }
        }
        Ok(())
    }

    fn alias(&mut self, anchor: &str, place: Place) -> Result<Value, Error> {
        let Some((value, size)) = self.anchors.get(anchor) else {
            let inside = self.open.iter().flatten().any(|open| open == anchor);
            let problem = if inside {
                format!("anchor '{anchor}' value contains itself")
            } else {
                format!("unknown anchor '{anchor}' referenced")
            };
            return Err(Error::of_kind(
                Kind::Alias(anchor.to_owned()),
                problem,
                place,
            ));
        };
        self.aliased += size;
        if self.aliased > ALIAS_LIMIT {
            return Err(Error::new("document contains excessive aliasing", place));
        }
        Ok(value.clone())
    }

    fn remember(&mut self, anchor: Option<String>, value: &Value) {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, (value.clone(), size(value)));
        }
    }

    fn scalar(
        &self,
        text: &str,
        plain: bool,
        tag: Option<&str>,
        place: Place,
        flow: Flow,
    ) -> Result<Value, Error> {
        if let Some(tag) = tag {
            return self.tagged(text, plain, tag, place);
        }
        if !plain {
            return Ok(Value::String(text.to_owned()));
        }
        // compat: its library ends a plain scalar of a flow collection at a question mark.
        if let (Dialect::Cli, Some(close)) = (self.dialect, flow)
            && text.contains('?')
        {
            return Err(Error::new(
                format!(
                    "did not find expected ',' or '{close}' (in [] and {{}}, quote text that has a question mark)"
                ),
                place,
            ));
        }
        let value = self.plain(text, place)?;
        if self.texts && !value.is_null() {
            return Ok(Value::String(text.to_owned()));
        }
        Ok(value)
    }

    fn plain(&self, text: &str, place: Place) -> Result<Value, Error> {
        scalar::resolve(text, self.dialect).map_err(|class| {
            let problem = format!("Tried to load unspecified class: {}", class.0);
            Error::of_kind(Kind::Class, problem, place)
        })
    }

    fn tagged(&self, text: &str, plain: bool, tag: &str, place: Place) -> Result<Value, Error> {
        let string = || Ok(Value::String(text.to_owned()));
        let cannot = |kind: &str| Error::new(format!("cannot decode `{text}` as {kind}"), place);
        match tag {
            STR | "!" | "!str" => string(),
            "tag:yaml.org,2002:binary" | "!binary" => {
                binary(text).ok_or_else(|| cannot("binary text"))
            }
            "tag:yaml.org,2002:float" => match self.plain(text, place)? {
                Value::Number(number) => Ok(Value::Number(Number::from(
                    number.as_f64().unwrap_or_default(),
                ))),
                _ => Err(cannot("a float")),
            },
            // Ruby resolves whatever it doesn't know as if it were plain, unless it is quoted.
            _ if self.dialect == Dialect::Director && plain => self.plain(text, place),
            "tag:yaml.org,2002:int" => match self.plain(text, place)? {
                Value::Number(number) if !number.is_f64() => Ok(Value::Number(number)),
                _ => Err(cannot("an integer")),
            },
            "tag:yaml.org,2002:bool" => match self.plain(text, place)? {
                Value::Bool(value) => Ok(Value::Bool(value)),
                _ => Err(cannot("a boolean")),
            },
            "tag:yaml.org,2002:null" => Ok(Value::Null),
            _ => string(),
        }
    }
}

const STR: &str = "tag:yaml.org,2002:str";

/// The parser's words, with the line that people look for.
fn explain(failure: Failure, text: &str) -> Error {
    let mut at = failure.at;
    // The end of the text is noticed on the line after the last.
    if at.1 == 1 && at.0 > text.lines().count().max(1) {
        at.0 -= 1;
    }
    Error::new(failure.problem, at).within(failure.context, failure.began)
}

/// How many values a value holds, itself included.
fn size(value: &Value) -> usize {
    match value {
        Value::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Mapping(map) => 1 + map.values().map(|value| 1 + size(value)).sum::<usize>(),
        _ => 1,
    }
}

/// Base64 (with line breaks) of a UTF-8 text.
fn binary(text: &str) -> Option<Value> {
    let packed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .ok()?;
    String::from_utf8(bytes).ok().map(Value::String)
}
