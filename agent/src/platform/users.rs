//! Users of the machine, made with the system's own tools (`docs/spec/agent-protocol.md` §3.9).

use std::path::Path;
use std::process::Stdio;

use fs_err as fs;
use nix::unistd::User;
use regex::Regex;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Context, Error, Result, plain};
use crate::files;

/// Runs a program to its end; its output becomes part of the error.
pub async fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("Starting command '{program}'"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin
            .write_all(input.as_bytes())
            .await
            .with_context(|| format!("Writing to '{program}'"))?;
    }
    let output = child
        .wait_with_output()
        .await
        .with_context(|| format!("Waiting for '{program}'"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(format!(
        "Running command '{program}': {}; Stdout: {}, Stderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout).trim(),
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// Makes a user with a home below `homes`, in the groups that ssh and sudo ask for, and lets the key in. A user that
/// exists gets the key.
pub async fn create(user: &str, homes: &Path, public_key: &str) -> Result<()> {
    files::make_dir(homes, 0o755).context("Making SSH base directory")?;
    if User::from_name(user).ok().flatten().is_none() {
        let homes = homes.to_string_lossy();
        run(
            "useradd",
            &["-m", "-b", &homes, "-s", "/bin/bash", user],
            None,
        )
        .await
        .context("Creating user")?;
    }
    run(
        "usermod",
        &["-G", "vcap,admin,bosh_sudoers,bosh_sshers", user],
        None,
    )
    .await
    .context("Adding user to groups")?;
    authorize(user, &[public_key.to_owned()], Some(0o700)).context("Setting up SSH public key")
}

/// Replaces the keys that may log in as `user`.
pub fn authorize(user: &str, keys: &[String], home_mode: Option<u32>) -> Result<()> {
    let entry = User::from_name(user)
        .context("Looking up user")?
        .ok_or_else(|| Error::new(format!("User '{user}' does not exist")))?;
    let own = |path: &Path| {
        nix::unistd::chown(path, Some(entry.uid), Some(entry.gid))
            .with_context(|| format!("Giving {} to {user}", path.display()))
    };
    if let Some(mode) = home_mode {
        files::set_mode(&entry.dir, mode)?;
    }
    let ssh = entry.dir.join(".ssh");
    files::make_dir(&ssh, 0o700)?;
    own(&ssh)?;
    let file = ssh.join("authorized_keys");
    let mut content = keys.join("\n");
    if !content.ends_with('\n') {
        content.push('\n');
    }
    files::replace(&file, content.as_bytes(), 0o600)?;
    own(&file)
}

/// Removes the users made for `bosh ssh` that match.
pub async fn delete(expression: &str) -> Result<()> {
    let expression = Regex::new(expression).context("Compiling regexp")?;
    let passwd = fs::read_to_string("/etc/passwd").map_err(plain)?;
    for line in passwd.lines() {
        let name = line.split(':').next().unwrap_or_default();
        if name.starts_with("bosh_") && expression.is_match(name) {
            run("userdel", &["-rf", name], None)
                .await
                .with_context(|| format!("Deleting user {name}"))?;
        }
    }
    Ok(())
}

/// Sets password hashes; the hashes go by standard input, not by the argument list that everybody can read.
pub async fn set_password_hashes(hashes: &[(&str, &str)]) -> Result<()> {
    let lines: String = hashes
        .iter()
        .map(|(user, hash)| format!("{user}:{hash}\n"))
        .collect();
    run("chpasswd", &["-e"], Some(&lines)).await
}
