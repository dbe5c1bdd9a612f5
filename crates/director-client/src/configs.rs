//! Configs: the generic calls and the typed ones of cloud, runtime and CPI configs
//! (spec director-api §10).

use crate::deployments::DiffLine;
use crate::http::Client;
use crate::request::Request;
use crate::{Error, Query, Wrap, escape_segment};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

/// A stored config.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    #[serde(default)]
    pub team: Option<String>,
    #[serde(default)]
    pub created_at: String,
    #[serde(default)]
    pub content: String,
    /// Whether it is the newest of its type and name.
    #[serde(default)]
    pub current: bool,
}

/// Filter of the list.
#[derive(Debug, Clone, Default)]
pub struct ConfigListFilter {
    pub kind: Option<String>,
    pub name: Option<String>,
}

/// A diff and the id of the config that it starts from (`0` for none).
#[derive(Debug, Clone, Deserialize)]
pub struct ConfigDiff {
    #[serde(default)]
    pub from: Option<FromId>,
    #[serde(default)]
    pub diff: Vec<DiffLine>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct FromId {
    pub id: String,
}

/// One side of `diff-config`.
#[derive(Debug, Clone)]
pub enum DiffSource {
    Id(String),
    Content(String),
}

impl DiffSource {
    // compat: both keys are sent, the unused one empty.
    fn to_json(&self) -> Value {
        match self {
            DiffSource::Id(id) => json!({"id": id, "content": ""}),
            DiffSource::Content(content) => json!({"id": "", "content": content}),
        }
    }
}

/// The configs with endpoints of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypedConfigKind {
    Cloud,
    Runtime,
    Cpi,
}

impl TypedConfigKind {
    fn path(self) -> &'static str {
        match self {
            TypedConfigKind::Cloud => "/cloud_configs",
            TypedConfigKind::Runtime => "/runtime_configs",
            TypedConfigKind::Cpi => "/cpi_configs",
        }
    }

    fn word(self) -> &'static str {
        match self {
            TypedConfigKind::Cloud => "cloud",
            TypedConfigKind::Runtime => "runtime",
            TypedConfigKind::Cpi => "cpi",
        }
    }
}

/// Content of a typed config.
#[derive(Debug, Clone, Deserialize)]
pub struct TypedConfig {
    pub properties: String,
}

impl Client {
    /// Configs, newest `recent` of each type and name.
    pub async fn configs(
        &self,
        recent: u32,
        filter: &ConfigListFilter,
    ) -> Result<Vec<Config>, Error> {
        let path = Query::new()
            .with("limit", recent.to_string())
            .with("latest", (recent == 1).to_string())
            .with_some("type", filter.kind.as_deref())
            .with_some("name", filter.name.as_deref())
            .on("/configs");
        self.get_json(&path).await.wrap(|| "Listing configs")
    }

    /// A config by id.
    pub async fn config_by_id(&self, id: &str) -> Result<Config, Error> {
        self.get_json(&format!("/configs/{}", escape_segment(id)))
            .await
            .wrap(|| "No config")
    }

    /// The current config of a type and name.
    pub async fn config(&self, kind: &str, name: &str) -> Result<Config, Error> {
        let filter = ConfigListFilter {
            kind: Some(kind.to_owned()),
            name: Some(name.to_owned()),
        };
        self.configs(1, &filter)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::Message("No config".to_owned()))
    }

    /// Compares a content with the current config.
    pub async fn diff_config_with_current(
        &self,
        kind: &str,
        name: &str,
        content: &str,
    ) -> Result<ConfigDiff, Error> {
        let body = json!({"type": kind, "name": name, "content": content});
        self.send_json(Request::json(Method::POST, "/configs/diff", &body))
            .await
            .wrap(|| "Fetching diff result")
    }

    /// Compares any two contents or configs.
    pub async fn diff_configs(
        &self,
        from: &DiffSource,
        to: &DiffSource,
    ) -> Result<ConfigDiff, Error> {
        let body = json!({"from": from.to_json(), "to": to.to_json()});
        let request = Request::json(Method::POST, "/configs/diff", &body);
        match self.send_json(request).await {
            Err(error)
                if error
                    .body()
                    .is_some_and(|body| body.contains("\"code\":440012")) =>
            {
                Err(Error::Message(description(&error)))
            }
            other => other.wrap(|| "Fetching diff result"),
        }
    }

    /// Stores a config, refused when the current one's id is not the expected one.
    pub async fn update_config(
        &self,
        kind: &str,
        name: &str,
        content: &str,
        expected_latest_id: Option<&str>,
    ) -> Result<Config, Error> {
        #[derive(Deserialize)]
        struct Conflict {
            latest_id: String,
            expected_latest_id: String,
        }
        let mut body = json!({"type": kind, "name": name, "content": content});
        if let Some(id) = expected_latest_id {
            body["expected_latest_id"] = json!(id);
        }
        let request = Request::json(Method::POST, "/configs", &body);
        match self.send_json(request).await {
            Err(error) if error.status() == Some(412) => {
                let conflict = error
                    .body()
                    .and_then(|body| serde_json::from_str(body).ok());
                let Some(Conflict {
                    latest_id,
                    expected_latest_id,
                }) = conflict
                else {
                    return Err(error).wrap(|| "Updating config");
                };
                Err(Error::Message(format!(
                    "Config update rejected: The expected latest ID '{expected_latest_id}' doesn't match the latest ID '{latest_id}'. This most likely means that a concurrent update of the config happened. Please try to upload again."
                )))
            }
            other => other.wrap(|| "Updating config"),
        }
    }

    /// Deletes all versions of a config; `false` when there was none.
    pub async fn delete_config(&self, kind: &str, name: &str) -> Result<bool, Error> {
        let path = Query::new()
            .with("type", kind)
            .with("name", name)
            .on("/configs");
        self.deleted(&path).await
    }

    /// Deletes one version; `false` when there was none.
    pub async fn delete_config_by_id(&self, id: &str) -> Result<bool, Error> {
        self.deleted(&format!("/configs/{}", escape_segment(id)))
            .await
    }

    async fn deleted(&self, path: &str) -> Result<bool, Error> {
        match self.send(Request::delete(path)).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error).wrap(|| "Deleting config"),
        }
    }

    /// The current cloud, runtime or CPI config; an empty name is `default`.
    pub async fn typed_config(
        &self,
        kind: TypedConfigKind,
        name: &str,
    ) -> Result<Option<TypedConfig>, Error> {
        let path = named(kind, name).with("limit", "1").on(kind.path());
        let rows: Vec<TypedConfig> = self
            .get_json(&path)
            .await
            .wrap(|| format!("Finding {} configs", kind.word()))?;
        Ok(rows.into_iter().next())
    }

    /// Compares a content with the current cloud, runtime or CPI config. `no_redact` asks for secrets
    /// in clear.
    pub async fn diff_typed_config(
        &self,
        kind: TypedConfigKind,
        name: &str,
        content: &str,
        no_redact: bool,
    ) -> Result<Vec<DiffLine>, Error> {
        let mut query = named(kind, name);
        if no_redact {
            query = query.with("redact", "false");
        }
        let path = query.on(&format!("{}/diff", kind.path()));
        let diff: ConfigDiff = self
            .send_json(Request::yaml(Method::POST, path, content.to_owned()))
            .await
            .wrap(|| "Fetching diff result")?;
        Ok(diff.diff)
    }

    /// Stores a cloud, runtime or CPI config.
    pub async fn update_typed_config(
        &self,
        kind: TypedConfigKind,
        name: &str,
        content: &str,
    ) -> Result<(), Error> {
        let path = named(kind, name).on(kind.path());
        self.send(Request::yaml(Method::POST, path, content.to_owned()))
            .await
            .wrap(|| format!("Updating {} config", kind.word()))?;
        Ok(())
    }
}

// compat: cloud and runtime calls carry `name` even when it is empty; CPI calls have none.
fn named(kind: TypedConfigKind, name: &str) -> Query {
    match kind {
        TypedConfigKind::Cpi => Query::new(),
        _ => Query::new().with("name", name),
    }
}

/// The `description` of an error body, or the error itself.
fn description(error: &Error) -> String {
    error
        .body()
        .and_then(|body| serde_json::from_str::<Value>(body).ok())
        .and_then(|body| Some(body.get("description")?.as_str()?.to_owned()))
        .unwrap_or_else(|| error.to_string())
}
