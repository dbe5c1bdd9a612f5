//! What a VM is told: the agent's settings (`docs/spec/cpi.md` §6.2) and the usual files of `/etc`.

use cpi::{CreateVm, Fault};
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;

use crate::config::{Config, mask};
use crate::error::Error;
use crate::rootfs::Root;
use crate::store::{Isolation, VmRecord};

/// Where the stemcell's agent looks for its settings (`agent.json`, source `File`).
const SETTINGS: &str = "/var/vcap/bosh/warden-cpi-agent-env.json";

/// The settings document. Holds credentials: it goes into the guest's file and nowhere else.
pub fn settings(config: &Config, request: &CreateVm, record: &VmRecord) -> Value {
    let mut networks = Map::new();
    for (name, requested) in &request.networks {
        let mut network = requested.as_object().cloned().unwrap_or_default();
        network.entry("type").or_insert_with(|| "manual".into());
        if let Some(made) = record.networks.iter().find(|made| made.name == *name) {
            network.insert("ip".into(), made.address.to_string().into());
            network
                .entry("netmask")
                .or_insert_with(|| Ipv4Addr::from(mask(made.prefix)).to_string().into());
            if record.isolation == Isolation::Namespaces {
                network.insert("mac".into(), made.mac.clone().into());
            }
        }
        network.insert("use_dhcp".into(), false.into());
        network.insert("preconfigured".into(), true.into());
        networks.insert(name.clone(), Value::Object(network));
    }
    let mut settings = json!({
        "agent_id": request.agent_id,
        "vm": {"name": record.cid, "id": record.cid},
        "networks": networks,
        "disks": {"system": "", "ephemeral": "", "persistent": {}},
        "env": request.env,
        "mbus": "",
        "ntp": [],
        "blobstore": {"provider": "local", "options": {}},
    });
    for key in ["mbus", "ntp", "blobstore"] {
        if let Some(value) = config.agent.get(key) {
            settings[key] = value.clone();
        }
    }
    settings
}

/// Writes all of it into the root.
pub fn write(
    root: &Root,
    record: &VmRecord,
    settings: &Value,
    dns: &[String],
) -> Result<(), Error> {
    root.folder("/var/vcap/bosh")?;
    root.folder("/var/vcap/data")?;
    root.folder("/warden-cpi-dev")?;
    let text = serde_json::to_vec(settings).map_err(|e| Error::Host(e.to_string()))?;
    root.write(SETTINGS, &text, 0o640)?;
    root.write("/etc/resolv.conf", resolv_conf(dns).as_bytes(), 0o644)?;
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    if let Some(network) = record.networks.first() {
        hosts += &format!("{} {}\n", network.address, record.agent_id);
    }
    if record.isolation == Isolation::Plain
        && let Ok(host) = nix::unistd::gethostname()
    {
        // The name of the host is the VM's, too.
        hosts += &format!("127.0.0.1 {}\n", host.to_string_lossy());
    }
    root.write("/etc/hosts", hosts.as_bytes(), 0o644)?;
    root.write(
        "/etc/hostname",
        format!("{}\n", record.agent_id).as_bytes(),
        0o644,
    )
}

/// The manifest's servers; the host's where it names none. A resolver on the host's loopback is of no use in a
/// container.
fn resolv_conf(dns: &[String]) -> String {
    if !dns.is_empty() {
        return dns
            .iter()
            .map(|server| format!("nameserver {server}\n"))
            .collect();
    }
    let host = fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
    host.lines()
        .filter(|line| !line.trim_start().starts_with("nameserver 127."))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The servers of the network that is the default for DNS.
pub fn dns_servers(networks: &Map<String, Value>) -> Vec<String> {
    let is_default = |network: &&Value| {
        network["default"]
            .as_array()
            .is_some_and(|list| list.iter().any(|what| what == "dns"))
    };
    let network = networks
        .values()
        .find(is_default)
        .or_else(|| networks.values().next());
    let servers = network.and_then(|network| network["dns"].as_array());
    servers
        .into_iter()
        .flatten()
        .filter_map(|s| s.as_str().map(str::to_string))
        .collect()
}

/// `env.bosh.tags`, the first metadata of a VM.
pub fn tags(env: &Value) -> Map<String, Value> {
    env["bosh"]["tags"].as_object().cloned().unwrap_or_default()
}

/// A stemcell whose agent needs a registry can't work here (`docs/spec/cpi.md` §6.1).
pub fn check_stemcell_version(version: Option<u32>) -> Result<(), Fault> {
    match version {
        None | Some(0 | 1) => Err(Fault::cloud_error(
            "stemcell API version 1 needs a registry, which is not supported; use a stemcell with api_version 2 or 3",
        )),
        Some(_) => Ok(()),
    }
}
