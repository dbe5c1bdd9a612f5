//! Settings of the CPI: section `container` of a config file, overridden by the call's context (`docs/spec/cpi.md` §1.5,
//! §11.2), checked once.

use cpi::Fault;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// As written by people; everything has a default.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    store_dir: PathBuf,
    bridge: String,
    bridge_cidr: String,
    nat: bool,
    isolation: IsolationChoice,
    runtime: Option<String>,
    agent: Map<String, Value>,
}

impl Default for Raw {
    fn default() -> Self {
        Raw {
            store_dir: "/var/vcap/store/container_cpi".into(),
            bridge: "bosh0".into(),
            bridge_cidr: "10.244.0.1/16".into(),
            nat: true,
            isolation: IsolationChoice::Auto,
            runtime: None,
            agent: Map::new(),
        }
    }
}

/// What isolates VMs from the host.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum IsolationChoice {
    /// Namespaces where the kernel allows them, else plain.
    Auto,
    /// OCI containers, or an error.
    Namespaces,
    /// chroot and addresses of 127.0.0.0/8.
    Plain,
}

/// Checked settings. No `Debug`: `agent` may hold credentials.
#[derive(Clone)]
pub struct Config {
    /// Everything this CPI keeps lies below it.
    pub store_dir: PathBuf,
    pub bridge: String,
    /// The bridge's own address: the VMs' gateway.
    pub bridge_address: Ipv4Addr,
    pub bridge_prefix: u8,
    /// Let VMs reach what the host reaches.
    pub nat: bool,
    pub isolation: IsolationChoice,
    /// `runc` or `crun` or a path; the first that is there when not given.
    pub runtime: Option<String>,
    /// Defaults for the agent's settings: `mbus`, `ntp`, `blobstore`.
    pub agent: Map<String, Value>,
}

impl Config {
    /// From a config file (`{"container": {…}}`) and the properties of a call.
    pub fn load(file: Option<&Path>, properties: &Map<String, Value>) -> Result<Config, Fault> {
        let mut section = Map::new();
        if let Some(file) = file {
            let text = fs_err::read(file).map_err(|e| Fault::cpi_error(e.to_string()))?;
            let document: Value = serde_json::from_slice(&text)
                .map_err(|e| Fault::cpi_error(format!("'{}' is not JSON: {e}", file.display())))?;
            if let Value::Object(container) = &document["container"] {
                section.extend(container.clone());
            }
        }
        // Properties may be flat or in the section of the same name.
        if let Some(Value::Object(container)) = properties.get("container") {
            section.extend(container.clone());
        }
        section.extend(properties.clone());
        let raw: Raw = serde_json::from_value(Value::Object(section))
            .map_err(|e| Fault::cpi_error(format!("Properties of the local CPI: {e}")))?;
        Config::check(raw)
    }

    fn check(raw: Raw) -> Result<Config, Fault> {
        let wrong = |what: &str| Fault::cpi_error(format!("Properties of the local CPI: {what}"));
        if !raw.store_dir.is_absolute() {
            return Err(wrong("store_dir must be an absolute path"));
        }
        // 15 is the kernel's limit for the name of an interface.
        if raw.bridge.is_empty() || raw.bridge.len() > 15 || raw.bridge.contains(['/', ' ']) {
            return Err(wrong(
                "bridge must be the name of an interface, at most 15 characters",
            ));
        }
        let (address, prefix) = parse_cidr(&raw.bridge_cidr)
            .filter(|(_, prefix)| (8..=30).contains(prefix))
            .ok_or_else(|| {
                wrong("bridge_cidr must be the bridge's address with its prefix, as 10.244.0.1/16")
            })?;
        Ok(Config {
            store_dir: raw.store_dir,
            bridge: raw.bridge,
            bridge_address: address,
            bridge_prefix: prefix,
            nat: raw.nat,
            isolation: raw.isolation,
            runtime: raw.runtime,
            agent: raw.agent,
        })
    }

    /// Whether an address is on the bridge's network.
    pub fn on_bridge(&self, address: Ipv4Addr) -> bool {
        network_of(address, self.bridge_prefix)
            == network_of(self.bridge_address, self.bridge_prefix)
    }

    /// The bridge's network, as firewalls write it.
    pub fn bridge_network(&self) -> String {
        let network = Ipv4Addr::from(network_of(self.bridge_address, self.bridge_prefix));
        format!("{network}/{}", self.bridge_prefix)
    }
}

fn parse_cidr(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

/// The network part of an address.
pub fn network_of(address: Ipv4Addr, prefix: u8) -> u32 {
    u32::from(address) & mask(prefix)
}

/// The netmask of a prefix.
pub fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}
