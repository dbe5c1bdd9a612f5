//! The command line (`docs/spec/agent-protocol.md` §5.1).

use std::path::PathBuf;

use crate::error::{Error, Result};

/// What the agent was started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// `-P`: `dummy` leaves the machine alone; any other name means the container this runs in.
    pub platform: String,
    /// `-C`: agent.json.
    pub config: Option<PathBuf>,
    /// `-b`: the base directory.
    pub base: PathBuf,
    /// `-v`: print the version and end.
    pub version: bool,
    /// What kind of VM this is.
    pub machine: Machine,
}

/// What the VM's init tells through the environment (`docs/spec/cpi.md` §11.2); all absent elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The VM's cid: our parent is the VM's own init.
    pub vm: Option<String>,
    /// Only the root directory separates this VM from its host: nothing of the kernel may be changed.
    pub plain: bool,
    /// The VM's address where it has no network of its own.
    pub address: Option<String>,
}

impl Machine {
    /// Reads the environment; called once, by `main`.
    pub fn from_environment() -> Self {
        Self {
            vm: std::env::var("BOSUN_VM").ok(),
            plain: std::env::var("BOSUN_ISOLATION").is_ok_and(|isolation| isolation == "plain"),
            address: std::env::var("BOSUN_ADDRESS").ok(),
        }
    }
}

impl Options {
    /// Parses the arguments after the program's name. Flags take one dash or two, as the original's.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            platform: "ubuntu".into(),
            config: None,
            base: crate::DEFAULT_BASE.into(),
            version: false,
            machine: Machine::default(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let flag = argument.trim_start_matches('-');
            let (flag, joined) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (flag, None),
            };
            let mut value = || {
                let missing = || Error::new(format!("flag needs an argument: -{flag}"));
                joined
                    .clone()
                    .or_else(|| rest.next().cloned())
                    .ok_or_else(missing)
            };
            match flag {
                "P" => options.platform = value()?,
                "C" => options.config = Some(value()?.into()),
                "b" => options.base = value()?.into(),
                "v" => options.version = true,
                // The supervisor is built in; `monit` is what stemcells ask for.
                "M" => drop(value()?),
                "r" | "no-alerts" => {}
                _ => {
                    return Err(Error::new(format!(
                        "flag provided but not defined: {argument}; known: -P platform, -C agent.json, -b base directory, -M supervisor, -v"
                    )));
                }
            }
        }
        Ok(options)
    }
}
