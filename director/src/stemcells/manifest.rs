//! `stemcell.MF` (docs/spec/stemcell.md).

use manifest::yaml::{self, Dialect, Value};

use crate::error::{Error, code};

/// What the director keeps of a stemcell's manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct StemcellManifest {
    pub name: String,
    pub version: String,
    pub operating_system: String,
    /// Digest string of the image.
    pub sha1: String,
    /// Empty: any CPI may try.
    pub formats: Vec<String>,
    pub api_version: Option<i32>,
    /// For `create_stemcell`.
    pub cloud_properties: serde_json::Value,
}

impl StemcellManifest {
    /// Reads and checks the manifest.
    pub fn parse(text: &str) -> Result<StemcellManifest, Error> {
        let invalid = |text: String| Error::new(code::STEMCELL_INVALID_ARCHIVE, text);
        let value = yaml::parse(text, Dialect::Director)
            .map_err(|error| invalid("Stemcell manifest can't be read".into()).caused_by(error))?;
        if !value.is_mapping() {
            return Err(invalid("Stemcell manifest must be a map".into()));
        }
        let find = |key: &str| value.get(key).filter(|value| !value.is_null());
        let required = |key: &str| {
            find(key)
                .and_then(yaml::scalar_text)
                .filter(|text| !text.is_empty())
                .ok_or_else(|| {
                    let text =
                        format!("Required property '{key}' was not specified in stemcell.MF");
                    Error::new(code::VALIDATION_MISSING_FIELD, text)
                })
        };
        let (name, version) = (required("name")?, required("version")?);
        domain::StemcellVersion::parse(&version).map_err(|error| {
            invalid(format!("Stemcell version invalid: {version}")).caused_by(error)
        })?;
        Ok(StemcellManifest {
            operating_system: find("operating_system")
                .and_then(yaml::scalar_text)
                .unwrap_or_else(|| name.clone()),
            sha1: required("sha1")?,
            formats: find("stemcell_formats")
                .and_then(Value::as_sequence)
                .into_iter()
                .flatten()
                .filter_map(yaml::scalar_text)
                .collect(),
            api_version: find("api_version")
                .and_then(yaml::scalar_text)
                .and_then(|text| text.parse().ok()),
            cloud_properties: find("cloud_properties")
                .map_or_else(|| serde_json::json!({}), release_archive::document::to_json),
            name,
            version,
        })
    }

    /// `name/version`.
    pub fn slug(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_texts_and_the_operating_system_defaults_to_the_name() {
        let manifest =
            StemcellManifest::parse("name: n\nversion: 1.10\nsha1: ab\napi_version: 3\n").unwrap();
        assert_eq!(
            (manifest.operating_system.as_str(), manifest.api_version),
            ("n", Some(3))
        );
        assert_eq!(manifest.cloud_properties, serde_json::json!({}));
        let error = StemcellManifest::parse("name: n\nversion: 1\n").unwrap_err();
        assert!(error.message.contains("'sha1'"), "{error}");
    }
}
