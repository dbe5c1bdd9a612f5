//! Cloud check and the resurrection switch (spec director-api §14).

use crate::deployments::deployment_path;
use crate::http::Client;
use crate::request::Request;
use crate::{Error, Reporter, Wrap};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A problem that a scan found.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    pub id: i64,
    #[serde(rename = "type")]
    pub kind: String,
    pub description: String,
    #[serde(default)]
    pub resolutions: Vec<Resolution>,
    #[serde(default)]
    pub instance_group: Option<String>,
}

/// What can be done about a problem.
#[derive(Debug, Clone, Deserialize)]
pub struct Resolution {
    #[serde(default)]
    pub name: Option<String>,
    pub plan: String,
}

impl Client {
    /// Looks for problems and lists them.
    pub async fn scan(
        &self,
        deployment: &str,
        reporter: &dyn Reporter,
    ) -> Result<Vec<Problem>, Error> {
        let path = deployment_path(deployment);
        let request = Request::with(
            Method::POST,
            format!("{path}/scans"),
            "application/json",
            "",
        );
        self.run_task(request, reporter)
            .await
            .wrap(|| format!("Performing a scan on deployment '{deployment}'"))?;
        self.get_json(&format!("{path}/problems"))
            .await
            .wrap(|| format!("Listing problems for deployment '{deployment}'"))
    }

    /// Applies resolutions; `None` is the problem type's own choice. `overrides` replace `max_in_flight` of instance
    /// groups.
    pub async fn resolve_problems(
        &self,
        deployment: &str,
        answers: &[(i64, Option<String>)],
        overrides: &BTreeMap<String, String>,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let resolutions: Map<String, Value> = answers
            .iter()
            .map(|(id, name)| (id.to_string(), json!(name)))
            .collect();
        let path = format!("{}/problems", deployment_path(deployment));
        let mut body = Map::new();
        if !overrides.is_empty() {
            body.insert("max_in_flight_overrides".to_owned(), json!(overrides));
        }
        body.insert("resolutions".to_owned(), resolutions.into());
        let body = Value::Object(body);
        self.run_task(Request::json(Method::PUT, path, &body), reporter)
            .await
            .wrap(|| format!("Resolving problems for deployment '{deployment}'"))?;
        Ok(())
    }

    /// Turns resurrection on or off for the whole director.
    pub async fn enable_resurrection(&self, enabled: bool) -> Result<(), Error> {
        let body = json!({ "resurrection_paused": !enabled });
        self.send(Request::json(Method::PUT, "/resurrection", &body))
            .await
            .wrap(|| "Changing VM resurrection state")?;
        Ok(())
    }
}
