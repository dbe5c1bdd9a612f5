//! `bosun-cpi-local`: VMs as containers on this machine (`docs/spec/cpi.md` §11.2).
//!
//! Without a command it serves one CPI call on stdin. `bosun up` and `bosun down` use the other commands, which work on the whole
//! store; `init` is what runs as the first process of every VM.

mod command;
mod config;
mod cpi;
mod disk;
mod error;
mod guest;
mod init;
mod interfaces;
mod isolation;
mod mounts;
mod network;
mod plain;
mod report;
mod rootfs;
mod runtime;
mod stemcell;
mod store;
mod sys;
mod vm;

use anyhow::Context as _;
use serde_json::json;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use config::Config;
use network::Bridge;
use store::{Isolation, Store};
use vm::Vms;

const USAGE: &str = "\
usage: bosun-cpi-local [CONFIG]             serve one CPI call on stdin
       bosun-cpi-local probe [CONFIG]       print what this machine allows, as JSON
       bosun-cpi-local prepare [CONFIG]     make the bridge; it stays without VMs too
       bosun-cpi-local start [CONFIG]       start all VMs, after `stop` or a reboot of the machine
       bosun-cpi-local stop [CONFIG]        stop all VMs and remove the bridge; data stays
       bosun-cpi-local cleanup [CONFIG]     remove all VMs, disks, stemcells and the bridge

CONFIG is a JSON file {\"container\": {\"store_dir\", \"bridge\", \"bridge_cidr\", \"nat\", \"isolation\", \"runtime\", \"agent\"}}.";

fn main() -> ExitCode {
    // What users inside of VMs must pass through may not depend on the caller's umask; what is private gets its mode.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let command = arguments.first().and_then(|argument| argument.to_str());
    let file = arguments.get(1).map(PathBuf::from);
    let done = match command {
        Some("probe") => probe(file.as_deref()),
        Some("prepare") => prepare(file.as_deref()),
        Some("start") => start(file.as_deref()),
        Some("stop") => stop(file.as_deref()),
        Some("cleanup") => cleanup(file.as_deref()),
        Some("init") => run_init(&arguments[1..]),
        Some("-h" | "--help" | "help") => {
            println!("{USAGE}");
            Ok(())
        }
        Some(option) if option.starts_with('-') => {
            Err(anyhow::anyhow!("unknown option {option}\n{USAGE}"))
        }
        _ => {
            let file = arguments.first().map(PathBuf::from);
            return ::cpi::server::run(|context| {
                if let Some(id) = &context.request_id {
                    report::for_request(id);
                }
                cpi::LocalCpi::new(file.as_deref(), context)
            });
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bosun-cpi-local: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    Ok(Config::load(file, &Default::default())?)
}

fn probe(file: Option<&Path>) -> anyhow::Result<()> {
    let config = load(file)?;
    let probe = isolation::probe(&config);
    let address = match probe.isolation {
        Isolation::Namespaces => config.bridge_address.to_string(),
        Isolation::Plain => "127.0.0.1".to_string(),
    };
    let found = json!({
        "isolation": probe.isolation,
        "reason": if probe.reason.is_empty() { None } else { Some(&probe.reason) },
        "runtime": probe.runtime.as_ref().map(|runtime| runtime.name()),
        "bridge_address": address,
    });
    println!("{found}");
    Ok(())
}

fn prepare(file: Option<&Path>) -> anyhow::Result<()> {
    let config = load(file)?;
    let store = Store::open(&config.store_dir)?;
    if isolation::choose(&config, &store)?.0 == Isolation::Namespaces {
        Bridge::new(&config, &store)
            .ensure(true)
            .context("the bridge could not be made")?;
    }
    Ok(())
}

fn start(file: Option<&Path>) -> anyhow::Result<()> {
    prepare(file)?;
    let config = load(file)?;
    let store = Store::open(&config.store_dir)?;
    Ok(Vms::new(&config, &store).start_all()?)
}

fn stop(file: Option<&Path>) -> anyhow::Result<()> {
    let config = load(file)?;
    if !Store::new(&config.store_dir).exists() {
        return Ok(());
    }
    let store = Store::open(&config.store_dir)?;
    Vms::new(&config, &store).stop_all()?;
    Ok(Bridge::new(&config, &store).remove(true)?)
}

fn cleanup(file: Option<&Path>) -> anyhow::Result<()> {
    let config = load(file)?;
    if !Store::new(&config.store_dir).exists() {
        return Ok(());
    }
    let store = Store::open(&config.store_dir)?;
    Vms::new(&config, &store).delete_all()?;
    Bridge::new(&config, &store).remove(true)?;
    isolation::clear_probe(&store)?;
    // Only what this CPI made: the folder may be somebody's.
    for name in [
        "stemcells",
        "vms",
        "disks",
        "snapshots",
        "persist",
        "runtime",
        "bin",
        "locks",
    ] {
        stemcell::remove_tree(&store.dir().join(name))?;
    }
    for name in ["plain-isolation", "loop-devices"] {
        let _ = fs_err::remove_file(store.dir().join(name));
    }
    let _ = fs_err::remove_dir(store.dir());
    Ok(())
}

fn run_init(arguments: &[OsString]) -> anyhow::Result<()> {
    let root = match arguments {
        [] => None,
        [option, root] if option == "--root" => Some(PathBuf::from(root)),
        _ => anyhow::bail!("init takes --root DIR or nothing"),
    };
    Ok(init::run(root)?)
}
