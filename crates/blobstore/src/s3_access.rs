//! Who asks S3, and where: credentials from options, environment or profile; the region by the host's name.

use std::path::PathBuf;

use domain::Secret;
use serde_json::{Map, Value};

use crate::http::text;
use crate::store::Error;

/// A key pair, with the token of temporary ones.
pub(crate) struct Access {
    pub key: String,
    pub secret: Secret<String>,
    pub token: Option<Secret<String>>,
}

pub(crate) fn bad(reason: impl Into<String>) -> Error {
    Error::Options {
        provider: "s3",
        reason: reason.into(),
    }
}

/// The credentials that `credentials_source` names: `static`, `env_or_profile` or `none` (only reading, of what anyone
/// may read). Without it, a given pair is static and no pair is `none`.
pub(crate) fn of_release(options: &Map<String, Value>) -> Result<Option<Access>, Error> {
    let (key, secret) = (
        text(options, "access_key_id"),
        text(options, "secret_access_key"),
    );
    let given = key.is_some() || secret.is_some();
    let source = text(options, "credentials_source");
    match source.as_deref() {
        Some(source @ ("env_or_profile" | "none")) if given => Err(bad(format!(
            "can't use access_key_id and secret_access_key with {source} credentials_source"
        ))),
        Some("env_or_profile") => from_environment().map(Some),
        Some("none") => Ok(None),
        None if !given => Ok(None),
        None | Some("static") => match (key, secret) {
            (Some(key), Some(secret)) => Ok(Some(Access {
                key,
                secret: Secret::new(secret),
                token: None,
            })),
            _ => Err(bad("access_key_id and secret_access_key must be provided")),
        },
        Some(other) => Err(bad(format!("invalid credentials_source: {other}"))),
    }
}

fn from_environment() -> Result<Access, Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let (Some(key), Some(secret)) = (
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
    ) {
        return Ok(Access {
            key,
            secret: Secret::new(secret),
            token: variable("AWS_SESSION_TOKEN").map(Secret::new),
        });
    }
    let path = variable("AWS_SHARED_CREDENTIALS_FILE")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".aws/credentials")));
    let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let file = path
        .and_then(|path| fs_err::read_to_string(path).ok())
        .unwrap_or_default();
    from_profile(&file, &profile).ok_or_else(|| {
        bad(format!(
            "credentials_source 'env_or_profile' finds no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the \
             environment, and no profile '{profile}' with a key pair in ~/.aws/credentials"
        ))
    })
}

/// A profile of an AWS credentials file.
fn from_profile(file: &str, profile: &str) -> Option<Access> {
    let lines = file
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != format!("[{profile}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    let pairs: Vec<_> = lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let get = |wanted: &str| {
        pairs
            .iter()
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| (*value).to_owned())
    };
    Some(Access {
        key: get("aws_access_key_id")?,
        secret: Secret::new(get("aws_secret_access_key")?),
        token: get("aws_session_token").map(Secret::new),
    })
}

/// The region in the name of one of AWS's hosts: `s3.eu-west-1.amazonaws.com`, also with `-` after `s3`.
pub(crate) fn region_of(host: &str) -> Option<String> {
    let host = host.split(':').next()?;
    let name = host
        .strip_suffix(".amazonaws.com")
        .or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let region = name
        .strip_prefix("s3.")
        .or_else(|| name.strip_prefix("s3-"))?;
    (region != "external-1" && !region.contains('.')).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_stand_in_the_names_of_hosts_and_keys_in_profiles() {
        assert_eq!(
            region_of("s3.eu-west-1.amazonaws.com").unwrap(),
            "eu-west-1"
        );
        assert_eq!(
            region_of("s3-eu-west-1.amazonaws.com:443").unwrap(),
            "eu-west-1"
        );
        assert_eq!(
            region_of("s3.cn-north-1.amazonaws.com.cn").unwrap(),
            "cn-north-1"
        );
        assert_eq!(region_of("s3-external-1.amazonaws.com"), None);
        assert_eq!(region_of("minio.example.com"), None);

        let file = "[default]\naws_access_key_id = a\naws_secret_access_key=b\n[ci]\naws_access_key_id=c\n\
                    aws_secret_access_key = d\naws_session_token = t\n";
        let access = from_profile(file, "ci").unwrap();
        assert_eq!(access.key, "c");
        assert_eq!(access.token.unwrap().expose(), "t");
        assert!(from_profile(file, "default").unwrap().token.is_none());
        assert!(from_profile(file, "other").is_none());
    }
}
