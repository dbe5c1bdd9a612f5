//! The certificates and passwords of an environment: made once, kept in its home.

use pki::{Ca, CertifiedKey, Request, Subject, Usage};
use serde::{Deserialize, Serialize};

use super::Error;
use super::home::{Home, State, write_private};

/// A certificate that ends within this many days is made anew.
const RENEW_DAYS: i64 = 60;

/// Passwords of an environment. Has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Password of the user `admin`.
    pub admin_password: String,
    /// Its hash, as the director's settings want it.
    pub admin_password_hash: String,
    /// Key of signed blob URLs.
    pub blobstore_secret: String,
}

/// Who signs what. Two CAs, since agents shall not be able to speak as the director's API.
const DIRECTOR_CA: &str = "director-ca";
const NATS_CA: &str = "nats-ca";

impl Credentials {
    /// Those of the home; what is missing or about to end is made.
    pub async fn ensure(home: &Home, state: &State) -> Result<Credentials, Error> {
        let director_ca = ensure_ca(home, DIRECTOR_CA, "bosun director CA")?;
        let nats_ca = ensure_ca(home, NATS_CA, "bosun NATS CA")?;
        let names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            state.host_address(),
        ];
        ensure_certificate(home, &director_ca, "director", || Request {
            alternative_names: names.clone(),
            ..Request::new(Subject::common_name("bosun director"), &[Usage::Server])
        })?;
        ensure_certificate(home, &nats_ca, "nats", || {
            let mut alternative_names = vec!["default.nats.bosh-internal".to_owned()];
            alternative_names.extend(names.iter().cloned());
            Request {
                alternative_names,
                ..Request::new(
                    Subject::cloud_foundry("default.nats.bosh-internal"),
                    &[Usage::Server],
                )
            }
        })?;
        ensure_certificate(home, &nats_ca, "nats-director", || {
            Request::new(
                Subject::cloud_foundry("default.director.bosh-internal"),
                &[Usage::Client],
            )
        })?;

        let path = home.path().join("creds.yml");
        if path.exists() {
            let text = fs_err::read_to_string(&path)?;
            return serde_yaml::from_str(&text).map_err(|error| Error::BadFile {
                path,
                detail: error.to_string(),
            });
        }
        let admin_password = pki::random_password(24);
        let credentials = Credentials {
            admin_password_hash: hash_password(&admin_password).await?,
            admin_password,
            blobstore_secret: pki::random_password(40),
        };
        let text = serde_yaml::to_string(&credentials).expect("credentials are strings");
        write_private(&path, &text)?;
        Ok(credentials)
    }
}

/// The certificate that the director's API is checked against, PEM.
pub fn director_ca(home: &Home) -> Result<String, Error> {
    Ok(fs_err::read_to_string(home.cert("director-ca.pem"))?)
}

fn ensure_ca(home: &Home, name: &str, subject: &str) -> Result<Ca, Error> {
    let (certificate, key) = (
        home.cert(&format!("{name}.pem")),
        home.cert(&format!("{name}.key")),
    );
    if certificate.exists() && key.exists() {
        let (certificate, key) = (
            fs_err::read_to_string(certificate)?,
            fs_err::read_to_string(key)?,
        );
        return Ca::load(&certificate, &key).map_err(Error::Certificates);
    }
    let (ca, made) = Ca::generate(Subject::common_name(subject)).map_err(Error::Certificates)?;
    write_pair(home, name, &made)?;
    Ok(ca)
}

fn ensure_certificate(
    home: &Home,
    ca: &Ca,
    name: &str,
    request: impl Fn() -> Request,
) -> Result<(), Error> {
    let (certificate, key) = (
        home.cert(&format!("{name}.pem")),
        home.cert(&format!("{name}.key")),
    );
    if certificate.exists() && key.exists() {
        let text = fs_err::read_to_string(certificate)?;
        if pki::days_left(&text).map_err(Error::Certificates)? > RENEW_DAYS {
            return Ok(());
        }
    }
    write_pair(
        home,
        name,
        &ca.issue(&request()).map_err(Error::Certificates)?,
    )
}

fn write_pair(home: &Home, name: &str, pair: &CertifiedKey) -> Result<(), Error> {
    // The key first: a certificate without its key would be taken for complete.
    write_private(&home.cert(&format!("{name}.key")), &pair.private_key)?;
    write_private(&home.cert(&format!("{name}.pem")), &pair.certificate)
}

/// The director's own hash of a password, so that there is one place that knows how.
async fn hash_password(password: &str) -> Result<String, Error> {
    use tokio::io::AsyncWriteExt;
    let mut child = tokio::process::Command::new(super::home::program("bosun-director")?)
        .arg("hash-password")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    stdin.write_all(password.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        return Err(std::io::Error::other(format!(
            "bosun-director hash-password ended with {}",
            output.status
        ))
        .into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
