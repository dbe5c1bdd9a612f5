//! The values that flags give, in their order of precedence: `docs/spec/cli.md` §9.

use std::collections::BTreeSet;

use manifest::interpolation::BoxError;
use manifest::template::{Definition, Variables};
use manifest::yaml::{self, Dialect, Mapping, Value};

use super::error::{Error, flat};
use super::store::Store;
use super::{VarsOpsArgs, files};

/// All variables that the flags name.
pub(super) struct Sources {
    /// From the strongest to the weakest; whole values win, nothing is merged.
    given: Vec<Mapping>,
    store: Option<Store>,
}

impl Sources {
    /// Reads the files and the environment.
    pub(super) fn load(args: &VarsOpsArgs) -> Result<Self, Error> {
        let fail = |flag, kind| move |problem: String| Error::flag(flag, kind, problem);
        let mut given = Vec::new();
        let mut pairs = Mapping::new();
        for pair in &args.vars {
            let (name, value) = parse_pair(pair).map_err(fail("-v, --var", "[]template.VarKV"))?;
            pairs.insert(name.into(), value);
        }
        given.push(nested(pairs));
        let mut contents = Mapping::new();
        for pair in &args.var_files {
            let (name, text) =
                read_content(pair).map_err(fail("--var-file", "[]template.VarFileArg"))?;
            contents.insert(name.into(), Value::String(text));
        }
        given.push(nested(contents));
        for path in args.vars_files.iter().rev() {
            let fail = fail("-l, --vars-file", "[]template.VarsFileArg");
            given.push(nested(read_variables(path).map_err(fail)?));
        }
        for prefix in args.vars_env.iter().rev() {
            let fail = fail("--vars-env", "[]template.VarsEnvArg");
            given.push(nested(read_environment(prefix).map_err(fail)?));
        }
        let store = args.vars_store.as_deref().map(Store::new).transpose();
        let store = store.map_err(fail("--vars-store", "opts.VarsFSStore"))?;
        Ok(Self { given, store })
    }
}

/// A value that a flag gives.
fn find_given(given: &[Mapping], name: &str) -> Option<Value> {
    given.iter().find_map(|values| values.get(name)).cloned()
}

impl Variables for Sources {
    fn get(&mut self, definition: &Definition) -> Result<Option<Value>, BoxError> {
        let find = |name: &str| find_given(&self.given, name);
        if let Some(value) = find(&definition.name) {
            return Ok(Some(value));
        }
        match &mut self.store {
            Some(store) => Ok(store.get(definition, &find)?),
            None => Ok(None),
        }
    }

    fn names(&mut self) -> Result<BTreeSet<String>, BoxError> {
        let names = self.given.iter().flat_map(Mapping::keys);
        let mut names: BTreeSet<String> = names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        if let Some(store) = &mut self.store {
            names.extend(store.names()?);
        }
        Ok(names)
    }
}

/// Builds maps from names with dots: `a.b: 1` and `a.c: 2` are `a: {b: 1, c: 2}`.
pub(super) fn nested(values: Mapping) -> Mapping {
    let mut result = Mapping::new();
    for (name, value) in values {
        match name.as_str() {
            Some(name) => insert(&mut result, name, value),
            None => {
                result.insert(name, value);
            }
        }
    }
    result
}

fn insert(map: &mut Mapping, name: &str, value: Value) {
    let Some((first, rest)) = name.split_once('.') else {
        map.insert(name.into(), value);
        return;
    };
    let inner = map.entry(first.into()).or_insert(Value::Null);
    if !inner.is_mapping() {
        *inner = Value::Mapping(Mapping::new());
    }
    if let Value::Mapping(inner) = inner {
        insert(inner, rest, value);
    }
}

/// Splits `name=value` of a flag.
fn split<'a>(pair: &'a str, what: &str) -> Result<(&'a str, &'a str), String> {
    let (name, value) = pair
        .split_once('=')
        .ok_or_else(|| format!("Expected var '{pair}' to be in format 'name={what}'"))?;
    if name.is_empty() {
        return Err(format!("Expected var '{pair}' to specify non-empty name"));
    }
    if value.is_empty() {
        return Err(format!("Expected var '{pair}' to specify non-empty {what}"));
    }
    Ok((name, value))
}

/// The value is YAML; if that is a string, the text itself counts, without its quotes.
fn parse_pair(pair: &str) -> Result<(String, Value), String> {
    let (name, text) = split(pair, "value")?;
    let quoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    let value = match yaml::parse(text, Dialect::Cli) {
        Ok(Value::String(_)) => Value::String(quoted.unwrap_or(text).to_owned()),
        Ok(value) => value,
        // compat: behind a quoted text anything may follow, it isn't looked at.
        Err(_) if quoted.is_some() => Value::String(quoted.unwrap_or(text).to_owned()),
        Err(error) => return Err(format!("Deserializing variables '{pair}': {error}")),
    };
    Ok((name.to_owned(), value))
}

fn read_content(pair: &str) -> Result<(String, String), String> {
    let (name, path) = split(pair, "path")?;
    let path = files::expand(path).map_err(|error| flat(&error))?;
    let text = files::read(&path)
        .map_err(|error| format!("Reading variable from file '{path}': {}", flat(&error)))?;
    Ok((name.to_owned(), text))
}

fn read_variables(path: &str) -> Result<Mapping, String> {
    if path.is_empty() {
        return Err(files::EMPTY_PATH.to_owned());
    }
    let text = files::read(path)
        .map_err(|error| format!("Reading variables file '{path}': {}", flat(&error)))?;
    yaml::parse_variables(&text)
        .map_err(|error| format!("Deserializing variables file '{path}': {error}"))
}

/// Every `PREFIX_name=value` of the environment.
fn read_environment(prefix: &str) -> Result<Mapping, String> {
    if prefix.is_empty() {
        return Err("Expected environment variable prefix to be non-empty".to_owned());
    }
    let prefix = format!("{prefix}_");
    let mut values = Mapping::new();
    for (variable, text) in std::env::vars_os() {
        let (Some(variable), Some(text)) = (variable.to_str(), text.to_str()) else {
            continue;
        };
        let Some(name) = variable.strip_prefix(&prefix) else {
            continue;
        };
        let value = yaml::parse(text, Dialect::Cli).map_err(|error| {
            format!("Deserializing YAML from environment variable '{variable}': {error}")
        })?;
        values.insert(name.into(), value);
    }
    Ok(values)
}
