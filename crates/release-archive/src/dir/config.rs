//! `config/final.yml` and `config/private.yml`: `docs/spec/releases-and-templates.md` §2.1.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use crate::document::{self, get, get_text};
use crate::problem::{Problem, Within};

/// What the release folder says of itself.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub name: String,
    pub no_compression: bool,
    provider: Option<String>,
    options: Mapping,
}

impl Config {
    pub fn load(release: &Path) -> Result<Self, Problem> {
        let path = release.join("config/final.yml");
        let public =
            document::load(&path).within(|| format!("Reading config '{}'", path.display()))?;
        let name = get_text(&public, "name").filter(|name| !name.is_empty());
        let old_name = get_text(&public, "final_name").filter(|name| !name.is_empty());
        let name = match (name, old_name) {
            (Some(_), Some(_)) => {
                return Err(Problem::new(format!(
                    "Expected 'name' or 'final_name' but not both in config '{}'",
                    path.display()
                )));
            }
            (Some(name), None) | (None, Some(name)) => name,
            (None, None) => {
                return Err(Problem::new(format!(
                    "Expected non-empty 'name' in config '{}'",
                    path.display()
                )));
            }
        };
        let blobstore = get(&public, "blobstore").cloned().unwrap_or(Value::Null);
        let mut options = document::entries(&blobstore, "options");
        let private = release.join("config/private.yml");
        if private.exists() {
            let private = document::load(&private)
                .within(|| format!("Reading config '{}'", private.display()))?;
            let blobstore = get(&private, "blobstore").cloned().unwrap_or(Value::Null);
            options.extend(document::entries(&blobstore, "options"));
        }
        Ok(Self {
            name,
            no_compression: document::get_bool(&public, "no_compression"),
            provider: get_text(&blobstore, "provider"),
            options,
        })
    }

    /// The folder of the `local` blobstore, asked for only when it is really needed.
    pub fn local_blobstore(&self, release: &Path) -> Result<std::path::PathBuf, Problem> {
        match self.provider.as_deref() {
            None | Some("") => Err(Problem::new(format!(
                "Expected non-empty 'blobstore.provider' in config '{}'",
                release.join("config/final.yml").display()
            ))),
            Some("local") => {
                let options = Value::Mapping(self.options.clone());
                let path = get_text(&options, "blobstore_path").ok_or_else(|| {
                    Problem::new(
                        "Expected 'blobstore.options.blobstore_path' for the 'local' provider",
                    )
                })?;
                Ok(release.join(path))
            }
            Some(_) => Err(Problem::new("Expected release blobstore to be configured")),
        }
    }
}
