//! Query strings and path segments as the original client writes them: keys sorted, blanks as `+`,
//! everything but letters, digits and `-._~` escaped (recorded requests and proxies match on the text).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b' ');
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    // `/jobs/*` is a literal of the API.
    .remove(b'*');

/// Escapes one path segment, slashes included.
pub fn escape_segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Query parameters under construction.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `key=value`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    /// Adds `key=value` when there is a value.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds `key=true` when `on`.
    #[must_use]
    pub fn with_flag(self, key: &str, on: bool) -> Self {
        if on { self.with(key, "true") } else { self }
    }

    /// `path?query`, or just the path when the query is empty.
    pub fn on(mut self, path: &str) -> String {
        if self.0.is_empty() {
            return path.to_owned();
        }
        self.0.sort_by(|a, b| a.0.cmp(&b.0));
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(key, value)| {
                format!(
                    "{}={}",
                    utf8_percent_encode(key, QUERY)
                        .to_string()
                        .replace(' ', "+"),
                    utf8_percent_encode(value, QUERY)
                        .to_string()
                        .replace(' ', "+")
                )
            })
            .collect();
        format!("{path}?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_sorted_and_escaped_like_the_originals() {
        let text = Query::new()
            .with("state", "restart")
            .with("max_in_flight", "50%")
            .with("skip_drain", "*")
            .with("before_time", "2016-05-08 17:26:32")
            .on("/x");
        assert_eq!(
            text,
            "/x?before_time=2016-05-08+17%3A26%3A32&max_in_flight=50%25&skip_drain=%2A&state=restart"
        );
    }
}
