//! Semi-semantic versions of releases and stemcells, and `latest`.
//!
//! Grammar and order: `docs/spec/releases-and-templates.md` §8; `latest` and `<prefix>.latest`:
//! `docs/spec/manifests-and-planning.md` §2.1. A version keeps the text it was written as: equality and order go by
//! its components (`1.0` equals `1`), so keep the text where the exact spelling matters.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no version, or can't be incremented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is empty.
    #[error("Expected version to be non-empty string")]
    Empty,
    /// The text is outside the grammar.
    #[error("Expected version '{0}' to match version format")]
    Format(String),
    /// The last component of the segment is no integer, so there is no next one.
    #[error("Expected version segment '{0}' to have last component '{1}' to be an integer")]
    NotIncrementable(String, String),
}

/// A version `release[-pre_release][+post_release]`.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    release: Segment,
    pre_release: Option<Segment>,
    post_release: Option<Segment>,
}

impl Version {
    /// Parses the grammar of the spec; the text is kept as given.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        let bad = || Error::Format(text.to_owned());
        // The release segment ends at the first `-` or `+`; a `+` after a pre-release starts the post-release.
        let (rest, post) = match text.split_once('+') {
            Some((rest, post)) => (rest, Some(post)),
            None => (text, None),
        };
        let (release, pre) = match rest.split_once('-') {
            Some((release, pre)) => (release, Some(pre)),
            None => (rest, None),
        };
        let in_release = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let in_others = |c: char| in_release(c) || c == '-';
        if release.is_empty() || !release.chars().all(in_release) {
            return Err(bad());
        }
        for other in [pre, post].into_iter().flatten() {
            if other.is_empty() || !other.chars().all(in_others) {
                return Err(bad());
            }
        }
        Ok(Self {
            text: text.to_owned(),
            release: Segment::parse(release),
            pre_release: pre.map(Segment::parse),
            post_release: post.map(Segment::parse),
        })
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text of the release segment, without pre- and post-release.
    pub fn release(&self) -> String {
        self.release.to_string()
    }

    /// Adds one to the last release component and drops the other segments: the next final version.
    pub fn increment_release(&self) -> Result<Self, Error> {
        Ok(Self::from_segments(self.release.increment()?, None))
    }

    /// Adds one to the last post-release component, or sets `dev.1`: the next development version.
    pub fn increment_post_release(&self) -> Result<Self, Error> {
        let post = match &self.post_release {
            Some(post) => post.increment()?,
            None => Segment::parse("dev.1"),
        };
        let mut next = self.clone();
        next.post_release = Some(post);
        next.text = next.join();
        Ok(next)
    }

    /// The same version with this post-release segment (`dev.<unix seconds>` of `--timestamp-version`).
    pub fn with_post_release(&self, post: &str) -> Result<Self, Error> {
        Self::parse(&format!(
            "{}+{post}",
            Self {
                post_release: None,
                ..self.clone()
            }
            .join()
        ))
    }

    fn from_segments(release: Segment, post_release: Option<Segment>) -> Self {
        let mut version = Self {
            text: String::new(),
            release,
            pre_release: None,
            post_release,
        };
        version.text = version.join();
        version
    }

    fn join(&self) -> String {
        let mut text = self.release.to_string();
        if let Some(pre) = &self.pre_release {
            text.push('-');
            text.push_str(&pre.to_string());
        }
        if let Some(post) = &self.post_release {
            text.push('+');
            text.push_str(&post.to_string());
        }
        text
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // Without a pre-release is greater than with one; without a post-release is smaller than with one.
        let pre = match (&self.pre_release, &other.pre_release) {
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let post = match (&self.post_release, &other.post_release) {
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        self.release.cmp(&other.release).then(pre).then(post)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Must agree with `Eq`, under which trailing zeros don't count.
        for segment in [
            Some(&self.release),
            self.pre_release.as_ref(),
            self.post_release.as_ref(),
        ] {
            segment.map(Segment::significant).hash(state);
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// A dot list of components.
#[derive(Debug, Clone)]
struct Segment(Vec<Component>);

/// Integers sort before texts, as the variants stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Component {
    /// Digits only: the value without leading zeros as (length, digits), which orders numbers of any size.
    Integer(usize, String),
    Text(String),
}

impl Component {
    fn parse(text: &str) -> Self {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let digits = text.trim_start_matches('0');
            let digits = if digits.is_empty() { "0" } else { digits };
            Self::Integer(digits.len(), digits.to_owned())
        } else {
            Self::Text(text.to_owned())
        }
    }

    fn is_zero(&self) -> bool {
        matches!(self, Self::Integer(_, digits) if digits == "0")
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(_, text) | Self::Text(text) => f.write_str(text),
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        Self(text.split('.').map(Component::parse).collect())
    }

    /// The components without trailing integer zeros.
    fn significant(&self) -> &[Component] {
        let end = self
            .0
            .iter()
            .rposition(|c| !c.is_zero())
            .map_or(0, |last| last + 1);
        &self.0[..end]
    }

    fn increment(&self) -> Result<Self, Error> {
        let mut components = self.0.clone();
        let last = components.pop().unwrap_or(Component::Text(String::new()));
        match &last {
            Component::Integer(_, digits) => {
                components.push(Component::parse(&add_one(digits)));
                Ok(Self(components))
            }
            Component::Text(text) => Err(Error::NotIncrementable(self.to_string(), text.clone())),
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let shared = self.0.len().min(other.0.len());
        self.0[..shared].cmp(&other.0[..shared]).then_with(|| {
            let extra = |s: &Self| s.0[shared..].iter().any(|c| !c.is_zero());
            extra(self).cmp(&extra(other))
        })
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, component) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            component.fmt(f)?;
        }
        Ok(())
    }
}

/// The decimal number after `digits`, of any length.
fn add_one(digits: &str) -> String {
    let mut bytes = digits.as_bytes().to_vec();
    for byte in bytes.iter_mut().rev() {
        if *byte == b'9' {
            *byte = b'0';
        } else {
            *byte += 1;
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    format!("1{}", String::from_utf8_lossy(&bytes))
}

/// Declares a version type that stands in documents and tables as its text.
macro_rules! version_types {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Version);

        impl $name {
            /// The parsed version.
            pub fn version(&self) -> &Version {
                &self.0
            }

            /// The version's text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )+};
}

version_types! {
    /// The version of a release. The old development form `<release>.<n>-dev` reads as `<release>+dev.<n>`.
    ReleaseVersion,
    /// The version of a stemcell.
    StemcellVersion,
}

impl ReleaseVersion {
    /// Parses a release's version, rewriting the old development form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let rewritten = text.strip_suffix("-dev").and_then(|rest| {
            let (release, n) = rest.rsplit_once('.')?;
            (!n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
                .then(|| format!("{release}+dev.{n}"))
        });
        Version::parse(rewritten.as_deref().unwrap_or(text)).map(Self)
    }

    /// The old spelling of a development version (`1+dev.3` → `1.3-dev`), under which a row may also stand.
    pub fn old_form(&self) -> Option<String> {
        let (release, n) = self.as_str().split_once("+dev.")?;
        n.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| format!("{release}.{n}-dev"))
    }
}

impl StemcellVersion {
    /// Parses a stemcell's version; `_` orders as `.`, the text stays as written.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Version::parse(text)?;
        let mut version = Version::parse(&text.replace('_', "."))?;
        text.clone_into(&mut version.text);
        Ok(Self(version))
    }
}

/// How a manifest names a version: exactly, or the latest (of those with a prefix).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this text.
    Exact(String),
    /// `latest`.
    Latest,
    /// `<prefix>.latest`, with the prefix.
    LatestOf(String),
}

impl Pattern {
    /// Reads the `version` of a manifest's release or stemcell.
    pub fn parse(text: &str) -> Self {
        if text == "latest" {
            return Self::Latest;
        }
        match text.strip_suffix(".latest") {
            Some(prefix) => Self::LatestOf(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    /// Whether a candidate's text fits: `1.latest` takes `1`, `1.5`, `1-dev` but not `10`.
    pub fn matches(&self, candidate: &str) -> bool {
        match self {
            Self::Exact(text) => text == candidate,
            Self::Latest => true,
            Self::LatestOf(prefix) => candidate
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+'])),
        }
    }

    /// The greatest of the candidates that fit. Candidates which are no versions are passed over; `_` orders as `.`
    /// (stemcells), which changes nothing between release versions that differ elsewhere.
    pub fn resolve<'a>(&self, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        candidates
            .into_iter()
            .filter(|candidate| self.matches(candidate))
            .filter_map(|candidate| Some((StemcellVersion::parse(candidate).ok()?, candidate)))
            .max_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, candidate)| candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_release_then_pre_then_post_release() {
        let ascending = [
            "0+dev.1",
            "0.1",
            "1-alpha.1",
            "1-alpha.a",
            "1-rc.1",
            "1-rc.1+dev.2",
            "1",
            "1+dev.1",
            "1+dev.2",
            "1+dev.10",
            "1.0.1",
            "1.2",
            "1.10",
            "2",
            "10",
            "10.a",
            "a",
        ];
        for pair in ascending.windows(2) {
            let (a, b) = (
                Version::parse(pair[0]).unwrap(),
                Version::parse(pair[1]).unwrap(),
            );
            assert!(a < b, "{a} < {b}");
        }
        assert_eq!(
            Version::parse("1").unwrap(),
            Version::parse("1.0.0").unwrap()
        );
    }

    #[test]
    fn texts_outside_the_grammar_are_refused_with_the_original_words() {
        assert_eq!(
            Version::parse("").unwrap_err().to_string(),
            "Expected version to be non-empty string"
        );
        for bad in ["1 2", "1+", "-1", "1-", "1+a+b", "1/2"] {
            assert_eq!(
                Version::parse(bad).unwrap_err().to_string(),
                format!("Expected version '{bad}' to match version format")
            );
        }
    }

    #[test]
    fn incrementing_makes_the_next_final_and_development_versions() {
        let next = |v: &str| {
            Version::parse(v)
                .unwrap()
                .increment_release()
                .unwrap()
                .to_string()
        };
        let dev = |v: &str| {
            Version::parse(v)
                .unwrap()
                .increment_post_release()
                .unwrap()
                .to_string()
        };
        assert_eq!(next("1.9+dev.3"), "1.10");
        assert_eq!(next("99"), "100");
        assert_eq!(dev("1"), "1+dev.1");
        assert_eq!(dev("0+dev.9"), "0+dev.10");
        assert_eq!(
            Version::parse("1.a")
                .unwrap()
                .increment_release()
                .unwrap_err()
                .to_string(),
            "Expected version segment '1.a' to have last component 'a' to be an integer"
        );
    }

    #[test]
    fn the_old_development_form_reads_as_the_new_one() {
        let version = ReleaseVersion::parse("1.2.30-dev").unwrap();
        assert_eq!(version.as_str(), "1.2+dev.30");
        assert_eq!(version.old_form().as_deref(), Some("1.2.30-dev"));
    }

    #[test]
    fn latest_takes_the_greatest_version_with_the_prefix() {
        let known = ["1", "1.5", "1.10", "10", "2-dev", "garbage version"];
        assert_eq!(Pattern::parse("1.latest").resolve(known), Some("1.10"));
        assert_eq!(Pattern::parse("latest").resolve(known), Some("10"));
        assert_eq!(Pattern::parse("2.latest").resolve(known), Some("2-dev"));
        assert_eq!(Pattern::parse("1.5").resolve(known), Some("1.5"));
        assert_eq!(Pattern::parse("3.latest").resolve(known), None);
    }
}
