//! `~/.bosh/config` (spec cli §2): the directors that the user gave a name or logged in to. The original's
//! file can be used as it is; it is written with mode 0600 and replaced whole.

use crate::error::{Error, Result, Within};
use domain::Secret;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file as it was read, and where to write it.
pub struct Config {
    path: PathBuf,
    environments: Vec<Environment>,
}

/// One director.
#[derive(Clone, Default)]
pub struct Environment {
    pub url: String,
    pub ca_cert: Option<String>,
    pub alias: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret<String>>,
    pub access_token_type: Option<String>,
    pub access_token: Option<Secret<String>>,
    pub refresh_token: Option<Secret<String>>,
}

/// The same on disk. Secrets are plain here, so it has no `Debug` and never leaves this file.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Row {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_cert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

#[derive(Serialize, Deserialize, Default)]
struct Document {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    environments: Vec<Row>,
}

impl From<Row> for Environment {
    fn from(row: Row) -> Self {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Environment {
            url: row.url,
            ca_cert: filled(row.ca_cert),
            alias: filled(row.alias),
            username: filled(row.username),
            password: row.password.map(Secret::new),
            access_token_type: filled(row.access_token_type),
            access_token: row.access_token.map(Secret::new),
            refresh_token: row.refresh_token.map(Secret::new),
        }
    }
}

impl From<&Environment> for Row {
    fn from(environment: &Environment) -> Self {
        let plain = |secret: &Option<Secret<String>>| secret.as_ref().map(|s| s.expose().clone());
        Row {
            url: environment.url.clone(),
            ca_cert: environment.ca_cert.clone(),
            alias: environment.alias.clone(),
            username: environment.username.clone(),
            password: plain(&environment.password),
            access_token_type: environment.access_token_type.clone(),
            access_token: plain(&environment.access_token),
            refresh_token: plain(&environment.refresh_token),
        }
    }
}

impl Config {
    /// Reads the file; one that does not exist is empty.
    pub fn load(path: &Path) -> Result<Self> {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let document: Option<Document> = serde_yaml::from_str(&text)
            .map_err(|error| Error::message(error.to_string()))
            .within(|| {
                format!(
                    "Reading the config file '{}' (repair it, or move it away and log in again)",
                    path.display()
                )
            })?;
        Ok(Config {
            path: path.to_owned(),
            environments: document
                .unwrap_or_default()
                .environments
                .into_iter()
                .map(Environment::from)
                .collect(),
        })
    }

    pub fn environments(&self) -> &[Environment] {
        &self.environments
    }

    /// The entry with this URL or alias.
    pub fn find(&self, url_or_alias: &str) -> Option<&Environment> {
        self.environments.iter().find(|environment| {
            environment.url == url_or_alias || environment.alias.as_deref() == Some(url_or_alias)
        })
    }

    /// The entry that `change` is about: the one with this URL, else with this alias, else a new one.
    pub fn update(
        &mut self,
        url: &str,
        alias: Option<&str>,
        change: impl FnOnce(&mut Environment),
    ) {
        let position = self
            .environments
            .iter()
            .position(|environment| environment.url == url)
            .or_else(|| {
                self.environments.iter().position(|environment| {
                    alias.is_some() && environment.alias.as_deref() == alias
                })
            })
            .unwrap_or_else(|| {
                self.environments.push(Environment {
                    url: url.to_owned(),
                    ..Environment::default()
                });
                self.environments.len() - 1
            });
        change(&mut self.environments[position]);
    }

    /// Removes the entry with an alias; whether there was one.
    pub fn remove_alias(&mut self, alias: &str) -> bool {
        let before = self.environments.len();
        self.environments
            .retain(|environment| environment.alias.as_deref() != Some(alias));
        before != self.environments.len()
    }

    /// [`Config::save`], or no file and no folder when nothing is left to write.
    pub fn save_or_remove(&self) -> Result<()> {
        if !self.environments.is_empty() {
            return self.save();
        }
        fs_err::remove_file(&self.path)?;
        if let Some(folder) = self.path.parent() {
            // Other files may be there; then it stays.
            let _ = fs_err::remove_dir(folder);
        }
        Ok(())
    }

    /// Writes the file, readable by the user only: a new one takes the place of the old at once.
    pub fn save(&self) -> Result<()> {
        let document = Document {
            environments: self.environments.iter().map(Row::from).collect(),
        };
        let text =
            serde_yaml::to_string(&document).map_err(|error| Error::message(error.to_string()))?;
        durable::replace(&self.path, text.as_bytes(), durable::Mode::Is(0o600))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_of_the_original_is_read_and_written_back_privately() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config");
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        std::fs::write(
            &path,
            "environments:\n- url: https://10.0.0.6:25555\n  ca_cert: |\n    -----BEGIN\n  alias: lab\n  username: admin\n  password: pw\n",
        )
        .unwrap();
        let mut config = Config::load(&path).unwrap();
        assert_eq!(config.find("lab").unwrap().url, "https://10.0.0.6:25555");
        config.update("https://10.0.0.6:25555", Some("x"), |environment| {
            environment.alias = Some("x".to_owned());
            environment.password = None;
        });
        config.save().unwrap();
        let again = Config::load(&path).unwrap();
        assert!(again.find("lab").is_none());
        let entry = again.find("x").unwrap();
        assert_eq!(entry.ca_cert.as_deref(), Some("-----BEGIN\n"));
        assert!(entry.password.is_none());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_missing_file_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::load(&folder.path().join("none")).unwrap();
        assert!(config.environments().is_empty());
    }
}
