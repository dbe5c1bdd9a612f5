//! `config/final.yml` and `config/private.yml`: `docs/spec/releases-and-templates.md` §2.1.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use crate::document::{self, get, get_text, scalar};
use crate::problem::{Problem, Within};

/// What the release folder says of itself. A missing file says nothing; what is needed is asked for when it is needed.
pub(super) struct Config {
    path: PathBuf,
    public: Value,
    private: Value,
}

impl Config {
    pub fn load(release: &Path) -> Result<Self, Problem> {
        let path = release.join("config/final.yml");
        Ok(Self {
            public: read(&path)?,
            private: read(&release.join("config/private.yml"))?,
            path,
        })
    }

    pub fn name(&self) -> Result<String, Problem> {
        let text = |key| get_text(&self.public, key).filter(|name| !name.is_empty());
        let path = self.path.display();
        match (text("name"), text("final_name")) {
            (Some(_), Some(_)) => Err(Problem::new(format!(
                "Expected 'name' or 'final_name' but not both in config '{path}'"
            ))),
            (Some(name), None) | (None, Some(name)) => Ok(name),
            (None, None) => Err(Problem::new(format!(
                "Expected non-empty 'name' in config '{path}'"
            ))),
        }
    }

    pub fn no_compression(&self) -> bool {
        document::get_bool(&self.public, "no_compression")
    }

    /// Provider and options of the blobstore; options of `private.yml` win.
    pub fn blobstore(&self) -> Result<(String, Mapping), Problem> {
        let of = |document: &Value| {
            let blobstore = get(document, "blobstore").cloned().unwrap_or_default();
            document::entries(&blobstore, "options")
        };
        let provider = get(&self.public, "blobstore")
            .and_then(|blobstore| get_text(blobstore, "provider"))
            .filter(|provider| !provider.is_empty())
            .ok_or_else(|| {
                Problem::new(format!(
                    "Expected non-empty 'blobstore.provider' in config '{}'",
                    self.path.display()
                ))
            })?;
        let mut options = of(&self.public);
        options.extend(of(&self.private));
        Ok((provider, options))
    }

    /// Writes `final.yml` with another name and what else of it is known.
    pub fn save_name(&self, name: &str) -> Result<(), Problem> {
        let mut out = format!("name: {}\n", scalar(name));
        if let Ok((provider, _)) = self.blobstore() {
            let _ = writeln!(out, "blobstore:\n  provider: {}", scalar(&provider));
            let options = get(&self.public, "blobstore")
                .map(|blobstore| document::entries(blobstore, "options"))
                .unwrap_or_default();
            if !options.is_empty() {
                out.push_str("  options:\n");
                let text = manifest::yaml::to_cli_string(&Value::Mapping(options));
                for line in text.lines() {
                    let _ = writeln!(out, "    {line}");
                }
            }
        }
        if self.no_compression() {
            out.push_str("no_compression: true\n");
        }
        fs_err::create_dir_all(self.path.parent().unwrap_or(&self.path))?;
        fs_err::write(&self.path, out)
            .within(|| format!("Writing config '{}'", self.path.display()))
    }
}

fn read(path: &Path) -> Result<Value, Problem> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    let text = document::read(path).within(|| format!("Reading config '{}'", path.display()))?;
    document::parse(&text).within(|| format!("Unmarshalling config '{}'", path.display()))
}
