//! Stemcells as files: unpacked, and `stemcell.MF` as the CLI reads and writes it (spec stemcell §2, cli §11).

use crate::error::{Error, Result, Within};
use manifest::yaml::{self, Dialect, Mapping, Value};
use release_archive::{Problem, tarball};
use std::path::Path;
use tempfile::TempDir;

pub const MANIFEST: &str = "stemcell.MF";

/// Unpacks a stemcell below `temporary`; its files are gone with the folder.
pub fn unpack(path: &Path, temporary: &Path) -> Result<(TempDir, StemcellManifest)> {
    let folder = tempfile::Builder::new()
        .prefix("stemcell-manager")
        .tempdir_in(temporary)?;
    let extracting = || format!("Extracting stemcell from '{}'", path.display());
    let file = std::fs::File::open(path)
        .map_err(|error| Problem::io("lstat", path, &error))
        .within(|| "Resolving tarball path")
        .within(extracting)?;
    tarball::unpack(file, folder.path()).within(extracting)?;
    let manifest = folder.path().join(MANIFEST);
    let text = fs_err::read_to_string(&manifest)
        .within(|| format!("Reading stemcell manifest '{}'", manifest.display()))?;
    Ok((folder, StemcellManifest::parse(&text)?))
}

/// The manifest of a stemcell.
pub struct StemcellManifest {
    fields: Mapping,
    /// The same with scalars as they are written: a version 1.10 is no number.
    texts: Mapping,
}

/// The fields that are written, in this order. The second says whether an absent one is left out.
const FIELDS: [(&str, bool); 8] = [
    ("name", false),
    ("version", false),
    ("operating_system", false),
    ("sha1", false),
    ("bosh_protocol", false),
    ("stemcell_formats", true),
    ("api_version", true),
    ("cloud_properties", false),
];

impl StemcellManifest {
    pub fn parse(text: &str) -> Result<Self> {
        let parsed = yaml::parse(text, Dialect::Cli)
            .and_then(|fields| Ok((fields, yaml::parse_texts(text)?)))
            .map_err(|error| Error::message(error.to_string()))
            .within(|| "Parsing stemcell manifest")?;
        match parsed {
            (Value::Mapping(fields), Value::Mapping(texts)) => Ok(Self { fields, texts }),
            _ => Err(Error::message("Expected a map").within("Parsing stemcell manifest")),
        }
    }

    /// A field as text: versions may be written as numbers. Empty if absent.
    pub fn text(&self, key: &str) -> String {
        self.texts
            .get(key)
            .and_then(yaml::scalar_text)
            .unwrap_or_default()
    }

    /// A cloud property as text, or the default.
    pub fn cloud_property(&self, key: &str, default: &str) -> String {
        self.texts
            .get("cloud_properties")
            .and_then(|properties| properties.get(key))
            .and_then(yaml::scalar_text)
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| default.to_owned())
    }

    /// All fields.
    pub fn document(&self) -> Value {
        self.fields.clone().into()
    }

    pub fn set(&mut self, key: &str, value: String) {
        self.texts.insert(key.into(), value.into());
    }

    pub fn set_formats(&mut self, formats: Vec<String>) {
        self.fields
            .insert("stemcell_formats".into(), formats.into());
    }

    /// Puts properties over those that are there.
    pub fn set_cloud_properties(&mut self, text: &str) -> Result<()> {
        let parsed = yaml::parse(text, Dialect::Cli)
            .map_err(|error| Error::message(error.to_string()))
            .within(|| "Parsing --cloud-properties")?;
        let more = match parsed {
            Value::Null => return Ok(()),
            Value::Mapping(more) => more,
            _ => return Err(Error::message("Expected --cloud-properties to be a map")),
        };
        let mut properties = match self.fields.remove("cloud_properties") {
            Some(Value::Mapping(properties)) => properties,
            _ => Mapping::new(),
        };
        properties.extend(more);
        self.fields
            .insert("cloud_properties".into(), properties.into());
        Ok(())
    }

    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        for (key, optional) in FIELDS {
            let value = self.fields.get(key).filter(|value| !value.is_null());
            let value = match (key, value) {
                (_, None) if optional => continue,
                ("cloud_properties", None) => Mapping::new().into(),
                ("cloud_properties" | "stemcell_formats" | "api_version", Some(value)) => {
                    value.clone()
                }
                (key, _) => self.text(key).into(),
            };
            let field: Mapping = [(Value::from(key), value)].into_iter().collect();
            out.push_str(&yaml::to_cli_string(&field.into()));
        }
        out
    }
}
