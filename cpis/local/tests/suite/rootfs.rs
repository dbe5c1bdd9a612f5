//! A stemcell of a few megabytes, made of this machine's own files: a shell, some tools, their libraries, and an agent that
//! starts a job and waits to be killed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOLS: [&str; 8] = [
    "sh", "cat", "sleep", "mkdir", "mount", "umount", "rm", "sync",
];

/// Writes a line per start, and starts a job once that outlives it.
const AGENT: &str = r#"#!/bin/sh
echo start >>/var/vcap/data/agent-starts
[ -f /var/vcap/data/job-started ] || { echo yes >/var/vcap/data/job-started; sleep 8640001 & }
exec sleep 8640002
"#;

/// Writes the stemcell's `image`.
pub fn write_image(path: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in [
        "bin",
        "dev",
        "etc",
        "proc",
        "run",
        "sys",
        "tmp",
        "var/vcap/bosh/bin",
        "var/vcap/bosh/etc",
        "warden-cpi-dev",
    ] {
        fs_err::create_dir_all(root.join(name)).unwrap();
    }
    let mut wanted = BTreeSet::new();
    for tool in TOOLS {
        let found = find(tool);
        fs_err::copy(&found, root.join("bin").join(tool)).unwrap();
        wanted.extend(libraries(&found));
    }
    // The init of every VM is the CPI itself.
    wanted.extend(libraries(Path::new(env!("CARGO_BIN_EXE_bosun-cpi-local"))));
    for library in wanted {
        let place = root.join(library.strip_prefix("/").unwrap());
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::copy(library, place).unwrap();
    }
    let agent = root.join("var/vcap/bosh/bin/bosh-agent");
    fs_err::write(&agent, AGENT).unwrap();
    make_executable(&agent);
    fs_err::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    let status = Command::new("tar")
        .arg("-C")
        .arg(root)
        .arg("-czf")
        .arg(path)
        .arg(".")
        .status()
        .unwrap();
    assert!(status.success());
}

pub fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn find(tool: &str) -> PathBuf {
    let folders = ["/bin", "/usr/bin", "/sbin", "/usr/sbin"];
    let found = folders
        .iter()
        .map(|folder| Path::new(folder).join(tool))
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{tool} is needed"))
}

/// What the dynamic linker would load, by the names under which it looks.
fn libraries(binary: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(binary).output().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}
