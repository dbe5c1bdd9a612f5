//! Where settings come from: agent.json's list of sources (`docs/spec/agent-protocol.md` §5.1).
//!
//! Containers use `File`. Metadata services and config drives are further variants of [`Source`].

use std::path::{Path, PathBuf};

use agent_protocol::Settings;
use serde::Deserialize;

use crate::error::{Context, Error, Result, plain};

/// The part of agent.json that the agent acts on. Unknown keys appear in stemcells and are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AgentConfig {
    infrastructure: Infrastructure,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Infrastructure {
    settings: SettingsConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct SettingsConfig {
    sources: Vec<SourceConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct SourceConfig {
    r#type: String,
    settings_path: String,
}

/// One place to fetch settings from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file of the root file system, written by the CPI.
    File(PathBuf),
}

impl AgentConfig {
    /// Reads agent.json.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs_err::read(path).map_err(plain)?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("Loading agent configuration {}", path.display()))
    }

    /// The sources in their order.
    pub fn sources(&self) -> Result<Vec<Source>> {
        let sources = &self.infrastructure.settings.sources;
        if sources.is_empty() {
            return Err(Error::new(
                "agent.json names no settings source under Infrastructure.Settings.Sources",
            ));
        }
        sources.iter().map(Source::from_config).collect()
    }
}

impl Source {
    fn from_config(config: &SourceConfig) -> Result<Self> {
        match config.r#type.as_str() {
            "File" => Ok(Self::File(PathBuf::from(&config.settings_path))),
            "" => Err(Error::new("Missing source type")),
            other => Err(Error::new(format!(
                "Settings source type '{other}' is not supported by this agent; it knows 'File'"
            ))),
        }
    }

    /// Fetches and parses the settings.
    pub fn fetch(&self) -> Result<Settings> {
        match self {
            Self::File(path) => {
                let bytes = fs_err::read(path).map_err(plain)?;
                serde_json::from_slice(&bytes)
                    .with_context(|| format!("Parsing settings file {}", path.display()))
            }
        }
    }
}
