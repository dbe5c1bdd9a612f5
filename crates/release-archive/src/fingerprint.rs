//! Fingerprints of jobs, packages and licenses: `docs/spec/releases-and-templates.md` §6.
//!
//! Two folders with the same fingerprint hold the same artifact, so a fingerprint decides whether anything is built,
//! uploaded or compiled at all.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use domain::{Digest, DigestAlgorithm};

use crate::parallel;
use crate::problem::{Problem, Within};

/// Which digest the fingerprint is made with, inside and outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// What tools made until about 2023; still met in `.final_builds`.
    Sha1,
    /// What is made today.
    Sha256,
}

impl Algorithm {
    fn digest(self, content: &[u8]) -> Digest {
        match self {
            Self::Sha1 => Digest::sha1(content),
            Self::Sha256 => Digest::sha256(content),
        }
    }
}

/// A file of an artifact: where it is, and what it is called inside of the artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is now.
    pub path: PathBuf,
    /// Its path inside of the archive, `/` between the parts.
    pub name: String,
    /// Whether its mode counts.
    pub with_mode: bool,
    /// Whether a symbolic link stands for what it points at (jobs) or for itself (packages, licenses).
    pub follow: bool,
}

/// The text that is hashed: for tests, and for people who wonder why two fingerprints differ.
pub fn hashed_text(
    files: &[SourceFile],
    additional: &[String],
    algorithm: Algorithm,
) -> Result<String, Problem> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    let mut text = String::from("v2");
    // Small artifacts, which most are, are not worth a thread.
    let workers = if files.len() < 4 {
        1
    } else {
        parallel::cores()
    };
    let pieces = parallel::each(files, workers, &mut (), |file, _| {
        piece(file, algorithm).within(|| format!("Fingerprinting file '{}'", file.path.display()))
    })
    .map_err(Problem::first)?;
    text.extend(pieces);
    let mut additional: Vec<_> = additional.iter().map(String::as_str).collect();
    additional.sort_unstable();
    text.push_str(&additional.join(","));
    Ok(text)
}

/// The fingerprint: hexadecimal digits, 64 of them for SHA-256 and 40 for SHA-1.
pub fn fingerprint(
    files: &[SourceFile],
    additional: &[String],
    algorithm: Algorithm,
) -> Result<String, Problem> {
    let text = hashed_text(files, additional, algorithm)?;
    Ok(algorithm.digest(text.as_bytes()).hex().to_owned())
}

fn piece(file: &SourceFile, algorithm: Algorithm) -> Result<String, Problem> {
    let link = std::fs::symlink_metadata(&file.path)
        .map_err(|error| Problem::io("lstat", &file.path, &error))?;
    let (digest, mode) = if link.is_symlink() && !file.follow {
        let target = fs_err::read_link(&file.path)?;
        (algorithm.digest(target.as_os_str().as_bytes()), "symlink")
    } else {
        let opened = std::fs::File::open(&file.path)
            .map_err(|error| Problem::io("open", &file.path, &error))?;
        let executable = opened
            .metadata()
            .map_err(|error| Problem::io("stat", &file.path, &error))?
            .mode()
            & 0o111
            != 0;
        let kind = match algorithm {
            Algorithm::Sha1 => DigestAlgorithm::Sha1,
            Algorithm::Sha256 => DigestAlgorithm::Sha256,
        };
        let digest = Digest::of_reader(kind, opened)
            .map_err(|error| Problem::new(error.to_string()))
            .within(|| format!("reading {}", file.path.display()))?;
        (digest, if executable { "100755" } else { "100644" })
    };
    let mode = if file.with_mode { mode } else { "" };
    Ok(format!("{}{digest}{mode}", file.name))
}
