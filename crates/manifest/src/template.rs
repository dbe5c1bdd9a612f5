//! The command line's order of work for a document: operations, variable definitions, placeholders, checks, path.
//!
//! Who calls it: `interpolate`, `deploy` and the config updates. Where values come from is the caller's
//! ([`Variables`]); which are asked for, in what order, and what becomes of the `variables:` section is decided here.
//! `docs/spec/cli.md` §7.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_yaml::{Mapping, Value};

use crate::interpolation::{self, BoxError, interpolate};
use crate::ops::{self, Operation};
use crate::pointer::Pointer;
use crate::yaml::{self, Dialect};

/// A variable that is looked up: a name alone, or with the definition of the `variables:` section.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The name.
    pub name: String,
    /// `password`, `certificate` …; without a type nothing is generated.
    pub kind: Option<String>,
    /// The options, interpolated.
    pub options: Mapping,
}

impl Definition {
    /// A name that no definition has.
    pub fn untyped(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            options: Mapping::new(),
        }
    }
}

/// Where values come from.
pub trait Variables {
    /// The value of a variable, generated if it has a type and a place to keep it.
    fn get(&mut self, definition: &Definition) -> Result<Option<Value>, BoxError>;

    /// The names of all variables that there are, for the check of unused ones.
    fn names(&mut self) -> Result<BTreeSet<String>, BoxError>;
}

/// What to check and what to pick.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--var-errs`: every variable must be found.
    pub expect_all_found: bool,
    /// `--var-errs-unused`: every variable must be used.
    pub expect_all_used: bool,
    /// `--path`: the value to pick at the end.
    pub path: Option<Pointer>,
}

/// Why a template has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no YAML.
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    /// An operation failed.
    #[error(transparent)]
    Operation(#[from] ops::ApplyError),
    /// The `variables:` section is no list of definitions.
    #[error("Expected 'variables' to be {0}")]
    Section(String),
    /// A definition's variable can't be had.
    #[error("Getting all variables from variable definitions sections")]
    Definitions(#[source] BoxError),
    /// A placeholder can't be replaced.
    #[error(transparent)]
    Interpolation(#[from] interpolation::Error),
    /// The names of all variables can't be had.
    #[error("Listing variables")]
    Names(#[source] BoxError),
    /// `--var-errs` or `--var-errs-unused` found something.
    #[error("{}", unmet(.missing, .unused))]
    Unmet {
        /// Used but not found, sorted.
        missing: Vec<String>,
        /// Found but not used, sorted.
        unused: Vec<String>,
    },
    /// `--path` leads nowhere.
    #[error(transparent)]
    Path(#[from] ops::Error),
}

fn unmet(missing: &[String], unused: &[String]) -> String {
    let mut text = String::new();
    for (what, names) in [("find", missing), ("use", unused)] {
        if names.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = write!(text, "- Expected to {what} variables:");
        for name in names {
            let _ = write!(text, "\n    - {name}");
        }
    }
    text
}

/// Errors of looking one variable up.
#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error("Detected recursion")]
    Recursion,
    #[error("Interpolating variable '{name}' definition options")]
    Options {
        name: String,
        source: interpolation::Error,
    },
}

/// Evaluates the text of a template.
pub fn evaluate(
    text: &str,
    operations: &[Operation],
    variables: &mut dyn Variables,
    options: &Options,
) -> Result<Value, Error> {
    let mut document = yaml::parse(text, Dialect::Cli)?;
    ops::apply(&mut document, operations)?;
    let definitions = definitions(&document)?;
    let mut tracker = Tracker {
        variables,
        definitions: &definitions,
        used: BTreeSet::new(),
        missing: BTreeSet::new(),
        visiting: Vec::new(),
    };
    for definition in definitions
        .iter()
        .filter(|definition| definition.kind.is_some())
    {
        tracker.get(&definition.name).map_err(Error::Definitions)?;
    }
    let mut document = interpolate(&document, &mut |name: &str| tracker.get(name))?;
    drop_found(&mut document, &definitions, &mut tracker)?;
    tracker.check(options)?;
    match &options.path {
        Some(path) => Ok(ops::find(&document, path)?),
        None => Ok(document),
    }
}

/// The definitions of the `variables:` section.
fn definitions(document: &Value) -> Result<Vec<Definition>, Error> {
    let Some(map) = document.as_mapping() else {
        return Ok(Vec::new());
    };
    let items = match map.get("variables") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Sequence(items)) => items,
        Some(other) => {
            let found = yaml::type_name(other);
            return Err(Error::Section(format!(
                "a list of variable definitions, found a {found}"
            )));
        }
    };
    items
        .iter()
        .enumerate()
        .map(|(at, item)| definition(item, at))
        .collect()
}

fn definition(item: &Value, at: usize) -> Result<Definition, Error> {
    let section = |what: &str, found: &Value| {
        let found = yaml::type_name(found);
        Error::Section(format!(
            "a list of maps with {what}, found a {found} in its item {at}"
        ))
    };
    let empty = Mapping::new();
    let map = match item {
        Value::Mapping(map) => map,
        Value::Null => &empty,
        other => return Err(section("'name' and 'type'", other)),
    };
    let text = |key: &str| match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => yaml::scalar_text(value)
            .map(Some)
            .ok_or_else(|| section(&format!("a string as '{key}'"), value)),
    };
    let options = match map.get("options") {
        None | Some(Value::Null) => Mapping::new(),
        Some(Value::Mapping(options)) => options.clone(),
        Some(other) => return Err(section("a map as 'options'", other)),
    };
    Ok(Definition {
        name: text("name")?.unwrap_or_default(),
        kind: text("type")?.filter(|kind| !kind.is_empty()),
        options,
    })
}

/// Takes the definitions out of the section whose variables were found; what stays is for the director.
fn drop_found(
    document: &mut Value,
    definitions: &[Definition],
    tracker: &mut Tracker<'_>,
) -> Result<(), Error> {
    if definitions.is_empty() {
        return Ok(());
    }
    let mut found = Vec::with_capacity(definitions.len());
    for definition in definitions {
        found.push(
            tracker
                .get(&definition.name)
                .map_err(Error::Definitions)?
                .is_some(),
        );
    }
    let section = document
        .as_mapping_mut()
        .and_then(|map| map.get_mut("variables"));
    if let Some(Value::Sequence(items)) = section {
        let mut found = found.into_iter();
        items.retain(|_| !found.next().unwrap_or(false));
    }
    Ok(())
}

/// Looks variables up and remembers which were asked for and which were missing.
struct Tracker<'a> {
    variables: &'a mut dyn Variables,
    definitions: &'a [Definition],
    used: BTreeSet<String>,
    missing: BTreeSet<String>,
    /// Whose options are being interpolated.
    visiting: Vec<String>,
}

impl Tracker<'_> {
    fn get(&mut self, name: &str) -> Result<Option<Value>, BoxError> {
        self.used.insert(name.to_owned());
        if self.visiting.iter().any(|visited| visited == name) {
            return Err(LookupError::Recursion.into());
        }
        let mut definition = match self.definitions.iter().find(|d| d.name == name) {
            Some(definition) => definition.clone(),
            None => Definition::untyped(name),
        };
        if !definition.options.is_empty() && !self.complete(&mut definition)? {
            // What its options lack is what is missing.
            return Ok(None);
        }
        let value = self.variables.get(&definition)?;
        if value.is_none() {
            self.missing.insert(name.to_owned());
        }
        Ok(value)
    }

    /// Interpolates a definition's options; false if something in them is missing.
    fn complete(&mut self, definition: &mut Definition) -> Result<bool, BoxError> {
        self.visiting.push(definition.name.clone());
        let mut complete = true;
        let options = Value::Mapping(std::mem::take(&mut definition.options));
        let result = interpolate(&options, &mut |name: &str| {
            let value = self.get(name)?;
            complete &= value.is_some();
            Ok(value)
        });
        self.visiting.pop();
        let name = definition.name.clone();
        match result.map_err(|source| LookupError::Options { name, source })? {
            Value::Mapping(options) => definition.options = options,
            _ => unreachable!("a map stays a map"),
        }
        Ok(complete)
    }

    fn check(self, options: &Options) -> Result<(), Error> {
        let mut missing = Vec::new();
        let mut unused = Vec::new();
        if options.expect_all_found {
            missing = self.missing.into_iter().collect();
        }
        if options.expect_all_used {
            let names = self.variables.names().map_err(Error::Names)?;
            unused = names.difference(&self.used).cloned().collect();
        }
        if missing.is_empty() && unused.is_empty() {
            return Ok(());
        }
        Err(Error::Unmet { missing, unused })
    }
}
