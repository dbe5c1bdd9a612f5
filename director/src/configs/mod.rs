//! Configs (cloud, runtime, cpi, …) and the comparing of documents (director-api.md §10, §11.4,
//! manifests-and-planning.md §1.11).
//!
//! The API stores and compares them; `deploy` asks [`Selection`] which ones a deployment is made with.

mod overlay;
mod selection;

pub use overlay::overlay;
pub use selection::{DeployContext, Selection};

use manifest::yaml::{self, Dialect, Value};

use crate::error::{Error, code};

/// Reads a manifest or a typed config: 440001 with the original's texts unless it is a mapping.
pub fn parse_manifest(text: &str) -> Result<Value, Error> {
    if text.trim().is_empty() {
        return Err(Error::new(
            code::BAD_MANIFEST,
            "Manifest should not be empty",
        ));
    }
    let value = yaml::parse(text, Dialect::Director).map_err(|error| {
        Error::new(
            code::BAD_MANIFEST,
            format!(
                "Incorrect YAML structure of the uploaded manifest: #<{}: {}>",
                class(&error),
                error.psych()
            ),
        )
    })?;
    match value {
        value @ Value::Mapping(_) => Ok(value),
        _ => Err(Error::new(code::BAD_MANIFEST, "Manifest should be a hash")),
    }
}

/// The class that the original's parser raises; clients see it in the text.
fn class(error: &yaml::Error) -> &'static str {
    if error.psych().starts_with("Tried to load") {
        "Psych::DisallowedClass"
    } else {
        "Psych::SyntaxError"
    }
}

/// Reads the content of a generic config: 440011 unless it is a mapping.
pub fn parse_config(text: &str) -> Result<Value, Error> {
    let value = yaml::parse(text, Dialect::Director).map_err(|error| {
        Error::new(
            code::BAD_CONFIG,
            format!("Config must be valid YAML: {}", error.psych()),
        )
    })?;
    match value {
        value @ Value::Mapping(_) => Ok(value),
        _ => Err(Error::new(code::BAD_CONFIG, "YAML hash expected")),
    }
}

/// A runtime config as it is stored: release versions as strings, written anew (compat: the original does both
/// before it stores and compares).
pub fn normalise_runtime(mut value: Value) -> String {
    if let Some(Value::Sequence(releases)) = value.get_mut("releases") {
        for release in releases {
            if let Some(version) = release.get_mut("version")
                && let Value::Number(number) = version
            {
                *version = Value::String(number.to_string());
            }
        }
    }
    yaml::to_director_string(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_refusals_are_the_originals() {
        for (text, message) in [
            ("", "Manifest should not be empty"),
            ("- a\n", "Manifest should be a hash"),
            (
                "a: b: c",
                "Incorrect YAML structure of the uploaded manifest: #<Psych::SyntaxError: (<unknown>): mapping values are not allowed in this context at line 1 column 5>",
            ),
        ] {
            assert_eq!(parse_manifest(text).unwrap_err().message, message);
        }
        assert_eq!(parse_config("").unwrap_err().message, "YAML hash expected");
        assert_eq!(
            parse_config("a: b: c").unwrap_err().message,
            "Config must be valid YAML: (<unknown>): mapping values are not allowed in this context at line 1 column 5"
        );
    }
}
