//! Bundles: jobs and packages unpacked below `data`, and the links that enable them
//! (`docs/spec/agent-protocol.md` §4.3).
//!
//! A bundle is unpacked beside its place and renamed there, so that a directory which exists is whole.

pub mod job;
pub mod package;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use domain::{Digest, MultiDigest};
use fs_err as fs;

use crate::error::{Result, plain};
use crate::files;

/// The directory name of a bundle: what it is made from, hashed.
fn directory_name(identity: &str) -> String {
    Digest::sha1(identity).hex().to_owned()
}

/// `<version>-<canonical digest>`.
fn identity(version: &str, digest: &str) -> Result<String> {
    let digest = MultiDigest::parse(digest).map_err(plain)?;
    Ok(format!("{version}-{digest}"))
}

/// Removes the links in `enabled` and the bundles in `bundles/<name>/` that nobody wants any more: links first, so
/// that no link ever points nowhere.
fn collect_garbage(enabled: &Path, bundles: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for link in entries(enabled)? {
        let keep = fs::read_link(&link).is_ok_and(|target| wanted.contains(&target));
        if !keep {
            files::remove(&link)?;
        }
    }
    for name in entries(bundles)? {
        let mut kept = false;
        for bundle in entries(&name)? {
            if wanted.contains(&bundle) {
                kept = true;
            } else {
                files::remove(&bundle)?;
            }
        }
        if !kept {
            files::remove(&name)?;
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(plain(error)),
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(plain))
            .collect(),
    }
}
