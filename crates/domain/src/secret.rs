//! A value that must not appear in logs, events, outputs or errors.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Holds a secret. `Debug` and `Display` show `<redacted>`; the value is reached only by [`Secret::expose`].
///
/// It serialises as its value: what is stored or sent is the caller's decision, what is printed by accident is not.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps the value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value; each call is a place to check by eye.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Gives the value back.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// The URL with its user and password hidden. A user alone may be a token. Works on texts that are no valid URLs too:
/// errors show them.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}://<redacted>:<redacted>{}", &rest[at..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_not_shown() {
        for (url, shown) in [
            (
                "https://u:p@h/x.tgz",
                "https://<redacted>:<redacted>@h/x.tgz",
            ),
            (
                "https://token@h/x.tgz",
                "https://<redacted>:<redacted>@h/x.tgz",
            ),
            ("http://u:p@q@h", "http://<redacted>:<redacted>@h"),
            (
                "socks5://u:p@h:port?a=b@c",
                "socks5://<redacted>:<redacted>@h:port?a=b@c",
            ),
            ("https://h/x@1.tgz", "https://h/x@1.tgz"),
            ("h:99", "h:99"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }
}
