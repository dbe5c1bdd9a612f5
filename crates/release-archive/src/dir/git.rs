//! What git says of a release folder (`docs/spec/releases-and-templates.md` §3.1).

use std::path::Path;
use std::process::{Command, Output};

use crate::problem::{Problem, Within};

/// The state of the work tree.
pub(super) struct WorkTree {
    /// Short hash, `non-git` or `empty`.
    pub commit_hash: String,
    /// The lines of `git status --porcelain=1`; empty when clean.
    pub changes: String,
}

pub(super) fn work_tree(release: &Path) -> Result<WorkTree, Problem> {
    let outside = WorkTree {
        commit_hash: "non-git".to_owned(),
        changes: String::new(),
    };
    match run(release, &["rev-parse", "--is-inside-work-tree"]) {
        Ok(output) if output.status.success() => {}
        _ => return Ok(outside),
    }
    let head = run(release, &["rev-parse", "--short", "HEAD"])?;
    let commit_hash = if head.status.success() {
        String::from_utf8_lossy(&head.stdout).trim().to_owned()
    } else {
        "empty".to_owned()
    };
    let status = run(release, &["status", "--porcelain=1"])?;
    if !status.status.success() {
        let reason = String::from_utf8_lossy(&status.stderr).trim().to_owned();
        return Err(Problem::new(reason).within("Checking status"));
    }
    Ok(WorkTree {
        commit_hash,
        changes: String::from_utf8_lossy(&status.stdout)
            .trim_end()
            .to_owned(),
    })
}

fn run(release: &Path, arguments: &[&str]) -> Result<Output, Problem> {
    Command::new("git")
        .arg("-C")
        .arg(release)
        .args(arguments)
        .output()
        .within(|| format!("Running git {}", arguments.join(" ")))
}
