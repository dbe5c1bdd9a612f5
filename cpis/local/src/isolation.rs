//! What this host allows: namespaces and mounts, or only a chroot. Tried, not guessed.

use std::path::Path;

use crate::command::{exists, run, tool};
use crate::config::{Config, IsolationChoice};
use crate::error::Error;
use crate::mounts;
use crate::report::say;
use crate::runtime::{Runtime, cgroups_writable};
use crate::stemcell::remove_tree;
use crate::store::{Isolation, Store};

/// What was found.
pub struct Probe {
    pub isolation: Isolation,
    /// Why not better; empty when there is nothing better.
    pub reason: String,
    /// The OCI runtime that is there.
    pub runtime: Option<Runtime>,
}

/// Looks at the host; takes some ten milliseconds.
pub fn probe(config: &Config) -> Probe {
    let runtime = Runtime::find(config);
    let plain = |reason: String, runtime| Probe {
        isolation: Isolation::Plain,
        reason,
        runtime,
    };
    if config.isolation == IsolationChoice::Plain {
        return plain("isolation is set to plain".into(), runtime);
    }
    match missing(runtime.as_ref()) {
        Some(reason) => plain(reason, runtime),
        None => Probe {
            isolation: Isolation::Namespaces,
            reason: String::new(),
            runtime,
        },
    }
}

/// What keeps containers from working here.
fn missing(runtime: Option<&Runtime>) -> Option<String> {
    for needed in ["ip", "nsenter", "unshare"] {
        if !exists(needed) {
            return Some(format!("'{needed}' is not installed"));
        }
    }
    let Some(runtime) = runtime else {
        return Some("neither runc nor crun is installed".into());
    };
    let namespaces = [
        "--mount",
        "--net",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child",
    ];
    let mut attempt = tool("unshare", namespaces);
    // Proves mounts, interfaces of our own and a process table of our own, all gone with this command.
    attempt.args([
        "--mount-proc",
        // Not private: a copy of the host's mounts must not keep what is unmounted there meanwhile.
        "--propagation",
        "slave",
        "sh",
        "-c",
        "mount -t tmpfs tmpfs /mnt && ip link add vbprobe0 type veth peer name vbprobe1 && ip link add vbprobe2 type bridge",
    ]);
    if let Err(error) = run(attempt) {
        return Some(format!(
            "the kernel refuses namespaces, mounts or interfaces: {error}"
        ));
    }
    // The host's own bridge needs the right over the host's network, too.
    if runtime.needs_cgroups() && !cgroups_writable() {
        return Some("control groups can't be made, and runc needs them; crun would not".into());
    }
    None
}

/// How new VMs are isolated; an error when what is configured can't be had.
pub fn choose(config: &Config, store: &Store) -> Result<(Isolation, Option<Runtime>), Error> {
    let probe = probe(config);
    match (config.isolation, probe.isolation) {
        (IsolationChoice::Namespaces, Isolation::Plain) => Err(Error::Host(format!(
            "VMs can't be isolated by namespaces here: {}; set isolation to auto or plain to do without",
            probe.reason
        ))),
        (IsolationChoice::Auto, Isolation::Plain) => {
            say_once(store, &probe.reason)?;
            Ok((Isolation::Plain, None))
        }
        (_, isolation) => Ok((isolation, probe.runtime)),
    }
}

/// People should know, but not with every VM.
fn say_once(store: &Store, reason: &str) -> Result<(), Error> {
    let told = store.dir().join("plain-isolation");
    if !told.exists() {
        say(format!(
            "VMs are not isolated from this host and from each other, only chrooted, with addresses of 127.0.0.0/8: {reason}"
        ));
        fs_err::write(told, reason)?;
    }
    Ok(())
}

/// Whether disk images can be mounted here: loop devices and ext4 are there.
pub fn images_mountable(store: &Store) -> bool {
    let told = store.dir().join("loop-devices");
    if let Ok(answer) = fs_err::read_to_string(&told) {
        return answer == "yes";
    }
    let works =
        exists("mkfs.ext4") && Path::new("/dev/loop-control").exists() && try_image(store).is_ok();
    let _ = fs_err::write(told, if works { "yes" } else { "no" });
    works
}

/// Where an image is tried.
const PROBE: &str = "probe";

fn try_image(store: &Store) -> Result<(), Error> {
    let _lock = store.lock(PROBE)?;
    clear_probe(store)?;
    let probe = store.dir().join(PROBE);
    let (image, at) = (probe.join("image"), probe.join("at"));
    fs_err::create_dir_all(&at)?;
    let tried = crate::disk::make_image(&image, 8).and_then(|()| mounts::image(&image, &at));
    clear_probe(store)?;
    tried
}

/// Removes what a crash may have left of it.
pub fn clear_probe(store: &Store) -> Result<(), Error> {
    let probe = store.dir().join(PROBE);
    mounts::unmount_all(&probe)?;
    remove_tree(&probe)
}
