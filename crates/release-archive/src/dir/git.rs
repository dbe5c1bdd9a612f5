//! What git says of a release folder (`docs/spec/releases-and-templates.md` §3.1), and a new repository for one.

use std::path::Path;
use std::process::{Command, Output};

use crate::problem::{Problem, Within};

/// The lines of `git status --porcelain=1`: `false` when there are none or no repository. Some are an error unless forced.
pub(super) fn must_not_be_dirty(release: &Path, force: bool) -> Result<bool, Problem> {
    let status = run(release, &["status", "--porcelain=1"])?;
    if !status.status.success() {
        return if is_outside(release) {
            Ok(false)
        } else {
            Err(failure(&["status", "--porcelain=1"], &status).within("Checking status"))
        };
    }
    let changes = String::from_utf8_lossy(&status.stdout);
    match changes.trim() {
        "" => Ok(false),
        _ if force => Ok(true),
        changes => Err(Problem::new(format!(
            "Git repository has local modifications:\n\n{changes}"
        ))),
    }
}

/// The short hash of the last commit, `non-git` or `empty`.
pub(super) fn last_commit(release: &Path) -> Result<String, Problem> {
    let arguments = ["rev-parse", "--short", "HEAD"];
    let head = run(release, &arguments)?;
    if head.status.success() {
        return Ok(String::from_utf8_lossy(&head.stdout).trim().to_owned());
    }
    if is_outside(release) {
        return Ok("non-git".to_owned());
    }
    if String::from_utf8_lossy(&head.stderr).contains("Needed a single revision") {
        return Ok("empty".to_owned());
    }
    Err(failure(&arguments, &head).within("Checking last commit SHA"))
}

/// Makes a repository.
pub(super) fn init(release: &Path) -> Result<(), Problem> {
    let doing = || "Initing git repo".to_owned();
    let output = Command::new("git")
        .arg("init")
        .arg(release)
        .output()
        .within(|| "Running command: 'git init'; is git installed?".to_owned())
        .within(doing)?;
    if output.status.success() {
        Ok(())
    } else {
        let release = release.display().to_string();
        Err(failure(&["init", &release], &output).within(doing()))
    }
}

fn is_outside(release: &Path) -> bool {
    if release.join(".git").exists() {
        return false;
    }
    !run(release, &["rev-parse", "--git-dir"]).is_ok_and(|output| output.status.success())
}

fn failure(arguments: &[&str], output: &Output) -> Problem {
    let cause = match output.status.code() {
        Some(code) => format!("exit status {code}"),
        None => "terminated by a signal".to_owned(),
    };
    Problem::new(cause).within(format!(
        "Running command: 'git {}', stdout: '{}', stderr: '{}'",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    ))
}

fn run(release: &Path, arguments: &[&str]) -> Result<Output, Problem> {
    Command::new("git")
        .args(arguments)
        .current_dir(release)
        .output()
        .within(|| format!("Running command: 'git {}'", arguments.join(" ")))
}
