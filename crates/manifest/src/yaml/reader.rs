//! Parser events to values: anchors, merge keys, duplicate keys, tags, lines.

use std::collections::HashMap;

use base64::Engine as _;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_yaml::{Mapping, Number, Value};

use super::{Dialect, Error, Lines, lines, scalar};

/// Deeper nesting than any manifest has; a hostile one must not overflow the stack.
const DEPTH_LIMIT: usize = 200;
/// How many values aliases may add up to: a few kilobytes of nested aliases can stand for billions.
const ALIAS_LIMIT: usize = 2_000_000;

/// Reads the first document; what follows it is not looked at.
pub(super) fn read(
    text: &str,
    dialect: Dialect,
    lines: Option<&mut Lines>,
) -> Result<Value, Error> {
    Reader::new(text, dialect, lines).document()
}

/// Reads the first document in the command line's dialect, the keys of its own map as text.
pub(super) fn read_with_text_keys(text: &str) -> Result<Value, Error> {
    let mut reader = Reader::new(text, Dialect::Cli, None);
    reader.text_keys = true;
    reader.document()
}

struct Reader<'a, 'l> {
    parser: Parser<'a, StrInput<'a>>,
    text: Text<'a>,
    dialect: Dialect,
    lines: Option<&'l mut Lines>,
    /// The path of the node that is being read, for `lines`.
    path: String,
    /// Finished anchors by the parser's number, with how many values they hold.
    anchors: HashMap<usize, (Value, usize)>,
    aliased: usize,
    /// Where the collections that are being read began.
    open: Vec<Marker>,
    /// Keys of the document's own map are texts whatever they look like.
    text_keys: bool,
}

/// The closing bracket of the flow collection that a node stands in.
type Flow = Option<char>;

impl<'a, 'l> Reader<'a, 'l> {
    fn new(text: &'a str, dialect: Dialect, lines: Option<&'l mut Lines>) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            text: Text::new(text),
            dialect,
            lines,
            path: String::new(),
            anchors: HashMap::new(),
            aliased: 0,
            open: Vec::new(),
            text_keys: false,
        }
    }

    fn document(&mut self) -> Result<Value, Error> {
        loop {
            match self.next()? {
                (Event::DocumentStart(_), _) => {
                    let (event, span) = self.next()?;
                    return self.node(event, span, None);
                }
                (Event::StreamEnd, _) => return Ok(Value::Null),
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Error> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax_error(&error)),
            None => Err(Error::new("did not find expected <stream-start>", (1, 1))),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, flow: Flow) -> Result<Value, Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), span, flow)?;
                self.remember(anchor, &value);
                Ok(value)
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::SequenceStart(anchor, _) => {
                let flow = self.enter(span, flow)?;
                let value = self.sequence(flow)?;
                self.open.pop();
                self.remember(anchor, &value);
                Ok(value)
            }
            Event::MappingStart(anchor, _) => {
                let flow = self.enter(span, flow)?;
                let value = self.mapping(flow)?;
                self.open.pop();
                self.remember(anchor, &value);
                Ok(value)
            }
            _ => Err(Error::new(
                "did not find expected node content",
                place(span.start),
            )),
        }
    }

    /// Notes that a collection begins, and says in which brackets its children stand.
    fn enter(&mut self, span: Span, flow: Flow) -> Result<Flow, Error> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err(Error::new(
                format!("nesting is deeper than {DEPTH_LIMIT} levels"),
                place(span.start),
            ));
        }
        self.open.push(span.start);
        Ok(match self.text.first_of_content(span.start.index()) {
            Some('[') => Some(']'),
            Some('{') => Some('}'),
            _ => flow,
        })
    }

    fn sequence(&mut self, flow: Flow) -> Result<Value, Error> {
        let mut items = Vec::new();
        let length = self.path.len();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Sequence(items));
            }
            if self.lines.is_some() {
                lines::push(&mut self.path, &items.len().to_string());
                self.note(span);
            }
            items.push(self.node(event, span, flow)?);
            self.path.truncate(length);
        }
    }

    fn mapping(&mut self, flow: Flow) -> Result<Value, Error> {
        let mut map = Mapping::new();
        let length = self.path.len();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Mapping(map));
            }
            let merge = self.is_merge(&event);
            let key = self.key(event, span, flow)?;
            let (event, value_span) = self.next()?;
            let collection = !matches!(event, Event::Scalar(..));
            if self.lines.is_some() {
                let segment = super::scalar_text(&key).unwrap_or_default();
                lines::push(&mut self.path, &segment);
                self.note(span);
            }
            let value = self.node(event, value_span, flow)?;
            self.path.truncate(length);
            if merge {
                self.merge(&mut map, key, value, collection, value_span)?;
            } else {
                map.insert(key, value);
            }
        }
    }

    /// A key has no path of its own, so nothing inside it is noted.
    fn key(&mut self, event: Event<'a>, span: Span, flow: Flow) -> Result<Value, Error> {
        if let (true, 1, Event::Scalar(text, ..)) = (self.text_keys, self.open.len(), &event) {
            return Ok(Value::String(text.clone().into_owned()));
        }
        let lines = self.lines.take();
        let key = self.node(event, span, flow);
        self.lines = lines;
        let key = key?;
        // compat: the command line knows no such keys; Ruby does.
        if self.dialect == Dialect::Cli && matches!(key, Value::Mapping(_) | Value::Sequence(_)) {
            let what = super::type_name(&key);
            return Err(Error::new(
                format!("invalid map key: a {what} can't be a key"),
                place(span.start),
            ));
        }
        Ok(key)
    }

    fn is_merge(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Scalar(text, style, _, tag) if text == "<<" => match self.dialect {
                Dialect::Cli => *style == ScalarStyle::Plain && tag.is_none(),
                Dialect::Director => tag.as_ref().is_none_or(|tag| full(tag) != STR),
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
        span: Span,
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
                    place(span.start),
                ));
            }
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Value, Error> {
        let Some((value, size)) = self.anchors.get(&anchor) else {
            let name = self.text.word_after(span.start.index(), '*');
            return Err(Error::new(
                format!("anchor '{name}' value contains itself"),
                place(span.start),
            ));
        };
        self.aliased += size;
        if self.aliased > ALIAS_LIMIT {
            return Err(Error::new(
                "document contains excessive aliasing",
                place(span.start),
            ));
        }
        Ok(value.clone())
    }

    fn remember(&mut self, anchor: usize, value: &Value) {
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), size(value)));
        }
    }

    fn note(&mut self, span: Span) {
        if let Some(lines) = self.lines.as_deref_mut() {
            lines.set(&self.path, span.start.line());
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
        flow: Flow,
    ) -> Result<Value, Error> {
        let at = place(span.start);
        let string = || Value::String(text.to_owned());
        if let Some(tag) = tag {
            return self.tagged(text, style, &full(tag), at);
        }
        if style != ScalarStyle::Plain {
            return Ok(string());
        }
        // compat: its library ends a plain scalar of a flow collection at a question mark.
        if let (Dialect::Cli, Some(close)) = (self.dialect, flow)
            && text.contains('?')
        {
            let mut error = Error::new(format!("did not find expected ',' or '{close}'"), at);
            error.problem += " (in [] and {}, quote text that has a question mark)";
            return Err(error);
        }
        self.plain(text, at)
    }

    fn plain(&self, text: &str, at: (usize, usize)) -> Result<Value, Error> {
        scalar::resolve(text, self.dialect).map_err(|class| {
            let mut error = Error::new(format!("Tried to load unspecified class: {}", class.0), at);
            error.refused_class = true;
            error
        })
    }

    fn tagged(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: &str,
        at: (usize, usize),
    ) -> Result<Value, Error> {
        let string = || Ok(Value::String(text.to_owned()));
        let cannot = |kind: &str| Error::new(format!("cannot decode `{text}` as {kind}"), at);
        match tag {
            STR | "!" | "!str" => string(),
            "tag:yaml.org,2002:binary" | "!binary" => {
                binary(text).ok_or_else(|| cannot("binary text"))
            }
            "tag:yaml.org,2002:float" => match self.plain(text, at)? {
                Value::Number(number) => Ok(Value::Number(Number::from(
                    number.as_f64().unwrap_or_default(),
                ))),
                _ => Err(cannot("a float")),
            },
            // Ruby resolves whatever it doesn't know as if it were plain, unless it is quoted.
            _ if self.dialect == Dialect::Director && style == ScalarStyle::Plain => {
                self.plain(text, at)
            }
            "tag:yaml.org,2002:int" => match self.plain(text, at)? {
                Value::Number(number) if !number.is_f64() => Ok(Value::Number(number)),
                _ => Err(cannot("an integer")),
            },
            "tag:yaml.org,2002:bool" => match self.plain(text, at)? {
                Value::Bool(value) => Ok(Value::Bool(value)),
                _ => Err(cannot("a boolean")),
            },
            "tag:yaml.org,2002:null" => Ok(Value::Null),
            _ => string(),
        }
    }

    /// Puts the parser's words and places into those of the originals.
    fn syntax_error(&self, error: &ScanError) -> Error {
        let marker = error.marker();
        let info = error.info();
        let (context, problem) = match info.split_once(", ") {
            Some((context, problem)) if context.starts_with("while ") => (Some(context), problem),
            _ => (None, info),
        };
        let no_token = (
            Some("while scanning for the next token"),
            "found character that cannot start any token",
        );
        let (context, problem) = match problem {
            "expected ',' or ']'" => (context, "did not find expected ',' or ']'"),
            "simple key expect ':'" | "simple key expected" => (
                Some("while scanning a simple key"),
                "could not find expected ':'",
            ),
            "found unknown anchor" => {
                let name = self.text.word_after(marker.index(), '*');
                return Error::new(
                    format!("unknown anchor '{name}' referenced"),
                    place(*marker),
                );
            }
            _ if problem.starts_with("tabs disallowed")
                || problem.starts_with("unexpected character")
                || problem == "found a tab" =>
            {
                no_token
            }
            other => (context, other),
        };
        let mut at = place(*marker);
        if problem == no_token.1 && info.starts_with("tabs") {
            at.1 = at.1.saturating_sub(1).max(1);
        }
        // An end of the text is noticed on the line after the last.
        if marker.index() >= self.text.length() && marker.col() == 0 && at.0 > 1 {
            at.0 -= 1;
        }
        let began = match context {
            Some(context) if context.starts_with("while parsing") => {
                self.open.last().map_or(at, |marker| place(*marker))
            }
            _ => at,
        };
        Error {
            problem: problem.to_owned(),
            context: context.map(str::to_owned),
            at,
            began,
            refused_class: false,
        }
    }
}

const STR: &str = "tag:yaml.org,2002:str";

fn full(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

fn place(marker: Marker) -> (usize, usize) {
    (marker.line(), marker.col() + 1)
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

/// The source, addressed by characters as the parser counts them.
struct Text<'a> {
    text: &'a str,
    /// Byte positions of characters, where the two differ.
    positions: Option<Vec<usize>>,
}

impl<'a> Text<'a> {
    fn new(text: &'a str) -> Self {
        let positions = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self { text, positions }
    }

    fn length(&self) -> usize {
        self.positions.as_ref().map_or(self.text.len(), Vec::len)
    }

    fn from(&self, index: usize) -> &'a str {
        let at = match &self.positions {
            Some(positions) => positions.get(index).copied().unwrap_or(self.text.len()),
            None => index.min(self.text.len()),
        };
        &self.text[at..]
    }

    /// The first character of a node's content, behind its anchor and tag.
    fn first_of_content(&self, index: usize) -> Option<char> {
        let mut rest = self.from(index);
        loop {
            rest = rest.trim_start();
            match rest.chars().next()? {
                '&' | '!' => {
                    rest = &rest[rest.find(char::is_whitespace).unwrap_or(rest.len())..];
                }
                '#' => rest = &rest[rest.find('\n').unwrap_or(rest.len())..],
                c => return Some(c),
            }
        }
    }

    /// The word behind a sigil: the name of an anchor.
    fn word_after(&self, index: usize, sigil: char) -> &'a str {
        let rest = self.from(index);
        let rest = rest.strip_prefix(sigil).unwrap_or(rest);
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '[' | '{');
        &rest[..rest.find(ends).unwrap_or(rest.len())]
    }
}
