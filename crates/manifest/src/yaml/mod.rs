//! The one door for YAML documents that are shared with the original tools.
//!
//! Who calls it: the director for manifests and configs ([`Dialect::Director`]), the command line for everything that
//! it interpolates ([`Dialect::Cli`]). Both originals read YAML 1.1, each with its own table of what a plain scalar
//! means (`0644`, `yes`, `12:30`, `1e3` …); no general YAML library has either table, so the scalars are resolved here
//! from parser events. Guarantees: mappings keep their order, the last of equal keys wins, merge keys and anchors are
//! expanded, every node's line is known ([`Document::lines`]), and what is written reads back as the same value.
//!
//! Our own files (settings, state) need none of this: plain `serde_yaml` serves them.
//!
//! `docs/spec/cli.md` §7.4 and §7.5.

mod emitter;
mod error;
mod events;
mod lines;
mod number;
mod reader;
mod scalar;
mod sort;
mod writer;

pub use error::Error;
pub use lines::Lines;
pub use serde_yaml::{Mapping, Number, Sequence, Value};

/// Whose table of plain scalars a document is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// What the original director (Ruby's Psych, safe load) makes of it: `y` is a string, `12:30` a number of
    /// seconds, an unquoted date is refused.
    Director,
    /// What the original command line makes of it: `y` is true, dates and `12:30` are strings.
    Cli,
}

/// A document with the line of each of its nodes.
#[derive(Debug, Clone)]
pub struct Document {
    /// The first document of the text; null if there is none.
    pub value: Value,
    /// Where the nodes stand.
    pub lines: Lines,
}

/// Reads the first document of a text; an empty text is null.
pub fn parse(text: &str, dialect: Dialect) -> Result<Value, Error> {
    reader::read(text, dialect, None)
}

/// Reads the first document of a text with every scalar but null as it is written: for documents of the command line
/// whose fields are known to be texts, so that a version `1.10` stays one.
pub fn parse_texts(text: &str) -> Result<Value, Error> {
    reader::read_texts(text)
}

/// Reads the first document of a text and remembers the line of every node.
pub fn parse_document(text: &str, dialect: Dialect) -> Result<Document, Error> {
    let mut lines = Lines::default();
    let value = reader::read(text, dialect, Some(&mut lines))?;
    Ok(Document { value, lines })
}

/// Reads a file of variables for the command line: a map whose keys are names, whatever they look like (`on`, `12`).
pub fn parse_variables(text: &str) -> Result<Mapping, Error> {
    match reader::read_with_text_keys(text)? {
        Value::Null => Ok(Mapping::new()),
        Value::Mapping(map) => Ok(map),
        other => {
            let found = type_name(&other);
            Err(Error::new(
                format!("expected a map of variables, found a {found}"),
                (1, 1),
            ))
        }
    }
}

/// Writes a value as the original command line prints it: sorted keys, no document marker, a final newline.
pub fn to_cli_string(value: &Value) -> String {
    writer::write(value, Dialect::Cli)
}

/// Writes a value as the director stores and prints it: keys in their order, `---` in front, whatever Ruby would not
/// read back as a string quoted.
pub fn to_director_string(value: &Value) -> String {
    writer::write(value, Dialect::Director)
}

/// The word for a value's type that people read in errors: `map`, `list`, `string`, `number`, `boolean`, `null`.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Sequence(_) => "list",
        Value::Mapping(_) => "map",
        Value::Tagged(tagged) => type_name(&tagged.value),
    }
}

/// A scalar as plain text (`5`, `true`, `web`; null is empty); nothing for lists and maps.
pub fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Number(n) => Some(number::shortest(n)),
        Value::String(s) => Some(s.clone()),
        Value::Tagged(tagged) => scalar_text(&tagged.value),
        Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

pub(crate) use number::in_text as number_in_text;
