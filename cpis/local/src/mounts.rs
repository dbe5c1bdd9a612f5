//! Mounts of the host that belong to this CPI: made idempotently, taken away completely.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::command::{run, tool};
use crate::error::Error;
use crate::report::say;

/// How long an unmount may be refused because something still runs below it.
const BUSY: Duration = Duration::from_secs(10);

/// Mount points at or below `path`, in the order in which they were mounted.
pub fn below(path: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(unescape))
        .filter(|point| point.starts_with(path))
        .collect()
}

pub fn is_mounted(path: &Path) -> bool {
    below(path).iter().any(|point| point == path)
}

/// The device of a mounted file system, as mount tables write it.
pub fn device(at: &Path) -> Result<String, Error> {
    use std::os::unix::fs::MetadataExt;
    let device = fs_err::metadata(at)?.dev();
    Ok(format!(
        "{}:{}",
        nix::sys::stat::major(device),
        nix::sys::stat::minor(device)
    ))
}

/// Whether a process sees this device mounted anywhere.
pub fn holds(pid: i32, device: &str) -> bool {
    let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    table
        .lines()
        .any(|line| line.split(' ').nth(2) == Some(device))
}

/// The kernel writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        match after
            .get(1..4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) => {
                out.push(byte as char);
                rest = &after[4..];
            }
            None => {
                out.push('\\');
                rest = &after[1..];
            }
        }
    }
    out.push_str(rest);
    out.into()
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(nix::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Mount { act, path, source }
}

/// The root of a VM: the stemcell below, what the VM writes in `upper`. Refused by file systems that can't be upper layers.
pub fn overlay(lower: &Path, upper: &Path, work: &Path, at: &Path) -> Result<(), Error> {
    if is_mounted(at) {
        return Ok(());
    }
    // Commas and colons separate options; the store's paths come from the operator.
    for path in [lower, upper, work] {
        if path.to_string_lossy().contains([',', ':', '\\']) {
            return Err(Error::Host(format!(
                "'{}' can't be part of an overlay: its name has a comma, colon or backslash",
                path.display()
            )));
        }
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    mount(
        Some("overlay"),
        at,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(failed("mount the overlay at", at))
}

/// A folder from which later mounts reach the containers that bind it.
pub fn shared_folder(path: &Path) -> Result<(), Error> {
    if is_mounted(path) {
        return Ok(());
    }
    let none = None::<&str>;
    mount(Some(path), path, none, MsFlags::MS_BIND, none).map_err(failed("bind", path))?;
    // Private first: a peer group of its own, whatever its parent is.
    for flag in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
        mount(none, path, none, flag, none).map_err(failed("share", path))?;
    }
    Ok(())
}

/// A disk image; its loop device goes with the mount.
pub fn image(image: &Path, at: &Path) -> Result<(), Error> {
    if is_mounted(at) {
        return Ok(());
    }
    let mut command = tool("mount", ["-t", "ext4", "-o", "loop,nodev"]);
    command.arg(image).arg(at);
    run(command).map(drop)
}

/// A folder in another place.
pub fn bind(folder: &Path, at: &Path) -> Result<(), Error> {
    if is_mounted(at) {
        return Ok(());
    }
    let none = None::<&str>;
    mount(Some(folder), at, none, MsFlags::MS_BIND, none).map_err(failed("bind", at))
}

/// Unmounts everything at and below `path`. Never lazily: an unmount that is refused is an error, so that what is gone is gone.
pub fn unmount_all(path: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + BUSY;
    loop {
        let points = below(path);
        let Some(last) = points.last() else {
            return Ok(());
        };
        match umount2(last.as_path(), MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(nix::Error::EBUSY) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(nix::Error::EINVAL | nix::Error::ENOENT) => {
                say(format!(
                    "'{}' was unmounted by somebody else",
                    last.display()
                ));
                if below(path).len() == points.len() {
                    return Err(failed("unmount", last)(nix::Error::EINVAL));
                }
            }
            Err(source) => return Err(failed("unmount", last)(source)),
        }
    }
}
