//! Arguments with a shape of their own (spec cli §10). Each is parsed by clap through `FromStr`, with the
//! original's message for a bad one.

use crate::config;
use chrono::{DateTime, NaiveDateTime, Utc};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A bad argument, in the original's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadArgument(String);

impl BadArgument {
    pub(super) fn new(text: impl Into<String>) -> Self {
        BadArgument(text.into())
    }
}

fn bad<T>(text: String) -> Result<T, BadArgument> {
    Err(BadArgument(text))
}

/// `group/index-or-id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSlug {
    pub group: String,
    pub id: String,
}

impl FromStr for InstanceSlug {
    type Err = BadArgument;

    fn from_str(text: &str) -> Result<Self, BadArgument> {
        let what = format!("Expected instance '{text}'");
        match text.split('/').collect::<Vec<_>>()[..] {
            ["", _] => bad(format!("{what} to specify non-empty name")),
            [_, ""] => bad(format!("{what} to specify non-empty index or ID")),
            [group, id] => Ok(InstanceSlug {
                group: group.to_owned(),
                id: id.to_owned(),
            }),
            _ => bad(format!("{what} to be in format 'name/index-or-id'")),
        }
    }
}

impl InstanceSlug {
    pub fn pair(&self) -> (&str, &str) {
        (&self.group, &self.id)
    }
}

/// Nothing for all instances, `group`, or `group/index-or-id`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolOrInstanceSlug {
    pub group: Option<String>,
    pub id: Option<String>,
}

impl fmt::Display for PoolOrInstanceSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.group.as_deref().unwrap_or_default())?;
        match &self.id {
            Some(id) => write!(f, "/{id}"),
            None => Ok(()),
        }
    }
}

impl PoolOrInstanceSlug {
    /// What a command without arguments is about: everything.
    pub fn or_all(mut slugs: Vec<Self>) -> Vec<Self> {
        if slugs.is_empty() {
            slugs.push(Self::default());
        }
        // Named twice is meant once.
        let mut seen = std::collections::BTreeSet::new();
        slugs.retain(|slug| seen.insert(slug.to_string()));
        slugs
    }

    /// Whether it means this instance.
    pub fn means(&self, group: Option<&str>, ids: [Option<&str>; 2], ips: &[String]) -> bool {
        let address = self.id.is_none()
            && self
                .group
                .as_ref()
                .is_some_and(|address| ips.contains(address));
        address
            || (self.group.is_none() || self.group.as_deref() == group)
                && (self.id.is_none() || ids.contains(&self.id.as_deref()))
    }
}

impl FromStr for PoolOrInstanceSlug {
    type Err = BadArgument;

    fn from_str(text: &str) -> Result<Self, BadArgument> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        match text.split('/').collect::<Vec<_>>()[..] {
            [""] | ["", _] => bad(format!(
                "Expected pool or instance '{text}' to specify non-empty name"
            )),
            [group] => Ok(PoolOrInstanceSlug {
                group: Some(group.to_owned()),
                id: None,
            }),
            [_, ""] => bad(format!(
                "Expected instance '{text}' to specify non-empty ID or index"
            )),
            [group, id] => Ok(PoolOrInstanceSlug {
                group: Some(group.to_owned()),
                id: Some(id.to_owned()),
            }),
            _ => bad(format!(
                "Expected pool or instance '{text}' to be in format 'name' or 'name/id-or-index'"
            )),
        }
    }
}

/// Parses `group` or `group/index-or-id`.
pub fn group_or_instance(text: &str) -> Result<PoolOrInstanceSlug, BadArgument> {
    if text.is_empty() {
        return bad(format!(
            "Expected pool or instance '{text}' to specify non-empty name"
        ));
    }
    text.parse()
}

/// Parses whose drain scripts to skip: `*` for all, a group or an instance.
pub fn skip_drain(text: &str) -> Result<String, BadArgument> {
    if !matches!(text, "*" | "") {
        group_or_instance(text)?;
    }
    Ok(text.to_owned())
}

/// `name/version` of a release, stemcell or operating system; the type parameter only changes messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameVersion {
    pub name: String,
    pub version: String,
}

impl fmt::Display for NameVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

fn name_version(kind: &str, text: &str) -> Result<NameVersion, BadArgument> {
    let what = format!("Expected {kind} '{text}'");
    match text.split('/').collect::<Vec<_>>()[..] {
        ["", _] => bad(format!("{what} to specify non-empty name")),
        [_, ""] => bad(format!("{what} to specify non-empty version")),
        [name, version] => Ok(NameVersion {
            name: name.to_owned(),
            version: version.to_owned(),
        }),
        _ => bad(format!("{what} to be in format 'name/version'")),
    }
}

/// Parses `name/version` of a release.
pub fn release(text: &str) -> Result<NameVersion, BadArgument> {
    name_version("release", text)
}

/// Parses `name/version` of a stemcell.
pub fn stemcell(text: &str) -> Result<NameVersion, BadArgument> {
    name_version("stemcell", text)
}

/// Parses `os/version`.
pub fn operating_system(text: &str) -> Result<NameVersion, BadArgument> {
    name_version("OS", text)
}

/// The path of a file to be written, `~` replaced.
pub fn output_file(text: &str) -> Result<PathBuf, BadArgument> {
    // compat: nothing is the current folder.
    let text = if text.is_empty() { "." } else { text };
    let path = config::expand(text)
        .and_then(|path| Ok(config::clean(&std::path::absolute(path)?)))
        .or_else(|error| bad(format!("Checking file path: {}", error.flat())))?;
    if path.is_dir() {
        return bad("Path must not be directory".to_owned());
    }
    Ok(path)
}

/// A release in all versions or in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseOrSeries {
    pub name: String,
    pub version: Option<String>,
}

impl FromStr for ReleaseOrSeries {
    type Err = BadArgument;

    fn from_str(text: &str) -> Result<Self, BadArgument> {
        let what = format!("Expected release or series '{text}'");
        match text.split('/').collect::<Vec<_>>()[..] {
            [""] | ["", _] => bad(format!(
                "Expected release '{text}' to specify non-empty name"
            )),
            [name] => Ok(ReleaseOrSeries {
                name: name.to_owned(),
                version: None,
            }),
            [_, ""] => bad(format!(
                "Expected release '{text}' to specify non-empty version"
            )),
            [name, version] => Ok(ReleaseOrSeries {
                name: name.to_owned(),
                version: Some(version.to_owned()),
            }),
            _ => bad(format!("{what} to be in format 'name' or 'name/version'")),
        }
    }
}

/// Parses an on/off word.
pub fn on_off(text: &str) -> Result<bool, BadArgument> {
    match text {
        "true" | "yes" | "on" | "enable" => Ok(true),
        "false" | "no" | "off" | "disable" => Ok(false),
        _ => bad(format!(
            "Expected boolean variable '{text}' to be either 'true' or 'false'"
        )),
    }
}

/// A point in time, written as RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp(pub String);

impl FromStr for Timestamp {
    type Err = BadArgument;

    fn from_str(text: &str) -> Result<Self, BadArgument> {
        let at = DateTime::parse_from_rfc3339(text)
            .map(|at| at.with_timezone(&Utc))
            .or_else(|_| {
                NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").map(|at| at.and_utc())
            });
        match at {
            Ok(at) => Ok(Timestamp(at.format("%Y-%m-%dT%H:%M:%SZ").to_string())),
            Err(_) => bad(format!(
                "Invalid timestamp '{text}': expected RFC 3339 format (e.g., 2006-01-02T15:04:05Z or 2006-01-02T15:04:05)"
            )),
        }
    }
}

/// An HTTP header `name: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

impl FromStr for Header {
    type Err = BadArgument;

    fn from_str(text: &str) -> Result<Self, BadArgument> {
        let what = format!("Expected header '{text}'");
        match text.split_once(": ") {
            Some(("", _)) => bad(format!("{what} to specify non-empty name")),
            Some((_, "")) => bad(format!("{what} to specify non-empty value")),
            Some((name, value)) => Ok(Header {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            None => bad(format!("{what} to be in format 'name: value'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_say_what_is_wrong_with_them() {
        let text =
            |result: Result<PoolOrInstanceSlug, BadArgument>| result.unwrap_err().to_string();
        assert_eq!(
            text("a/b/c".parse()),
            "Expected pool or instance 'a/b/c' to be in format 'name' or 'name/id-or-index'"
        );
        assert_eq!(
            text("a/".parse()),
            "Expected instance 'a/' to specify non-empty ID or index"
        );
        assert_eq!(
            stemcell("x").unwrap_err().to_string(),
            "Expected stemcell 'x' to be in format 'name/version'"
        );
        assert!("web".parse::<InstanceSlug>().is_err());
    }

    #[test]
    fn timestamps_without_a_zone_are_utc() {
        let text = |text: &str| text.parse::<Timestamp>().unwrap().0;
        assert_eq!(text("2024-01-02T03:04:05"), "2024-01-02T03:04:05Z");
        assert_eq!(text("2024-01-02T03:04:05+01:00"), "2024-01-02T02:04:05Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
