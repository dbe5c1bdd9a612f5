//! Stemcells (spec director-api §9).

use crate::http::Client;
use crate::releases::location;
use crate::request::{Progress, Request};
use crate::{Error, Query, Reporter, Wrap, escape_segment};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// One stemcell on one CPI.
#[derive(Debug, Clone, Deserialize)]
pub struct Stemcell {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub operating_system: Option<String>,
    #[serde(default)]
    pub cpi: Option<String>,
    #[serde(default)]
    pub cid: Option<String>,
    /// Deployments that use it.
    #[serde(default)]
    pub deployments: Vec<serde_json::Value>,
}

impl Client {
    /// All stemcells.
    pub async fn stemcells(&self) -> Result<Vec<Stemcell>, Error> {
        self.get_json("/stemcells")
            .await
            .wrap(|| "Finding stemcells")
    }

    /// Whether some CPI lacks this stemcell.
    pub async fn stemcell_needed(&self, name: &str, version: &str) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Answer {
            needed: bool,
        }
        let body = json!({"stemcell": {"name": name, "version": version}});
        let answer: Answer = self
            .send_json(Request::json(Method::POST, "/stemcell_uploads", &body))
            .await
            .wrap(|| "Checking if stemcell is needed")?;
        Ok(answer.needed)
    }

    /// Uploads a stemcell tarball.
    pub async fn upload_stemcell_file(
        &self,
        file: &Path,
        fix: bool,
        progress: Option<Arc<dyn Progress>>,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let path = Query::new().with_flag("fix", fix).on("/stemcells");
        self.run_task(Request::archive(path, file, progress), reporter)
            .await
            .wrap(|| "Uploading stemcell file")?;
        Ok(())
    }

    /// Has the director download a stemcell.
    pub async fn upload_stemcell_url(
        &self,
        url: &str,
        sha1: Option<&str>,
        fix: bool,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let path = Query::new().with_flag("fix", fix).on("/stemcells");
        self.run_task(
            Request::json(Method::POST, path, &location(url, sha1)),
            reporter,
        )
        .await
        .wrap(|| format!("Uploading remote stemcell '{url}'"))?;
        Ok(())
    }

    /// Deletes a stemcell. One that is gone anyway counts as deleted.
    pub async fn delete_stemcell(
        &self,
        name: &str,
        version: &str,
        force: bool,
        reporter: &dyn Reporter,
    ) -> Result<(), Error> {
        let path = Query::new().with_flag("force", force).on(&format!(
            "/stemcells/{}/{}",
            escape_segment(name),
            escape_segment(version)
        ));
        let is_gone = async {
            let stemcells = self.stemcells().await?;
            let mut left = stemcells.iter();
            Ok(!left.any(|row| row.name == name && row.version == version))
        };
        self.run_deletion(path, is_gone, reporter)
            .await
            .wrap(|| format!("Deleting stemcell '{name}/{version}'"))
    }
}
