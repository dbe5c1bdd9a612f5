//! Which configs a deployment is made with.

use serde::{Deserialize, Serialize};

use crate::error::{Error, code};
use crate::store::Store;
use crate::store::configs::ConfigRow;

/// Ids as a diff returns them and a deploy sends them back (`context`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployContext {
    #[serde(default)]
    pub cloud_config_ids: Vec<i64>,
    #[serde(default)]
    pub runtime_config_ids: Vec<i64>,
}

/// The rows themselves, in order of merging.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub cloud: Vec<ConfigRow>,
    pub runtime: Vec<ConfigRow>,
}

impl Selection {
    /// The newest ones of every name that these teams may see.
    pub async fn latest(store: &Store, teams: &[String]) -> Result<Selection, Error> {
        Ok(Selection {
            cloud: store.current_configs("cloud", teams).await?,
            runtime: store.current_configs("runtime", teams).await?,
        })
    }

    /// The ones that a client saw: 190025 if one is unknown, or not to be seen by these teams.
    pub async fn of_context(
        store: &Store,
        context: &DeployContext,
        teams: &[String],
    ) -> Result<Selection, Error> {
        let pick = async |kind: &str, ids: &[i64]| -> Result<Vec<ConfigRow>, Error> {
            let rows = store.configs_by_ids(ids).await?;
            let visible = |row: &ConfigRow| {
                row.kind == kind && row.team.as_ref().is_none_or(|team| teams.contains(team))
            };
            if ids
                .iter()
                .all(|id| rows.iter().any(|row| row.id == *id && visible(row)))
            {
                return Ok(rows);
            }
            Err(Error::new(
                code::CONTEXT_INVALID_CONFIG_ID,
                "Context includes invalid config ID",
            ))
        };
        Ok(Selection {
            cloud: pick("cloud", &context.cloud_config_ids).await?,
            runtime: pick("runtime", &context.runtime_config_ids).await?,
        })
    }

    /// Rows by their ids whatever has become of them: the set of a deployment's last success.
    pub async fn of_ids(store: &Store, ids: &[i64]) -> Result<Selection, Error> {
        let rows = store.configs_by_ids(ids).await?;
        let (cloud, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.kind == "cloud");
        let runtime = rest
            .into_iter()
            .filter(|row| row.kind == "runtime")
            .collect();
        Ok(Selection { cloud, runtime })
    }

    pub fn context(&self) -> DeployContext {
        DeployContext {
            cloud_config_ids: self.cloud.iter().map(|row| row.id).collect(),
            runtime_config_ids: self.runtime.iter().map(|row| row.id).collect(),
        }
    }

    /// All ids, for `deployment_configs`.
    pub fn ids(&self) -> Vec<i64> {
        self.cloud
            .iter()
            .chain(&self.runtime)
            .map(|row| row.id)
            .collect()
    }
}
