//! `fetch_logs`, `fetch_logs_with_signed_url`, `bundle_logs` (`docs/spec/agent-protocol.md` §3.8).

use std::path::{Path, PathBuf};

use agent_protocol::{BundleLogs, FetchLogsWithSignedUrl, FetchedLogs, LogBundle};
use domain::DigestAlgorithm;
use nix::unistd::User;
use regex::Regex;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempPath};
use walkdir::WalkDir;

use crate::agent::Agent;
use crate::archive;
use crate::blobs::{blocking, digest_of};
use crate::dispatch::Call;
use crate::error::{Context, Error, Result};
use crate::files;

/// Into a blob.
pub async fn fetch_logs(call: Call) -> Result<Value> {
    let log_type: String = call.argument(0, 2)?;
    let filters: Option<Vec<String>> = call.optional(1)?;
    let archive = collect(&call.agent, &log_type, filters.unwrap_or_default()).await?;
    let sha1 = digest_of(&archive, DigestAlgorithm::Sha1).await?;
    let blobs = call.agent.blobs();
    let id = blobs
        .put(&archive)
        .await
        .context("Create file on blobstore")?;
    Ok(json!(FetchedLogs {
        blobstore_id: Some(id),
        sha1: sha1.to_string(),
    }))
}

/// To a URL.
pub async fn fetch_logs_with_signed_url(call: Call) -> Result<Value> {
    let wire: FetchLogsWithSignedUrl = call.argument(0, 1)?;
    let filters = wire.filters.unwrap_or_default();
    let archive = collect(&call.agent, &wire.log_type, filters).await?;
    let sha1 = digest_of(&archive, DigestAlgorithm::Sha1).await?;
    let sha512 = digest_of(&archive, DigestAlgorithm::Sha512).await?;
    call.agent
        .blobs()
        .put_url(&wire.signed_url, &wire.blobstore_headers, &archive)
        .await
        .context("Create file on blobstore")?;
    Ok(json!(FetchedLogs {
        blobstore_id: None,
        sha1: format!("{sha1};{sha512}"),
    }))
}

/// Into a file on the VM, which the caller fetches and removes.
pub async fn bundle_logs(call: Call) -> Result<Value> {
    let wire: BundleLogs = call.argument(0, 1)?;
    let filters = wire.filters.unwrap_or_default();
    let archive = collect(&call.agent, &wire.log_type, filters).await?;
    let sha512 = digest_of(&archive, DigestAlgorithm::Sha512).await?;
    let path = archive.keep().context("Keeping the archive")?;
    if !wire.owning_user.is_empty() {
        let user = User::from_name(&wire.owning_user)
            .context("Looking up owning user")?
            .ok_or_else(|| Error::new(format!("User '{}' does not exist", wire.owning_user)))?;
        nix::unistd::chown(&path, Some(user.uid), Some(user.gid)).context("Changing owner")?;
    }
    Ok(json!(LogBundle {
        logs_tar_path: path.to_string_lossy().into_owned(),
        sha512: sha512.to_string(),
    }))
}

async fn collect(agent: &Agent, log_type: &str, filters: Vec<String>) -> Result<TempPath> {
    let roots = roots(agent, log_type)?;
    files::make_dir(&agent.layout.tmp(), 0o755)?;
    let archive = NamedTempFile::with_prefix_in("logs-", agent.layout.tmp())
        .context("Creating temporary file")?
        .into_temp_path();
    let to = archive.to_path_buf();
    blocking(move || {
        let mut found = Vec::new();
        for root in &roots {
            found.extend(matching(root, &filters)?);
        }
        archive::pack_files(&found, &to)
    })
    .await
    .context("Making logs tarball")?;
    Ok(archive)
}

/// A folder of logs and the folder it becomes in the archive.
struct Root {
    folder: PathBuf,
    prefix: &'static str,
}

fn roots(agent: &Agent, log_type: &str) -> Result<Vec<Root>> {
    log_type
        .split(',')
        .map(|kind| match kind.trim() {
            "job" => Ok(Root {
                folder: agent.layout.sys_log(),
                prefix: "",
            }),
            "agent" => Ok(Root {
                folder: agent.layout.agent_logs(),
                prefix: "",
            }),
            "system" => Ok(Root {
                folder: agent.platform.system_logs(),
                prefix: "var/log/",
            }),
            _ => Err(Error::new("Invalid log type")),
        })
        .collect()
}

/// The files below the root that match: name in the archive and path, sorted.
fn matching(root: &Root, filters: &[String]) -> Result<Vec<(String, PathBuf)>> {
    let globs = filters
        .iter()
        .filter(|filter| !filter.is_empty())
        .map(|filter| glob(filter))
        .collect::<Result<Vec<_>>>()?;
    let mut found = Vec::new();
    let walk = WalkDir::new(&root.folder)
        .follow_links(true)
        .sort_by_file_name();
    for entry in walk.into_iter().flatten() {
        // Opening a pipe or socket would hang or fail.
        if !entry.file_type().is_file() {
            continue;
        }
        let relative = entry
            .path()
            .strip_prefix(&root.folder)
            .unwrap_or(Path::new(""));
        let relative = relative.to_string_lossy();
        if globs.is_empty() || globs.iter().any(|glob| glob.is_match(&relative)) {
            found.push((format!("{}{relative}", root.prefix), entry.into_path()));
        }
    }
    Ok(found)
}

/// A doublestar glob as an expression over relative paths; one that names a folder means everything below it.
fn glob(filter: &str) -> Result<Regex> {
    let mut pattern = String::from("^");
    let mut rest = filter.trim_start_matches("./").trim_end_matches('/');
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**/") {
            pattern.push_str("(?:.*/)?");
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("**") {
            pattern.push_str(".*");
            rest = after;
            continue;
        }
        match c {
            '*' => pattern.push_str("[^/]*"),
            '?' => pattern.push_str("[^/]"),
            '{' => pattern.push_str("(?:"),
            '}' => pattern.push(')'),
            ',' if pattern.contains("(?:") => pattern.push('|'),
            '[' | ']' => pattern.push(c),
            _ => pattern.push_str(&regex::escape(&c.to_string())),
        }
        rest = &rest[c.len_utf8()..];
    }
    pattern.push_str("(?:/.*)?$");
    Regex::new(&pattern).with_context(|| format!("Reading the log filter '{filter}'"))
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn filters_are_doublestar_globs_and_folders_mean_everything_below() {
        let matches = |filter: &str, path: &str| glob(filter).expect("a glob").is_match(path);
        assert!(matches("nginx/*.log", "nginx/access.log"));
        assert!(!matches("nginx/*.log", "nginx/old/access.log"));
        assert!(matches("**/*.log", "access.log"));
        assert!(matches("**/*.log", "a/b/access.log"));
        assert!(matches("nginx", "nginx/old/access.log"));
        assert!(!matches("nginx", "nginx2/access.log"));
        assert!(matches("{web,db}/*", "db/x"));
        assert!(matches("*", "a/b"));
    }
}
