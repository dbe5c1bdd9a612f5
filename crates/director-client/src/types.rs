//! What the director tells about itself: `/info`, locks, certificates.

use crate::http::Client;
use crate::{Error, Wrap};
use serde::Deserialize;
use std::collections::BTreeMap;

/// `GET /info` (spec director-api §6).
#[derive(Debug, Clone, Deserialize)]
pub struct Info {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub uuid: String,
    #[serde(default)]
    pub version: String,
    /// Who the sent credentials belong to; `None` when they are missing or wrong.
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub cpi: Option<String>,
    #[serde(default)]
    pub stemcell_os: Option<String>,
    #[serde(default)]
    pub stemcell_version: Option<String>,
    #[serde(default)]
    pub user_authentication: Option<UserAuthentication>,
    #[serde(default)]
    pub features: BTreeMap<String, Feature>,
}

/// How the director wants its users to log in.
#[derive(Debug, Clone, Deserialize)]
pub struct UserAuthentication {
    /// `basic` or `uaa`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub options: serde_json::Value,
}

/// A feature switch in `/info`; other members are ignored.
#[derive(Debug, Clone, Deserialize)]
pub struct Feature {
    #[serde(default)]
    pub status: Option<bool>,
}

/// One row of `GET /locks` (spec director-api §19.1).
#[derive(Debug, Clone, Deserialize)]
pub struct Lock {
    #[serde(rename = "type")]
    pub kind: String,
    pub resource: Vec<String>,
    /// Expiry in Unix seconds with a fraction, as text.
    pub timeout: String,
    #[serde(default)]
    pub task_id: Option<String>,
}

/// One row of `GET /director/certificate_expiry` (spec director-api §19.4).
#[derive(Debug, Clone, Deserialize)]
pub struct CertificateExpiry {
    pub certificate_path: String,
    pub expiry: String,
    pub days_left: i64,
}

impl Client {
    /// The director's description; sends the client's credentials, so `user` tells whether they are good.
    pub async fn info(&self) -> Result<Info, Error> {
        self.get_json("/info").await.wrap(|| "Fetching info")
    }

    /// The director's description as anybody sees it.
    pub async fn anonymous_info(&self) -> Result<Info, Error> {
        self.anonymous()
            .get_json("/info")
            .await
            .wrap(|| "Fetching info")
    }

    /// Locks held now.
    pub async fn locks(&self) -> Result<Vec<Lock>, Error> {
        self.get_json("/locks").await.wrap(|| "Finding locks")
    }

    /// Expiry of the director's own certificates; `None` for a director without that endpoint.
    pub async fn certificate_expiry(&self) -> Result<Option<Vec<CertificateExpiry>>, Error> {
        match self.get_json("/director/certificate_expiry").await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error).wrap(|| "Getting certificate expiry endpoint error"),
        }
    }
}
