//! `--vars-store`: a file of values that is read, and extended by what a definition's type lets generate.
//!
//! `docs/spec/cli.md` §9.1. A generated value is in the file before it is used: whatever fails later, it is kept.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use manifest::template::Definition;
use manifest::yaml::{self, Mapping, Value};

use super::error::flat;
use super::{files, generate, sources};

/// What can go wrong with the file or with a value to generate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("Reading variables file store '{path}'")]
    Read {
        /// The absolute path.
        path: String,
        /// Why.
        source: files::Error,
    },
    /// The file is no map.
    #[error("Deserializing variables file store '{path}'")]
    Parse {
        /// The absolute path.
        path: String,
        /// Why.
        source: yaml::Error,
    },
    /// The file can't be written.
    #[error("Writing variables to file store '{path}'")]
    Write {
        /// The absolute path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A value can't be made.
    #[error("Generating variable '{name}'")]
    Generate {
        /// The variable.
        name: String,
        /// Why.
        source: generate::Error,
    },
}

/// The file; it is read at the first look and kept in step afterwards.
pub(super) struct Store {
    path: String,
    content: Option<Content>,
}

/// What the file holds.
struct Content {
    /// As it is written.
    written: Mapping,
    /// With maps built from names with dots.
    nested: Mapping,
}

impl From<Mapping> for Content {
    fn from(written: Mapping) -> Self {
        Self {
            nested: sources::nested(written.clone()),
            written,
        }
    }
}

impl Store {
    pub(super) fn new(path: &str) -> Result<Self, String> {
        if path.is_empty() {
            return Err(files::EMPTY_PATH.to_owned());
        }
        let path = files::expand(path).map_err(|error| flat(&error))?;
        Ok(Self {
            path,
            content: None,
        })
    }

    /// A value, generated and saved if the definition has a type. `given` finds what flags give: a CA may come from
    /// there.
    pub(super) fn get(
        &mut self,
        definition: &Definition,
        given: &dyn Fn(&str) -> Option<Value>,
    ) -> Result<Option<Value>, Error> {
        let name = definition.name.as_str();
        let stored = &self.content()?.nested;
        if let Some(value) = stored.get(name) {
            return Ok(Some(value.clone()));
        }
        let Some(kind) = &definition.kind else {
            return Ok(None);
        };
        let find = |name: &str| given(name).or_else(|| stored.get(name).cloned());
        let value = generate::generate(kind, &definition.options, &find).map_err(|source| {
            Error::Generate {
                name: name.to_owned(),
                source,
            }
        })?;
        self.save(name, &value)?;
        Ok(Some(value))
    }

    pub(super) fn names(&mut self) -> Result<BTreeSet<String>, Error> {
        let names = self.content()?.nested.keys();
        Ok(names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect())
    }

    fn content(&mut self) -> Result<&Content, Error> {
        let content = match self.content.take() {
            Some(content) => content,
            None => self.read()?.into(),
        };
        Ok(self.content.insert(content))
    }

    fn read(&self) -> Result<Mapping, Error> {
        let path = || self.path.clone();
        let text = match files::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.is_missing() => return Ok(Mapping::new()),
            Err(source) => {
                return Err(Error::Read {
                    path: path(),
                    source,
                });
            }
        };
        yaml::parse_variables(&text).map_err(|source| Error::Parse {
            path: path(),
            source,
        })
    }

    fn save(&mut self, name: &str, value: &Value) -> Result<(), Error> {
        let mut values = self.content()?.written.clone();
        values.insert(name.into(), value.clone());
        let text = yaml::to_cli_string(&Value::Mapping(values.clone()));
        files::replace(Path::new(&self.path), &text).map_err(|source| Error::Write {
            path: self.path.clone(),
            source,
        })?;
        self.content = Some(values.into());
        Ok(())
    }
}
