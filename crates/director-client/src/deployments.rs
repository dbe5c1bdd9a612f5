//! Deployments, errands, variables (spec director-api §11, §13.1, §15).

use crate::http::Client;
use crate::request::Request;
use crate::{Error, Query, Reporter, Wrap, escape_segment};
use reqwest::Method;
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// One row of `GET /deployments`.
#[derive(Debug, Clone, Deserialize)]
pub struct DeploymentRow {
    pub name: String,
    #[serde(default)]
    pub teams: Vec<String>,
    #[serde(default)]
    pub releases: Vec<ReleaseRef>,
    #[serde(default)]
    pub stemcells: Vec<StemcellRef>,
    #[serde(default)]
    pub locked: bool,
}

/// A release as a deployment uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRef {
    pub name: String,
    pub version: String,
}

/// A stemcell as a deployment uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StemcellRef {
    pub name: String,
    pub version: String,
}

/// `{"name","version"}`, or the text `name/version` that test directors send.
#[derive(Deserialize)]
#[serde(untagged)]
enum NameVersion {
    Parts { name: String, version: String },
    Slug(String),
}

impl NameVersion {
    fn split(self) -> (String, String) {
        match self {
            NameVersion::Parts { name, version } => (name, version),
            NameVersion::Slug(text) => match text.rsplit_once('/') {
                Some((name, version)) => (name.to_owned(), version.to_owned()),
                None => (text, String::new()),
            },
        }
    }
}

impl<'de> Deserialize<'de> for ReleaseRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, version) = NameVersion::deserialize(deserializer)?.split();
        Ok(ReleaseRef { name, version })
    }
}

impl<'de> Deserialize<'de> for StemcellRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, version) = NameVersion::deserialize(deserializer)?.split();
        Ok(StemcellRef { name, version })
    }
}

/// A config that a deployment was made with.
#[derive(Debug, Clone, Deserialize)]
pub struct DeploymentConfig {
    pub id: i64,
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
}

/// One line of a diff: its text and `added`, `removed` or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DiffLine(pub String, pub Option<String>);

/// What a deploy would change, and the config ids that it was computed with.
#[derive(Debug, Clone, Deserialize)]
pub struct DeploymentDiff {
    #[serde(default)]
    pub context: Option<serde_json::Value>,
    #[serde(default)]
    pub diff: Vec<DiffLine>,
}

/// Query of `POST /deployments` (spec director-api §11.3).
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    pub recreate: bool,
    pub recreate_persistent_disks: bool,
    /// RFC 3339.
    pub recreate_vms_created_before: Option<String>,
    pub fix: bool,
    /// `*` or instance groups joined by commas.
    pub skip_drain: Option<String>,
    pub canaries: Option<String>,
    pub max_in_flight: Option<String>,
    pub dry_run: bool,
    pub force_latest_variables: bool,
    /// What [`DeploymentDiff::context`] said.
    pub context: Option<serde_json::Value>,
}

/// A variable of a deployment.
#[derive(Debug, Clone, Deserialize)]
pub struct VariableRow {
    pub id: String,
    pub name: String,
}

/// Where an errand is to run: a group, or one instance of it by id, index or `first`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrandTarget {
    pub group: String,
    pub id: Option<String>,
}

/// Arguments of an errand run.
#[derive(Debug, Clone, Default)]
pub struct ErrandRun {
    pub name: String,
    pub keep_alive: bool,
    pub when_changed: bool,
    pub targets: Vec<ErrandTarget>,
}

/// What an errand left on one instance.
#[derive(Debug, Clone, Deserialize)]
pub struct ErrandResult {
    #[serde(default)]
    pub instance: Option<ErrandInstance>,
    pub exit_code: i64,
    #[serde(default)]
    pub stdout: String,
    #[serde(default)]
    pub stderr: String,
    #[serde(default)]
    pub logs: Option<ErrandLogs>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ErrandInstance {
    pub group: String,
    pub id: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ErrandLogs {
    #[serde(default)]
    pub blobstore_id: Option<String>,
    #[serde(default)]
    pub sha1: Option<String>,
}

impl Client {
    /// All deployments that the user may see, without their configs.
    pub async fn deployments(&self) -> Result<Vec<DeploymentRow>, Error> {
        self.get_json("/deployments?exclude_configs=true")
            .await
            .wrap(|| "Finding deployments")
    }

    /// All deployments that the user may see, with all that the director tells about them.
    pub async fn deployments_in_full(&self) -> Result<Vec<DeploymentRow>, Error> {
        self.get_json("/deployments")
            .await
            .wrap(|| "Finding deployments")
    }

    /// The configs that a deployment's last deploy used.
    pub async fn deployment_configs(
        &self,
        deployment: &str,
    ) -> Result<Vec<DeploymentConfig>, Error> {
        #[derive(Deserialize)]
        struct Row {
            config: DeploymentConfig,
        }
        let path = format!(
            "/deployment_configs?deployment[]={}",
            escape_segment(deployment)
        );
        let rows: Vec<Row> = self
            .get_json(&path)
            .await
            .wrap(|| "Finding deployment configs")?;
        Ok(rows.into_iter().map(|row| row.config).collect())
    }

    /// The manifest of the last successful deploy; `None` before the first one.
    pub async fn deployment_manifest(&self, deployment: &str) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            manifest: Option<String>,
        }
        let answer: Answer = self
            .get_json(&deployment_path(deployment))
            .await
            .wrap(|| format!("Fetching manifest of deployment '{deployment}'"))?;
        Ok(answer.manifest)
    }

    /// Compares a manifest with what is deployed.
    pub async fn diff_deployment(
        &self,
        deployment: &str,
        manifest: &str,
        redact: bool,
    ) -> Result<DeploymentDiff, Error> {
        let path = Query::new()
            .with("redact", redact.to_string())
            .on(&format!("{}/diff", deployment_path(deployment)));
        self.send_json(Request::yaml(Method::POST, path, manifest.to_owned()))
            .await
            .wrap(|| "Fetching diff result")
    }

    /// Creates or updates the deployment that the manifest names.
    pub async fn update_deployment(
        &self,
        manifest: &str,
        options: &UpdateOptions,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let path = Query::new()
            .with_flag("recreate", options.recreate)
            .with_flag(
                "recreate_persistent_disks",
                options.recreate_persistent_disks,
            )
            .with_some(
                "recreate_vms_created_before",
                options.recreate_vms_created_before.as_deref(),
            )
            .with_flag("fix", options.fix)
            .with_some("skip_drain", options.skip_drain.as_deref())
            .with_some("canaries", options.canaries.as_deref())
            .with_some("max_in_flight", options.max_in_flight.as_deref())
            .with_flag("dry_run", options.dry_run)
            .with_flag("force_latest_variables", options.force_latest_variables)
            .with_some("context", options.context.as_ref().map(|v| v.to_string()))
            .on("/deployments");
        self.run_task(
            Request::yaml(Method::POST, path, manifest.to_owned()),
            reporter,
        )
        .await
        .wrap(|| "Updating deployment")?;
        Ok(())
    }

    /// Deletes a deployment. One that is gone anyway counts as deleted.
    pub async fn delete_deployment(
        &self,
        deployment: &str,
        force: bool,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let path = Query::new()
            .with_flag("force", force)
            .on(&deployment_path(deployment));
        let is_gone = async {
            let rows = self.deployments_in_full().await?;
            Ok(rows.iter().all(|row| row.name != deployment))
        };
        self.run_deletion(path, is_gone, reporter)
            .await
            .wrap(|| format!("Deleting deployment '{deployment}'"))
    }

    /// Names of a deployment's variables with the ids of their values.
    pub async fn variables(&self, deployment: &str) -> Result<Vec<VariableRow>, Error> {
        self.get_json(&format!("{}/variables", deployment_path(deployment)))
            .await
            .wrap(|| format!("Fetching variables for deployment '{deployment}'"))
    }

    /// Names of the errands that a deployment offers.
    pub async fn errands(&self, deployment: &str) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Row {
            name: String,
        }
        let rows: Vec<Row> = self
            .get_json(&format!("{}/errands", deployment_path(deployment)))
            .await
            .wrap(|| "Finding errands")?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }

    /// Runs an errand; its exit codes are in the results, not an error.
    pub async fn run_errand(
        &self,
        deployment: &str,
        run: &ErrandRun,
        reporter: &dyn Reporter,
    ) -> Result<Vec<ErrandResult>, Error> {
        let targets: Vec<_> = run
            .targets
            .iter()
            .map(|target| match &target.id {
                Some(id) => json!({"group": target.group, "id": id}),
                None => json!({"group": target.group}),
            })
            .collect();
        let body = json!({
            "instances": targets,
            "keep-alive": run.keep_alive,
            "when-changed": run.when_changed,
        });
        let path = format!(
            "{}/errands/{}/runs",
            deployment_path(deployment),
            escape_segment(&run.name)
        );
        let wrap = || format!("Running errand '{}'", run.name);
        let (_, output) = self
            .run_task(Request::json(Method::POST, path, &body), reporter)
            .await
            .wrap(wrap)?;
        json_lines(&output).wrap(wrap)
    }
}

pub(crate) fn deployment_path(deployment: &str) -> String {
    format!("/deployments/{}", escape_segment(deployment))
}

/// One JSON document per non-empty line.
pub(crate) fn json_lines<T: serde::de::DeserializeOwned>(output: &[u8]) -> Result<Vec<T>, Error> {
    output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(Error::Decode))
        .collect()
}
