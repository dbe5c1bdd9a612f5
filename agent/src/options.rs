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
}

impl Options {
    /// Parses the arguments after the program's name. Flags take one dash or two, as the original's.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            platform: "ubuntu".into(),
            config: None,
            base: crate::DEFAULT_BASE.into(),
            version: false,
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
