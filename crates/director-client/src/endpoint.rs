//! The director's address (spec cli §3): scheme and path are ignored, the port defaults to 25555, the
//! connection is always HTTPS, except that a director on loopback may be asked for in plain HTTP.

use crate::Error;
use std::net::IpAddr;
use url::{Host, Url};

/// Port of a director when the URL names none.
const DEFAULT_PORT: u16 = 25555;

/// Where requests go; the host and port of redirects are replaced by this one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `host`, `host:port` or any URL.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::EmptyUrl);
        }
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let url = Url::parse(&full).map_err(|source| Error::ParseUrl {
            url: text.to_owned(),
            source,
        })?;
        let host = url.host().ok_or_else(|| Error::NoHost(text.to_owned()))?;
        // Plain HTTP is for a director on this machine only: credentials never cross a network in clear.
        let plain = url.scheme() == "http" && is_loopback(&host);
        // `url` drops a port that is the scheme's default, but 443 means 443 here.
        let explicit = full
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split(['/', '?', '#']).next())
            .and_then(|authority| authority.rsplit_once(':'))
            .and_then(|(_, port)| port.parse().ok());
        Ok(Endpoint {
            scheme: if plain { "http" } else { "https" },
            host: host.to_string(),
            port: url.port().or(explicit).unwrap_or(DEFAULT_PORT),
        })
    }

    /// The absolute URL of a path with its query.
    pub fn join(&self, path_and_query: &str) -> String {
        format!(
            "{}://{}:{}{path_and_query}",
            self.scheme, self.host, self.port
        )
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        Endpoint::parse(text).unwrap().join("/info")
    }

    #[test]
    fn scheme_and_path_are_ignored_and_the_port_defaults() {
        assert_eq!(url("10.0.0.6"), "https://10.0.0.6:25555/info");
        assert_eq!(url("https://lab/x?y"), "https://lab:25555/info");
        assert_eq!(url("https://lab:443"), "https://lab:443/info");
        assert_eq!(url("http://lab:80"), "https://lab:80/info");
        assert_eq!(url("https://[fd00::1]:8"), "https://[fd00::1]:8/info");
    }

    #[test]
    fn plain_http_only_on_loopback() {
        assert_eq!(url("http://127.0.0.1:25555"), "http://127.0.0.1:25555/info");
        assert_eq!(url("http://10.0.0.6:25555"), "https://10.0.0.6:25555/info");
    }

    #[test]
    fn an_empty_url_is_refused() {
        assert!(matches!(Endpoint::parse(""), Err(Error::EmptyUrl)));
    }
}
