//! Instances and VMs: listing, state changes, ssh, logs (spec director-api §12, §13).

use crate::deployments::{deployment_path, json_lines};
use crate::http::Client;
use crate::request::Request;
use crate::{Error, Query, Reporter, Wrap, escape_segment};
use domain::TaskId;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

/// All instances, those of a group, or one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceTarget {
    pub group: Option<String>,
    /// Index or id.
    pub id: Option<String>,
}

/// One line of the result of `instances?format=full` and `vms?format=full` (spec director-api §12.3).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InstanceInfo {
    pub agent_id: Option<String>,
    #[serde(rename = "job_name")]
    pub group: Option<String>,
    pub id: Option<String>,
    pub index: Option<i64>,
    pub az: Option<String>,
    /// What the agent says.
    #[serde(rename = "job_state")]
    pub process_state: Option<String>,
    /// What the director wants.
    pub state: Option<String>,
    pub ips: Option<Vec<String>>,
    pub vm_cid: Option<String>,
    pub vm_type: Option<String>,
    pub vm_created_at: Option<String>,
    pub disk_cid: Option<String>,
    pub disk_cids: Option<Vec<String>>,
    pub active: Option<bool>,
    #[serde(deserialize_with = "null_default")]
    pub bootstrap: bool,
    #[serde(deserialize_with = "null_default")]
    pub ignore: bool,
    pub cloud_properties: Option<Value>,
    pub stemcell: Option<InstanceStemcell>,
    pub processes: Option<Vec<Process>>,
    #[serde(deserialize_with = "object_or_nothing")]
    pub vitals: Option<Vitals>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InstanceStemcell {
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    #[serde(deserialize_with = "null_default")]
    pub version: String,
}

/// A supervised process; figures are numbers here, texts in [`Vitals`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Process {
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    #[serde(deserialize_with = "null_default")]
    pub state: String,
    pub uptime: Option<Uptime>,
    pub mem: Option<ProcessMemory>,
    pub cpu: Option<ProcessCpu>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Uptime {
    pub secs: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ProcessMemory {
    pub kb: Option<u64>,
    pub percent: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ProcessCpu {
    pub total: Option<f64>,
}

/// Figures of a VM as its agent gives them: percentages and kilobytes as text.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Vitals {
    #[serde(deserialize_with = "null_default")]
    pub cpu: Cpu,
    #[serde(deserialize_with = "null_default")]
    pub mem: Memory,
    #[serde(deserialize_with = "null_default")]
    pub swap: Memory,
    #[serde(deserialize_with = "null_default")]
    pub load: Vec<String>,
    pub uptime: Option<Uptime>,
    #[serde(deserialize_with = "null_default")]
    pub disk: std::collections::BTreeMap<String, Disk>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Cpu {
    #[serde(deserialize_with = "null_default")]
    pub sys: String,
    #[serde(deserialize_with = "null_default")]
    pub user: String,
    #[serde(deserialize_with = "null_default")]
    pub wait: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Memory {
    #[serde(deserialize_with = "null_default")]
    pub kb: String,
    #[serde(deserialize_with = "null_default")]
    pub percent: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Disk {
    #[serde(deserialize_with = "null_default")]
    pub percent: String,
    #[serde(deserialize_with = "null_default")]
    pub inode_percent: String,
}

/// Agents and directors write null for what they do not know.
fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `vitals` is an object, null, or an empty list for an instance without figures.
fn object_or_nothing<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vitals>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value
        .filter(Value::is_object)
        .and_then(|value| serde_json::from_value(value).ok()))
}

/// A state change of instances.
#[derive(Debug, Clone, Default)]
pub struct ChangeState {
    /// `started`, `stopped`, `detached`, `restart` or `recreate`.
    pub state: String,
    pub skip_drain: bool,
    pub force: bool,
    pub fix: bool,
    pub dry_run: bool,
    pub canaries: Option<String>,
    pub max_in_flight: Option<String>,
    /// RFC 3339.
    pub recreate_vms_created_before: Option<String>,
}

/// Which instances to open to an ssh user.
#[derive(Debug, Clone, Default)]
pub struct SshTarget {
    pub group: Option<String>,
    /// Ids or indexes; empty for all.
    pub ids: Vec<String>,
}

impl SshTarget {
    fn to_json(&self) -> Value {
        let mut target = serde_json::Map::new();
        target.insert("ids".to_owned(), json!(self.ids));
        target.insert("indexes".to_owned(), json!(self.ids));
        if let Some(group) = &self.group {
            target.insert("job".to_owned(), json!(group));
        }
        Value::Object(target)
    }
}

/// A host that lets the ssh user in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SshHost {
    #[serde(deserialize_with = "null_default")]
    pub status: String,
    #[serde(deserialize_with = "null_default")]
    pub job: String,
    pub index: Option<i64>,
    #[serde(deserialize_with = "null_default")]
    pub id: String,
    #[serde(deserialize_with = "null_default")]
    pub ip: String,
    #[serde(deserialize_with = "null_default")]
    pub host_public_key: String,
    pub gateway_user: Option<String>,
    pub gateway_host: Option<String>,
}

/// Which logs to pack (spec director-api §13.3).
#[derive(Debug, Clone, Default)]
pub struct LogsRequest {
    pub target: InstanceTarget,
    /// `job`, `agent`, `system` or several joined by commas.
    pub kind: String,
    /// Globs relative to the log folder.
    pub filters: Vec<String>,
}

/// One row of the plain list, which asks no agents.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InstanceRow {
    pub agent_id: Option<String>,
    pub cid: Option<String>,
    pub job: Option<String>,
    pub index: Option<i64>,
    pub id: Option<String>,
    pub az: Option<String>,
    pub ips: Option<Vec<String>>,
    #[serde(deserialize_with = "null_default")]
    pub expects_vm: bool,
}

impl Client {
    /// Every instance of a deployment as the director knows it.
    pub async fn instance_rows(&self, deployment: &str) -> Result<Vec<InstanceRow>, Error> {
        self.get_json(&format!("{}/instances", deployment_path(deployment)))
            .await
            .wrap(|| format!("Listing deployment '{deployment}' instances"))
    }

    /// Every VM of a deployment, asked of the agents.
    pub async fn vms(
        &self,
        deployment: &str,
        reporter: &dyn Reporter,
    ) -> Result<Vec<InstanceInfo>, Error> {
        self.list_full(deployment, "vms", reporter).await
    }

    /// Every instance of a deployment, asked of the agents.
    pub async fn instances(
        &self,
        deployment: &str,
        reporter: &dyn Reporter,
    ) -> Result<Vec<InstanceInfo>, Error> {
        self.list_full(deployment, "instances", reporter).await
    }

    async fn list_full(
        &self,
        deployment: &str,
        what: &str,
        reporter: &dyn Reporter,
    ) -> Result<Vec<InstanceInfo>, Error> {
        let path = format!("{}/{what}?format=full", deployment_path(deployment));
        let wrap = || format!("Listing deployment '{deployment}' {what} infos");
        let (_, output) = self
            .run_task(Request::get(path), reporter)
            .await
            .wrap(wrap)?;
        json_lines(&output).wrap(wrap)
    }

    /// Brings instances into a state by a deploy of the stored manifest (spec director-api §12.1).
    pub async fn change_state(
        &self,
        deployment: &str,
        target: &InstanceTarget,
        change: &ChangeState,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let mut path = format!(
            "{}/jobs/{}",
            deployment_path(deployment),
            escape_segment(target.group.as_deref().unwrap_or("*"))
        );
        if let Some(id) = &target.id {
            path = format!("{path}/{}", escape_segment(id));
        }
        let path = Query::new()
            .with("state", &change.state)
            .with_flag("skip_drain", change.skip_drain)
            .with_flag("force", change.force)
            .with_flag("fix", change.fix)
            .with_flag("dry_run", change.dry_run)
            .with_some("canaries", change.canaries.as_deref())
            .with_some("max_in_flight", change.max_in_flight.as_deref())
            .with_some(
                "recreate_vms_created_before",
                change.recreate_vms_created_before.as_deref(),
            )
            .on(&path);
        self.run_task(Request::yaml(Method::PUT, path, ""), reporter)
            .await
            .wrap(|| "Changing state")?;
        Ok(())
    }

    /// `start`, `stop`, `restart` or `recreate` of one instance and nothing else
    /// (spec director-api §12.2).
    pub async fn instance_action(
        &self,
        deployment: &str,
        (group, id): (&str, &str),
        action: &str,
        query: Query,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let path = query.on(&format!(
            "{}/instance_groups/{}/{}/actions/{action}",
            deployment_path(deployment),
            escape_segment(group),
            escape_segment(id)
        ));
        self.run_task(Request::yaml(Method::POST, path, ""), reporter)
            .await
            .wrap(|| "Non-converging action failed")?;
        Ok(())
    }

    /// Takes an instance out of deploys, or back in.
    pub async fn ignore_instance(
        &self,
        deployment: &str,
        (group, id): (&str, &str),
        ignore: bool,
    ) -> Result<(), Error> {
        let path = format!(
            "{}/instance_groups/{}/{}/ignore",
            deployment_path(deployment),
            escape_segment(group),
            escape_segment(id)
        );
        self.send(Request::json(
            Method::PUT,
            path,
            &json!({ "ignore": ignore }),
        ))
        .await
        .wrap(|| {
            format!("Changing ignore state for '{group}/{id}' in deployment '{deployment}'")
        })?;
        Ok(())
    }

    /// Deletes a VM by its cloud id. One that the director does not know counts as deleted.
    pub async fn delete_vm(&self, cid: &str, reporter: &dyn Reporter) -> Result<(), Error> {
        self.run_task(
            Request::delete(format!("/vms/{}", escape_segment(cid))),
            reporter,
        )
        .await
        .wrap(|| format!("Deleting VM '{cid}'"))?;
        Ok(())
    }

    /// Lets `user` in with `public_key`; the hosts that agreed and those that did not.
    pub async fn setup_ssh(
        &self,
        deployment: &str,
        target: &SshTarget,
        user: &str,
        public_key: &str,
        reporter: &dyn Reporter,
    ) -> Result<Vec<SshHost>, Error> {
        let body = json!({
            "command": "setup",
            "deployment_name": deployment,
            "params": {"public_key": public_key, "user": user},
            "target": target.to_json(),
        });
        let path = format!("{}/ssh", deployment_path(deployment));
        let wrap = || format!("Setting up SSH in deployment '{deployment}'");
        let (_, output) = self
            .run_task(Request::json(Method::POST, path, &body), reporter)
            .await
            .wrap(wrap)?;
        serde_json::from_slice(&output)
            .map_err(Error::Decode)
            .wrap(wrap)
    }

    /// Takes the ssh user away again; does not wait for the task.
    pub async fn cleanup_ssh(
        &self,
        deployment: &str,
        target: &SshTarget,
        user: &str,
    ) -> Result<(), Error> {
        let body = json!({
            "command": "cleanup",
            "deployment_name": deployment,
            "params": {"user_regex": format!("^{user}")},
            "target": target.to_json(),
        });
        let path = format!("{}/ssh", deployment_path(deployment));
        self.send_without_redirect(Request::json(Method::POST, path, &body))
            .await
            .wrap(|| format!("Cleaning up SSH in deployment '{deployment}'"))
    }

    /// Packs logs; the id of the blob that holds them.
    pub async fn fetch_logs(
        &self,
        deployment: &str,
        request: &LogsRequest,
        reporter: &dyn Reporter,
    ) -> Result<String, Error> {
        let path = Query::new()
            .with("type", &request.kind)
            .with_some(
                "filters",
                (!request.filters.is_empty()).then(|| request.filters.join(",")),
            )
            .on(&format!(
                "{}/jobs/{}/{}/logs",
                deployment_path(deployment),
                escape_segment(request.target.group.as_deref().unwrap_or("*")),
                escape_segment(request.target.id.as_deref().unwrap_or("*"))
            ));
        let (id, _): (TaskId, _) = self
            .run_task(Request::get(path), reporter)
            .await
            .wrap(|| "Fetching logs")?;
        let task = self.task(id).await?;
        Ok(task.result.unwrap_or_default())
    }
}
