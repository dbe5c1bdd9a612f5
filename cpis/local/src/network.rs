//! The bridge, the VMs' interfaces on it, and NAT (`docs/spec/cpi.md` §11.2 item 4).
//!
//! Everything carries a name made of ours (the bridge's, `vb…`), so it can be found and removed after a crash.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::command::{exists, run, run_with, tool};
use crate::config::Config;
use crate::error::Error;
use crate::report::say;
use crate::store::{self, Store, VmNetwork};

/// What was changed on the host, so that exactly that can be undone.
#[derive(Serialize, Deserialize, Default)]
struct BridgeRecord {
    /// False: the bridge was there before, and stays.
    made: bool,
    /// Made by `prepare`: stays without VMs, until `stop` or `cleanup`.
    kept: bool,
    /// Our rules may be in the firewall.
    nat: bool,
    /// The host did not forward before.
    forwarding_enabled: bool,
    /// Made to the end.
    complete: bool,
}

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// The bridge of one configuration.
pub struct Bridge<'a> {
    config: &'a Config,
    store: &'a Store,
}

impl<'a> Bridge<'a> {
    pub fn new(config: &'a Config, store: &'a Store) -> Self {
        Bridge { config, store }
    }

    fn record_path(&self) -> PathBuf {
        self.store.dir().join("bridge.json")
    }

    fn is_there(&self) -> bool {
        is_interface(&self.config.bridge)
    }

    /// Makes bridge and NAT where they are missing. `keep`: they stay when the last VM goes.
    pub fn ensure(&self, keep: bool) -> Result<(), Error> {
        let _lock = self.store.lock("bridge")?;
        let found: Option<BridgeRecord> = store::read(&self.record_path())?;
        let mut record = found.unwrap_or_default();
        let there = self.is_there();
        if record.complete && there && (record.kept || !keep) {
            return Ok(());
        }
        // Written before each change: a crash in between leaves something that `remove` finds. A reboot of the host takes
        // all of it away, so what is missing is made again.
        record.kept |= keep;
        record.made |= !there;
        record.nat |= self.config.nat;
        record.forwarding_enabled |= record.made && !is_forwarding();
        record.complete = false;
        store::write(&self.record_path(), &record)?;
        if !there {
            self.make()?;
        }
        if self.config.nat {
            self.add_nat();
        }
        if record.forwarding_enabled
            && let Err(error) = fs_err::write(FORWARDING, "1")
        {
            say(format!("VMs can't reach beyond this host: {error}"));
        }
        record.complete = true;
        store::write(&self.record_path(), &record)
    }

    fn make(&self) -> Result<(), Error> {
        let bridge = &self.config.bridge;
        // An address of its own: otherwise it changes with the interfaces that come and go.
        let mac = mac_of(self.config.bridge_address);
        let batch = format!(
            "link add name {bridge} address {mac} type bridge forward_delay 0\n\
             addr add {}/{} dev {bridge}\n\
             link set {bridge} up\n",
            self.config.bridge_address, self.config.bridge_prefix
        );
        run_with(tool("ip", ["-batch", "-"]), &batch).map(drop)
    }

    /// Adds a gateway that a manifest names and that is not the bridge's own address.
    pub fn ensure_gateway(&self, gateway: Ipv4Addr) -> Result<(), Error> {
        if gateway == self.config.bridge_address {
            return Ok(());
        }
        let address = format!("{gateway}/32");
        run(tool(
            "ip",
            ["addr", "replace", &address, "dev", &self.config.bridge],
        ))
        .map(drop)
    }

    /// Undoes what `ensure` did, unless it is to be kept and `force` is not given.
    pub fn remove(&self, force: bool) -> Result<(), Error> {
        let _lock = self.store.lock("bridge")?;
        let Some(record) = store::read::<BridgeRecord>(&self.record_path())? else {
            return Ok(());
        };
        if record.kept && !force {
            return Ok(());
        }
        if record.nat {
            self.remove_nat();
        }
        if record.forwarding_enabled {
            let _ = fs_err::write(FORWARDING, "0");
        }
        if record.made && self.is_there() {
            run(tool("ip", ["link", "del", &self.config.bridge]))?;
        }
        fs_err::remove_file(self.record_path())?;
        Ok(())
    }

    fn iptables_rules(&self) -> [Vec<String>; 3] {
        let bridge = self.config.bridge.as_str();
        let network = self.config.bridge_network();
        let comment = format!("bosun-{bridge}");
        let tail = ["-m", "comment", "--comment", &comment, "-j"];
        let rule = |head: &[&str], target: &str| {
            head.iter()
                .chain(&tail)
                .chain([&target])
                .map(|part| part.to_string())
                .collect()
        };
        [
            rule(
                &["nat", "POSTROUTING", "-s", &network, "!", "-o", bridge],
                "MASQUERADE",
            ),
            rule(&["filter", "FORWARD", "-i", bridge], "ACCEPT"),
            rule(&["filter", "FORWARD", "-o", bridge], "ACCEPT"),
        ]
    }

    fn iptables(&self, action: &str, rule: &[String]) -> Result<String, Error> {
        let mut command = tool("iptables", ["-w", "-t", &rule[0], action]);
        command.args(&rule[1..]);
        run(command)
    }

    /// NAT is a convenience: without a firewall tool VMs reach the host and each other only.
    fn add_nat(&self) {
        if exists("iptables") {
            let added = self.iptables_rules().iter().try_for_each(|rule| {
                if self.iptables("-C", rule).is_ok() {
                    return Ok(());
                }
                self.iptables("-I", rule).map(drop)
            });
            match added {
                Ok(()) => return,
                Err(error) => say(format!("no NAT by iptables: {error}")),
            }
        }
        if exists("nft") {
            let table = self.nft_table().join(" ");
            let rules = format!(
                "add table {table}\n\
                 add chain {table} postrouting {{ type nat hook postrouting priority srcnat; }}\n\
                 flush chain {table} postrouting\n\
                 add rule {table} postrouting ip saddr {} oifname != \"{}\" masquerade\n",
                self.config.bridge_network(),
                self.config.bridge
            );
            match run_with(tool("nft", ["-f", "-"]), &rules) {
                Ok(_) => return,
                Err(error) => say(format!("no NAT by nft: {error}")),
            }
        }
        say("VMs can't reach beyond this host: neither iptables nor nft could set up NAT");
    }

    /// By either tool: which one it was is not known for sure after a crash.
    fn remove_nat(&self) {
        if exists("iptables") {
            for rule in self.iptables_rules() {
                while self.iptables("-D", &rule).is_ok() {}
            }
        }
        if exists("nft") {
            let [family, table] = self.nft_table();
            let _ = run(tool("nft", ["delete", "table", &family, &table]));
        }
    }

    fn nft_table(&self) -> [String; 2] {
        let name: String = self
            .config
            .bridge
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        ["ip".into(), format!("bosun_{name}")]
    }

    /// Gives a container, by its init's pid, its interfaces.
    pub fn connect(&self, networks: &[VmNetwork], pid: i32) -> Result<(), Error> {
        let mut host = String::new();
        let mut guest = String::from("link set lo up\n");
        for network in networks {
            let VmNetwork {
                host_interface,
                guest_interface,
                mac,
                address,
                ..
            } = network;
            disconnect(network);
            let mtu = network
                .mtu
                .map_or(String::new(), |mtu| format!(" mtu {mtu}"));
            host += &format!(
                "link add {host_interface}{mtu} type veth peer name {guest_interface} address {mac}{mtu} netns {pid}\n\
                 link set {host_interface} master {} up\n",
                self.config.bridge
            );
            // On-link as far as the bridge goes: networks of the manifest share one wire here.
            let prefix = network.prefix.min(self.config.bridge_prefix);
            guest += &format!(
                "addr add {address}/{prefix} brd + dev {guest_interface}\nlink set {guest_interface} up\n"
            );
            if let Some(gateway) = network.gateway {
                self.ensure_gateway(gateway)?;
                guest += &format!("route add default via {gateway} dev {guest_interface}\n");
            }
        }
        run_with(tool("ip", ["-batch", "-"]), &host)?;
        let namespace = format!("--net=/proc/{pid}/ns/net");
        run_with(
            tool("nsenter", [&namespace, "--", "ip", "-batch", "-"]),
            &guest,
        )
        .map(drop)
    }
}

/// Removes an interface pair, if it is there: it goes with its container, but not at once.
pub fn disconnect(network: &VmNetwork) {
    if is_interface(&network.host_interface) {
        // Lost races are fine: gone is gone.
        let _ = run(tool("ip", ["link", "del", &network.host_interface]));
    }
}

/// Asked of the kernel: `/sys` may show another network namespace than ours.
fn is_interface(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

fn is_forwarding() -> bool {
    let forwarding = fs_err::read_to_string(FORWARDING).unwrap_or_default();
    forwarding.trim() != "0"
}

/// A MAC made of the address, not of the VM as elsewhere: a new VM with an old one's address is reached at once, without
/// waiting for the neighbours' ARP tables.
pub fn mac_of(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:b0:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The host's end of a pair: `vb` and 11 hex digits, within the kernel's 15 characters.
pub fn host_interface(vm: &str, network: &str) -> String {
    let digest = domain::Digest::sha256(format!("{vm}\n{network}"));
    format!("vb{}", &digest.hex()[..11])
}
