//! Settings of who may call: a UAA, client certificates, the metrics listener (`docs/operator.md`, "Users").
//!
//! Read and checked with the rest of [`super::Settings`]; [`crate::auth`] and [`crate::api`] use them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use domain::Secret;
use serde::Deserialize;

use super::KeyPair;

/// Users come from a UAA (director-api.md §2.1) instead of `users`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uaa {
    /// Base URL, as clients reach it. Either this or `urls`.
    pub url: Option<String>,
    /// Several base URLs; the first is the one that clients use.
    #[serde(default)]
    pub urls: Vec<String>,
    /// PEM text of the RSA key that tokens are signed with.
    pub public_key: Option<String>,
    /// Key of tokens signed with HMAC.
    pub symmetric_key: Option<Secret<String>>,
    pub symmetric_key_file: Option<PathBuf>,
    /// PEM file of the CA that signed the UAA's certificate: for fetching its keys when none is given here.
    /// Absent: the system's roots.
    pub ca: Option<PathBuf>,
}

impl Uaa {
    /// All base URLs, the clients' one first, without a slash at the end.
    pub fn all_urls(&self) -> Vec<String> {
        let urls = self.url.iter().chain(&self.urls);
        urls.map(|url| url.trim_end_matches('/').to_owned())
            .collect()
    }

    pub(super) fn resolve(&mut self, absolute: impl Fn(&mut PathBuf)) -> Result<(), String> {
        self.ca.as_mut().map(&absolute);
        self.symmetric_key_file.as_mut().map(&absolute);
        match (&self.url, self.urls.is_empty()) {
            (Some(_), false) => {
                return Err("uaa.url and uaa.urls are both given: keep one".into());
            }
            (None, true) => {
                return Err(
                    "uaa.url is missing: the UAA's address, like https://uaa.example:8443".into(),
                );
            }
            _ => {}
        }
        for url in self.all_urls() {
            let parsed = url::Url::parse(&url)
                .map_err(|error| format!("uaa.url: '{url}' is no URL: {error}"))?;
            if !["http", "https"].contains(&parsed.scheme()) || parsed.host().is_none() {
                return Err(format!("uaa.url: '{url}' is no http or https URL"));
            }
            if parsed.scheme() == "http" && self.keys_are_fetched() && !is_loopback(&parsed) {
                return Err(format!(
                    "uaa.url: keys are not fetched from '{url}' without TLS; use https, or give uaa.public_key"
                ));
            }
        }
        if self.symmetric_key.is_some() || self.symmetric_key_file.is_some() {
            if self.public_key.is_some() {
                return Err("uaa.public_key and uaa.symmetric_key are both given: keep one".into());
            }
            let key = super::secret(
                "uaa.symmetric_key",
                self.symmetric_key.take(),
                self.symmetric_key_file.as_deref(),
            )?;
            if key.expose().is_empty() {
                return Err("uaa.symmetric_key is empty".into());
            }
            self.symmetric_key = Some(key);
        }
        if let Some(pem) = &self.public_key {
            jsonwebtoken::DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|error| {
                format!("uaa.public_key is no RSA public key in PEM form: {error}")
            })?;
        }
        Ok(())
    }

    /// No key is given: the UAA is asked for its keys.
    pub fn keys_are_fetched(&self) -> bool {
        self.public_key.is_none()
            && self.symmetric_key.is_none()
            && self.symmetric_key_file.is_none()
    }
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Callers of the API who show a client certificate instead of a password or token. None has to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// PEM file of the CAs that sign them.
    pub ca: PathBuf,
    pub users: Vec<CertificateUser>,
}

/// Whoever shows a certificate with this subject, or this alternative name, is this user.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateUser {
    pub name: String,
    /// The whole subject, in the certificate's order: `C=USA, O=Example, CN=ci`.
    pub subject: Option<String>,
    /// A DNS name, e-mail address, URI or IP address of the certificate.
    pub alternative_name: Option<String>,
    /// Absent: `["bosh.admin"]`.
    pub scopes: Option<Vec<String>>,
}

impl ClientCertificates {
    pub(super) fn check(&self) -> Result<(), String> {
        for user in &self.users {
            let given = user
                .subject
                .as_ref()
                .xor(user.alternative_name.as_ref())
                .is_some_and(|text| !text.trim().is_empty());
            if user.name.is_empty() || !given {
                return Err(format!(
                    "listen.client_certificates.users: '{}' needs a name and either a subject or an alternative_name",
                    user.name
                ));
            }
        }
        Ok(())
    }
}

/// The listener for `/metrics` and `/api_metrics` (director-api.md §19.6): TLS, client certificate required.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub address: IpAddr,
    #[serde(default = "default_metrics_port")]
    pub port: u16,
    pub tls: KeyPair,
    /// PEM file of the CAs that sign the certificates of those who may read.
    pub client_ca: PathBuf,
}

fn default_metrics_port() -> u16 {
    9091
}

/// Reads all certificates of a PEM file; `key` is the setting that names it.
pub fn read_certificates(
    key: &str,
    file: &Path,
) -> anyhow::Result<Vec<rustls_pki_types::CertificateDer<'static>>> {
    use anyhow::Context as _;
    use rustls_pki_types::pem::PemObject as _;
    let list: Vec<_> = rustls_pki_types::CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("{key}: {}", file.display()))?;
    anyhow::ensure!(
        !list.is_empty(),
        "{key}: {} holds no certificate",
        file.display()
    );
    Ok(list)
}
