//! `BOSH_ALL_PROXY` (spec cli §3): a SOCKS5 proxy for requests to the director and for ssh. With `ssh+socks5://` the
//! program makes that proxy itself, by the system's ssh, and it ends with the program.

use crate::config;
use crate::error::{Error, Result, Within};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use url::Url;

/// How long to wait between looks for a tunnel that is being made.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// A proxy that can be used.
pub struct Proxy {
    /// `host:port`.
    address: String,
    /// The ssh that makes it; killed when dropped.
    _tunnel: Option<Child>,
}

impl Proxy {
    /// The one that `BOSH_ALL_PROXY` names, if any.
    pub async fn from_environment() -> Result<Option<Self>> {
        match config::proxy() {
            Some(text) => Self::open(&text).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads a proxy's URL, and makes the tunnel if it asks for one.
    pub async fn open(text: &str) -> Result<Self> {
        let url = parse(text)?;
        if url.scheme() == "socks5" {
            return Ok(Proxy {
                address: address(&url, 1080),
                _tunnel: None,
            });
        }
        let key = url
            .query_pairs()
            .find(|(name, _)| name == "private-key")
            .map(|(_, path)| path.into_owned())
            .ok_or_else(|| Error::message("Required query param 'private-key' not found"))
            .within(|| "Parsing BOSH_ALL_PROXY query params")?;
        // ssh is given the port a moment later; if somebody was faster, ssh says so.
        let port = services::free_port("127.0.0.1").within(|| "Starting a SOCKS5 proxy")?;
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tunnel = tunnel(&url, &key, local)
            .await
            .within(|| format!("Opening an SSH tunnel to '{}'", address(&url, 22)))?;
        Ok(Proxy {
            address: local.to_string(),
            _tunnel: Some(tunnel),
        })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// As a URL.
    pub fn url(&self) -> String {
        format!("socks5://{}", self.address)
    }
}

/// Whether no proxy is to be used for a host.
pub fn is_excepted(host: &str) -> bool {
    exceptions().is_some_and(|list| {
        list.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .any(|entry| excepts(entry, host))
    })
}

/// An entry is an address, a network, a host, `.domain` or `*.domain`.
fn excepts(entry: &str, host: &str) -> bool {
    if let (Some((network, bits)), Ok(address)) = (entry.split_once('/'), host.parse::<Ipv4Addr>())
    {
        let (Ok(network), Ok(bits)) = (network.parse::<Ipv4Addr>(), bits.parse::<u32>()) else {
            return false;
        };
        let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
        return u32::from(network) & mask == u32::from(address) & mask;
    }
    let domain = entry.trim_start_matches('*');
    match domain.strip_prefix('.') {
        Some(domain) => host == domain || host.ends_with(&format!(".{domain}")),
        None => host == entry,
    }
}

/// Hosts that no proxy is for.
pub fn exceptions() -> Option<String> {
    config::optional("NO_PROXY").or_else(|| config::optional("no_proxy"))
}

fn parse(text: &str) -> Result<Url> {
    let wrong = || {
        Error::message(format!(
            "Expected the proxy '{}' to be of the form socks5://HOST:PORT or ssh+socks5://USER@HOST:PORT?private-key=PATH; correct BOSH_ALL_PROXY or --gw-socks5",
            domain::without_credentials(text)
        ))
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "socks5" | "ssh+socks5") || url.host_str().is_none_or(str::is_empty)
    {
        return Err(wrong());
    }
    Ok(url)
}

fn address(url: &Url, port: u16) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port().unwrap_or(port))
}

async fn tunnel(url: &Url, key: &str, local: SocketAddr) -> Result<Child> {
    let mut command = Command::new("ssh");
    command.args(["-N", "-D", &local.to_string(), "-i", key]);
    for option in [
        "BatchMode=yes",
        "ExitOnForwardFailure=yes",
        "IdentitiesOnly=yes",
        "ServerAliveInterval=30",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
    ] {
        command.args(["-o", option]);
    }
    if !url.username().is_empty() {
        command.args(["-l", url.username()]);
    }
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    command.args(["-p", &url.port().unwrap_or(22).to_string(), "--", host]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .within(|| "Running 'ssh'; install the package openssh-client")?;
    loop {
        // It listens only after it is logged in.
        if TcpStream::connect(local).await.is_ok() {
            return Ok(child);
        }
        tokio::select! {
            status = child.wait() => {
                let mut said = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    stderr.read_to_string(&mut said).await?;
                }
                return Err(Error::message(format!(
                    "ssh ended ({}): {}",
                    status?,
                    said.trim_end()
                )));
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_socks5_proxies_are_taken() {
        assert_eq!(address(&parse("socks5://h:99").unwrap(), 1080), "h:99");
        assert!(parse("http://h:99").is_err());
        assert!(parse("h:99").is_err());
    }

    #[test]
    fn exceptions_are_hosts_domains_and_networks() {
        assert!(excepts("10.0.0.0/8", "10.3.4.5"));
        assert!(!excepts("10.0.0.0/8", "11.3.4.5"));
        assert!(excepts("*.lab", "director.lab") && excepts(".lab", "lab"));
        assert!(!excepts("lab", "director.lab") && excepts("10.0.0.1", "10.0.0.1"));
    }
}
