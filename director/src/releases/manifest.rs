//! Checking an uploaded release's manifest before anything is written (releases-and-templates.md §12.2).

use release_archive::ReleaseManifest;
use release_archive::manifest::PackageRef;

use crate::error::{Error, code};

/// Names and versions: letters, digits, `-`, `_`, `+`, `.`.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

/// Reads the manifest, with its version normalised.
pub(super) fn parse(text: &str) -> Result<ReleaseManifest, Error> {
    let mut manifest = ReleaseManifest::parse_for_director(text).map_err(|problem| {
        Error::new(
            code::RELEASE_MANIFEST_NOT_FOUND,
            "Release manifest can't be read",
        )
        .hint("release.MF at the tarball's root must be a YAML map.")
        .caused_by(problem)
    })?;
    let invalid = |what: &str, value: &str| {
        let text = format!("Invalid {what} in release manifest: {value:?}");
        Error::new(code::RELEASE_INVALID_ARCHIVE, text)
    };
    if !is_name(&manifest.name) {
        return Err(invalid("release name", &manifest.name));
    }
    let version = domain::ReleaseVersion::parse(&manifest.version).map_err(|error| {
        let text = format!("Release version invalid: {}", manifest.version);
        Error::new(code::RELEASE_VERSION_INVALID, text).caused_by(error)
    })?;
    manifest.version = version.as_str().to_owned();
    let packages = manifest.packages.iter();
    let compiled = manifest
        .compiled_packages
        .iter()
        .flatten()
        .map(|one| &one.package);
    for (i, package) in packages.chain(compiled).enumerate() {
        let number = i + 1;
        if !is_name(&package.name) {
            return Err(invalid(&format!("package {number} name"), &package.name));
        }
        if !is_name(&package.version) {
            return Err(invalid(
                &format!("package {number} version"),
                &package.version,
            ));
        }
    }
    for (i, job) in manifest.jobs.iter().enumerate() {
        let number = i + 1;
        if !is_name(&job.name) {
            return Err(invalid(&format!("job {number} name"), &job.name));
        }
        if !is_name(&job.version) {
            return Err(invalid(&format!("job {number} version"), &job.version));
        }
    }
    Ok(manifest)
}

/// Refuses dependencies on unknown packages and cycles.
pub(super) fn check_dependencies(manifest: &ReleaseManifest) -> Result<(), Error> {
    check_graph(&manifest.packages)?;
    let compiled: Vec<PackageRef> = manifest
        .compiled_packages
        .iter()
        .flatten()
        .map(|one| one.package.clone())
        .collect();
    check_graph(&compiled)
}

fn check_graph(packages: &[PackageRef]) -> Result<(), Error> {
    let find = |name: &str| packages.iter().find(|package| package.name == name);
    for package in packages {
        for dependency in &package.dependencies {
            if find(dependency).is_none() {
                return Err(
                    Error::unclassified(format!("Invalid edge: {dependency}")).hint(format!(
                        "Package '{}' depends on '{dependency}', which is not in the release.",
                        package.name
                    )),
                );
            }
        }
    }
    let mut done: Vec<&str> = Vec::new();
    for package in packages {
        let mut path: Vec<&str> = Vec::new();
        visit(packages, &package.name, &mut path, &mut done)?;
    }
    Ok(())
}

fn visit<'a>(
    packages: &'a [PackageRef],
    name: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut Vec<&'a str>,
) -> Result<(), Error> {
    if done.contains(&name) {
        return Ok(());
    }
    if let Some(start) = path.iter().position(|seen| *seen == name) {
        let mut cycle = path[start..].to_vec();
        cycle.push(name);
        return Err(Error::unclassified(format!("Cycle: {}", cycle.join("=>"))));
    }
    path.push(name);
    let package = packages.iter().find(|package| package.name == name);
    for dependency in package.iter().flat_map(|package| &package.dependencies) {
        visit(packages, dependency, path, done)?;
    }
    path.pop();
    done.push(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(yaml: &str) -> String {
        parse(yaml)
            .and_then(|manifest| check_dependencies(&manifest))
            .unwrap_err()
            .message
    }

    #[test]
    fn bad_manifests_are_refused_with_the_original_texts() {
        assert_eq!(
            error("name: a/b\nversion: 1\n"),
            "Invalid release name in release manifest: \"a/b\""
        );
        assert_eq!(
            error("name: a\nversion: 1/2\n"),
            "Release version invalid: 1/2"
        );
        let package = |dependencies: &str| {
            format!(
                "name: a\nversion: 1\npackages:\n- {{name: x, version: v, dependencies: [{dependencies}]}}\n"
            )
        };
        assert_eq!(error(&package("ghost")), "Invalid edge: ghost");
        let cycle = package("y") + "- {name: y, version: v, dependencies: [x]}\n";
        assert_eq!(error(&cycle), "Cycle: x=>y=>x");
        let manifest = parse("name: a\nversion: 1.2-dev\n").unwrap();
        assert_eq!(manifest.version, "1+dev.2");
    }
}
