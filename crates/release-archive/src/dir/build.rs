//! Making an artifact's archive: stage, check, prepare, pack (`docs/spec/releases-and-templates.md` §7).

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::source::Artifact;
use crate::fingerprint::{self, Algorithm, SourceFile};
use crate::problem::{Problem, Within};
use crate::progress::Kind;
use crate::tarball;

/// Packs an artifact into a new temporary file; that and its digest string.
pub(super) fn archive(
    artifact: &Artifact,
    release: &Path,
) -> Result<(tempfile::NamedTempFile, String), Problem> {
    let staging = tempfile::Builder::new()
        .prefix("bosh-resource-archive")
        .tempdir()
        .within(|| "Creating staging directory".to_owned())?;
    // The folder itself is an entry of the archive.
    let open = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(staging.path(), open)?;
    let staged = stage(artifact, staging.path())?;
    let additional = match artifact.kind {
        Kind::Package | Kind::CompiledPackage => artifact.packages.as_slice(),
        Kind::Job | Kind::License => &[],
    };
    let fingerprint = fingerprint::fingerprint(&staged, additional, Algorithm::Sha256)?;
    if fingerprint != artifact.fingerprint {
        return Err(Problem::new(format!(
            "Expected source ('{}') and staging ('{fingerprint}') fingerprints to match",
            artifact.fingerprint
        )));
    }
    if let Some(script) = &artifact.pre_packaging {
        prepare(script, staging.path(), release).within(|| "Running prep scripts".to_owned())?;
        fs_err::remove_file(staging.path().join("pre_packaging"))?;
    }
    let packed = tempfile::NamedTempFile::new().within(|| "Creating archive".to_owned())?;
    tarball::pack(staging.path(), !artifact.no_compression, packed.as_file())
        .within(|| "Compressing staging directory".to_owned())?;
    let digest = super::blobs::digest_of(packed.path())?;
    Ok((packed, digest))
}

fn stage(artifact: &Artifact, staging: &Path) -> Result<Vec<SourceFile>, Problem> {
    let mut staged = Vec::new();
    for file in &artifact.files {
        let target = staging.join(&file.name);
        folders(file, staging)?;
        if file.path.is_symlink() && !file.follow {
            symlink(fs_err::read_link(&file.path)?, &target)
                .within(|| format!("Linking '{}'", target.display()))?;
        } else {
            fs_err::copy(&file.path, &target)?;
            let executable = fs_err::metadata(&file.path)?.mode() & 0o100 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            fs_err::set_permissions(&target, std::fs::Permissions::from_mode(mode))?;
        }
        staged.push(SourceFile {
            path: target,
            ..file.clone()
        });
    }
    Ok(staged)
}

/// Makes the folders above a staged file, with the modes of the source's folders.
fn folders(file: &SourceFile, staging: &Path) -> Result<(), Problem> {
    let parts: Vec<_> = Path::new(&file.name)
        .parent()
        .into_iter()
        .flat_map(Path::components)
        .collect();
    let mut source: Vec<_> = file.path.ancestors().skip(1).take(parts.len()).collect();
    source.reverse();
    let mut target = staging.to_owned();
    for (part, source) in parts.iter().zip(source) {
        target.push(part);
        if target.is_dir() {
            continue;
        }
        fs_err::create_dir(&target)?;
        // The owner must be able to put files in.
        let mode = fs_err::metadata(source)?.mode() & 0o7777 | 0o700;
        fs_err::set_permissions(&target, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn prepare(script: &Path, staging: &Path, release: &Path) -> Result<(), Problem> {
    // It runs in another folder, and the release folder may be given relative to this one.
    let (script, release) = (std::path::absolute(script)?, std::path::absolute(release)?);
    let output = Command::new("bash")
        .arg("-x")
        .arg(&script)
        .current_dir(staging)
        .env("BUILD_DIR", staging)
        .env("RELEASE_DIR", &release)
        .output()
        .within(|| format!("Running command: 'bash -x {}'", script.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let cause = match output.status.code() {
        Some(code) => format!("exit status {code}"),
        None => "terminated by a signal".to_owned(),
    };
    Err(Problem::new(cause).within(format!(
        "Running command: 'bash -x {}', stdout: '{}', stderr: '{}'",
        script.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )))
}
