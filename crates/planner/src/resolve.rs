//! `latest` and its kin, resolved once per task in the manifest itself (§2.1), so that later starts and
//! recreates use the versions of the last deploy.

use std::collections::BTreeMap;

use domain::ReleaseName;
use domain::version::Pattern;
use manifest::documents::{Problem, Problems};
use serde_yaml::Value as Yaml;

use crate::catalogue::Stemcell;

/// Replaces version patterns in `releases` and `stemcells` by the versions they mean, and fills in the `os` of
/// a stemcell that is given by name. What is malformed is left for the reader of the document to complain about.
///
/// # Errors
/// 30005, 30006 and 50003 for what is not uploaded.
pub fn resolve_versions(
    manifest: &mut Yaml,
    releases: &BTreeMap<ReleaseName, Vec<String>>,
    stemcells: &[Stemcell],
) -> Result<(), Problems> {
    let mut problems = Problems::default();
    for (i, entry) in entries(manifest, "stemcells").enumerate() {
        problems
            .take(resolve_stemcell(entry, stemcells).map_err(|p| p.at(format!("/stemcells/{i}"))));
    }
    for (i, entry) in entries(manifest, "releases").enumerate() {
        problems.take(resolve_release(entry, releases).map_err(|p| p.at(format!("/releases/{i}"))));
    }
    problems.or(())
}

fn entries<'a>(manifest: &'a mut Yaml, key: &str) -> impl Iterator<Item = &'a mut Yaml> {
    manifest
        .get_mut(key)
        .and_then(Yaml::as_sequence_mut)
        .into_iter()
        .flatten()
}

fn text(entry: &Yaml, key: &str) -> Option<String> {
    match entry.get(key)? {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn resolve_release(
    entry: &mut Yaml,
    releases: &BTreeMap<ReleaseName, Vec<String>>,
) -> Result<(), Problem> {
    let (Some(name), Some(version)) = (text(entry, "name"), text(entry, "version")) else {
        return Ok(());
    };
    let pattern = Pattern::parse(&version);
    if matches!(pattern, Pattern::Exact(_)) {
        return Ok(());
    }
    let Some(known) = releases
        .get(name.as_str())
        .filter(|known| !known.is_empty())
    else {
        return Err(missing_release(&name));
    };
    let resolved = pattern
        .resolve(known.iter().map(String::as_str))
        .ok_or_else(|| missing_release_version(&name, &version, known))?;
    entry["version"] = Yaml::String(resolved.to_string());
    Ok(())
}

fn resolve_stemcell(entry: &mut Yaml, stemcells: &[Stemcell]) -> Result<(), Problem> {
    let Some(version) = text(entry, "version") else {
        return Ok(());
    };
    let name = text(entry, "name");
    let (subject, candidates): (String, Vec<&Stemcell>) = match (&name, text(entry, "os")) {
        (Some(name), _) => (
            format!("Stemcell '{name}'"),
            stemcells
                .iter()
                .filter(|s| s.name == name.as_str())
                .collect(),
        ),
        (None, Some(os)) => (
            format!("Stemcell with Operating System '{os}'"),
            stemcells.iter().filter(|s| s.os == os).collect(),
        ),
        (None, None) => return Ok(()),
    };
    let pattern = Pattern::parse(&version);
    let wanted = match &pattern {
        Pattern::Exact(version) => Some(version.as_str()),
        _ => pattern.resolve(candidates.iter().map(|s| s.version.as_str())),
    };
    let Some(wanted) = wanted else {
        let text = match &pattern {
            Pattern::LatestOf(prefix) if !candidates.is_empty() => {
                format!("{subject} exists, but version with prefix '{prefix}' not found.")
            }
            _ => format!("{subject} doesn't exist"),
        };
        return Err(Problem::new(50003, text).hint(UPLOAD_STEMCELL));
    };
    if name.is_some()
        && let Some(found) = candidates.iter().find(|s| s.version == wanted)
    {
        entry["os"] = Yaml::String(found.os.clone());
    }
    entry["version"] = Yaml::String(wanted.to_string());
    Ok(())
}

pub(crate) const UPLOAD_STEMCELL: &str =
    "Upload it with 'upload-stemcell', or name one that 'stemcells' lists";

pub(crate) fn missing_release(name: &str) -> Problem {
    Problem::new(30005, format!("Release '{name}' doesn't exist"))
        .hint("Upload it with 'upload-release'")
}

pub(crate) fn missing_release_version(name: &str, version: &str, known: &[String]) -> Problem {
    let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
    known.sort_by_cached_key(|v| domain::ReleaseVersion::parse(v).ok());
    let newest: Vec<&str> = known.into_iter().rev().take(5).collect();
    Problem::new(
        30006,
        format!("Release version '{name}/{version}' doesn't exist"),
    )
    .hint(format!(
        "Upload it with 'upload-release', or use an uploaded one: {}",
        newest.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stemcell(name: &str, os: &str, version: &str) -> Stemcell {
        Stemcell {
            name: name.into(),
            version: version.into(),
            os: os.into(),
            cid: "cid".into(),
            cpi: "".into(),
            api_version: 3,
        }
    }

    fn resolve(document: &str) -> Result<Yaml, Problems> {
        let mut manifest: Yaml = serde_yaml::from_str(document).unwrap();
        let releases = BTreeMap::from([(
            ReleaseName::new("app"),
            ["1", "7.2", "7.10", "7.10-rc.1", "70"]
                .map(String::from)
                .to_vec(),
        )]);
        let stemcells = [
            stemcell("img", "deb", "1.400"),
            stemcell("img", "deb", "1.500"),
        ];
        resolve_versions(&mut manifest, &releases, &stemcells).map(|()| manifest)
    }

    #[test]
    fn latest_and_prefixes_become_versions_and_the_os_is_filled_in() {
        let manifest = resolve(
            "{releases: [{name: app, version: 7.latest}], stemcells: [{alias: a, name: img, version: latest}]}",
        )
        .unwrap();
        assert_eq!(manifest["releases"][0]["version"], "7.10");
        assert_eq!(manifest["stemcells"][0]["version"], "1.500");
        assert_eq!(manifest["stemcells"][0]["os"], "deb");
    }

    #[test]
    fn what_is_not_uploaded_is_said_in_the_originals_words() {
        for (document, code, text) in [
            (
                "{releases: [{name: x, version: latest}]}",
                30005,
                "Release 'x' doesn't exist",
            ),
            (
                "{releases: [{name: app, version: 9.latest}]}",
                30006,
                "Release version 'app/9.latest' doesn't exist",
            ),
            (
                "{stemcells: [{name: x, version: latest}]}",
                50003,
                "Stemcell 'x' doesn't exist",
            ),
            (
                "{stemcells: [{os: x, version: latest}]}",
                50003,
                "Stemcell with Operating System 'x' doesn't exist",
            ),
            (
                "{stemcells: [{name: img, version: 2.latest}]}",
                50003,
                "Stemcell 'img' exists, but version with prefix '2' not found.",
            ),
            (
                "{stemcells: [{os: deb, version: 2.latest}]}",
                50003,
                "Stemcell with Operating System 'deb' exists, but version with prefix '2' not found.",
            ),
        ] {
            let problems = resolve(document).unwrap_err();
            assert_eq!(
                (problems.code(), problems.to_string().as_str()),
                (code, text)
            );
        }
    }
}
