//! Which packages are needed, compiled or not, and how a compiled one is identified (§6).

use std::collections::BTreeMap;

use domain::{PackageName, ReleaseName};
use manifest::documents::{OsVersion, Problem, Problems};
use serde_json::{Value as Json, json};

use crate::catalogue::{CompiledPackage, PackageGraph, PackageSpec, Release};
use crate::input::PlanningInput;
use crate::place::{BoundRelease, Draft};
use crate::placement::{CompiledRef, PackageNeed};
use crate::spec::StemcellRef;

/// The packages of all groups, once per release and stemcell, dependencies before dependents.
pub(crate) struct Needs<'a> {
    pub list: Vec<PackageNeed>,
    seen: BTreeMap<(&'a ReleaseName, &'a PackageName, String), usize>,
    compiled: BTreeMap<(&'a PackageName, &'a str, &'a str), Vec<&'a CompiledPackage>>,
    /// Dependency keys are the same for every stemcell.
    keys: BTreeMap<(&'a ReleaseName, &'a PackageName), Json>,
}

impl<'a> Needs<'a> {
    pub fn new(input: &'a PlanningInput) -> Self {
        let mut compiled: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for package in &input.catalogue.compiled {
            compiled
                .entry((
                    &package.name,
                    package.fingerprint.as_str(),
                    package.stemcell_os.as_str(),
                ))
                .or_default()
                .push(package);
        }
        Needs {
            list: Vec::new(),
            seen: BTreeMap::new(),
            compiled,
            keys: BTreeMap::new(),
        }
    }

    /// Adds what the jobs of a group need; returns the group's runtime packages by name.
    pub fn add_group(
        &mut self,
        draft: &Draft<'a>,
    ) -> Result<BTreeMap<PackageName, usize>, Problem> {
        let mut runtime = BTreeMap::new();
        for job in &draft.jobs {
            let stemcell = &draft.stemcell.reference;
            runtime.extend(self.add_job(job.release, &job.spec.packages, stemcell)?);
        }
        Ok(runtime)
    }

    /// Adds the packages of one job with what they need; their places by name.
    pub fn add_job(
        &mut self,
        release: BoundRelease<'a>,
        packages: &[PackageName],
        stemcell: &StemcellRef,
    ) -> Result<BTreeMap<PackageName, usize>, Problem> {
        let mut runtime = BTreeMap::new();
        for name in packages {
            let at = self.add(release, name, stemcell, &mut Vec::new())?;
            runtime.insert(name.clone(), at);
        }
        Ok(runtime)
    }

    fn add(
        &mut self,
        bound: BoundRelease<'a>,
        name: &PackageName,
        stemcell: &StemcellRef,
        above: &mut Vec<PackageName>,
    ) -> Result<usize, Problem> {
        let release = bound.release;
        let Some((name, package)) = release.packages.get_key_value(name) else {
            return Err(Problem::new(
                100,
                format!(
                    "Package '{}' of release '{}/{}' depends on '{name}', which the release does not have",
                    above.last().unwrap_or(name),
                    release.name,
                    release.version
                ),
            ));
        };
        let key = (
            &release.name,
            name,
            format!("{}/{}", stemcell.os, stemcell.version),
        );
        if let Some(at) = self.seen.get(&key) {
            return Ok(*at);
        }
        if above.contains(name) {
            return Err(Problem::new(
                100,
                format!(
                    "Packages of release '{}/{}' depend on each other in a circle: {} -> {name}",
                    release.name,
                    release.version,
                    above
                        .iter()
                        .map(PackageName::as_str)
                        .collect::<Vec<_>>()
                        .join(" -> ")
                ),
            ));
        }
        above.push(name.clone());
        let mut dependencies = Vec::with_capacity(package.dependencies.len());
        for dependency in &package.dependencies {
            dependencies.push(self.add(bound, dependency, stemcell, above)?);
        }
        above.pop();
        dependencies.sort_by(|a, b| self.list[*a].name.cmp(&self.list[*b].name));
        let dependency_key = self.dependency_key(release, name).to_string();
        let found = self.find(
            package,
            name,
            stemcell,
            &dependency_key,
            bound.exported_from,
        );
        self.list.push(PackageNeed {
            name: name.clone(),
            fingerprint: package.fingerprint.clone(),
            release: release.name.clone(),
            release_version: release.version.clone(),
            stemcell: stemcell.clone(),
            dependencies,
            dependency_key,
            source: package.source.clone(),
            compiled: found.map(|c| CompiledRef {
                build: c.build,
                blob_id: c.blob_id.clone(),
                sha1: c.sha1.clone(),
            }),
        });
        self.seen.insert(key, self.list.len() - 1);
        Ok(self.list.len() - 1)
    }

    /// A JSON list over the direct dependencies by name: `[name, version]`, or with their own below.
    fn dependency_key(&mut self, release: &'a Release, name: &'a PackageName) -> Json {
        let id = (&release.name, name);
        if let Some(key) = self.keys.get(&id) {
            return key.clone();
        }
        let mut names: Vec<&PackageName> = release.packages[name].dependencies.iter().collect();
        names.sort();
        let mut entries = Vec::with_capacity(names.len());
        for dependency in names {
            let Some((dependency, package)) = release.packages.get_key_value(dependency) else {
                continue;
            };
            let below = self.dependency_key(release, dependency);
            entries.push(match below.as_array() {
                Some(items) if !items.is_empty() => json!([dependency, package.fingerprint, below]),
                _ => json!([dependency, package.fingerprint]),
            });
        }
        let key = Json::Array(entries);
        self.keys.insert(id, key.clone());
        key
    }

    fn find(
        &self,
        package: &PackageSpec,
        name: &PackageName,
        stemcell: &StemcellRef,
        dependency_key: &str,
        exported_from: &[OsVersion],
    ) -> Option<&'a CompiledPackage> {
        let candidates = |os: &str| {
            self.compiled
                .get(&(name, package.fingerprint.as_str(), os))
                .into_iter()
                .flatten()
                .copied()
                .filter(|c| c.dependency_key == dependency_key)
                .collect::<Vec<_>>()
        };
        let newest = |mut list: Vec<&'a CompiledPackage>| {
            list.sort_by_key(|c| c.build);
            list.pop()
        };
        if !exported_from.is_empty() {
            return exported_from.iter().find_map(|from| {
                let mut list = candidates(&from.os);
                list.retain(|c| c.stemcell_version == from.version);
                newest(list)
            });
        }
        let all = candidates(&stemcell.os);
        let exact: Vec<_> = all
            .iter()
            .copied()
            .filter(|c| c.stemcell_version == stemcell.version)
            .collect();
        if let Some(found) = newest(exact) {
            return Some(found);
        }
        if package.source.is_some() {
            return None;
        }
        // Only what can't be compiled here may come from another stemcell of the same line.
        let component = |version: &str, at: usize| -> u64 {
            version
                .split('.')
                .nth(at)
                .and_then(|c| c.parse().ok())
                .unwrap_or(0)
        };
        let first = component(&stemcell.version, 0);
        all.into_iter()
            .filter(|c| component(&c.stemcell_version, 0) == first)
            .max_by_key(|c| component(&c.stemcell_version, 1))
    }
}

/// The dependency key of one package (§6), for what is compiled or uploaded outside of a deploy.
pub fn dependency_key(packages: &PackageGraph, name: &PackageName) -> String {
    fn entries(packages: &PackageGraph, name: &PackageName, depth: usize) -> Json {
        let mut names: Vec<&PackageName> = match packages.get(name) {
            // A circle ends by itself: no chain is longer than there are packages.
            Some(package) if depth <= packages.len() => package.dependencies.iter().collect(),
            _ => Vec::new(),
        };
        names.sort();
        names
            .into_iter()
            .filter_map(|dependency| {
                let package = packages.get(dependency)?;
                let below = entries(packages, dependency, depth + 1);
                Some(if below.as_array().is_some_and(Vec::is_empty) {
                    json!([dependency, package.fingerprint])
                } else {
                    json!([dependency, package.fingerprint, below])
                })
            })
            .collect()
    }
    entries(packages, name, 0).to_string()
}

/// Which packages must be compiled: runtime packages that are not, and what they in turn depend on. What only a
/// compiled package depends on is not needed.
pub(crate) fn to_compile<'g>(
    needs: &[PackageNeed],
    runtime: impl IntoIterator<Item = &'g BTreeMap<PackageName, usize>>,
) -> Vec<bool> {
    let mut wanted = vec![false; needs.len()];
    let mut open: Vec<usize> = runtime
        .into_iter()
        .flat_map(|r| r.values().copied())
        .collect();
    while let Some(at) = open.pop() {
        if !wanted[at] && needs[at].compiled.is_none() {
            wanted[at] = true;
            open.extend(&needs[at].dependencies);
        }
    }
    wanted
}

/// Packages that are neither compiled nor can be (§6): all faults, one per release.
pub(crate) fn check_sources(
    needs: &[PackageNeed],
    to_compile: &[bool],
    drafts: &[Draft],
) -> Result<(), Problems> {
    let mut by_release: BTreeMap<(&ReleaseName, &str), Vec<&PackageNeed>> = BTreeMap::new();
    let missing = needs
        .iter()
        .zip(to_compile)
        .filter(|(n, wanted)| **wanted && n.source.is_none());
    for (need, _) in missing {
        by_release
            .entry((&need.release, need.release_version.as_str()))
            .or_default()
            .push(need);
    }
    let exported = |release: &ReleaseName| {
        drafts
            .iter()
            .flat_map(|d| &d.jobs)
            .find(|j| j.job.release == *release)
            .map(|j| j.release.exported_from)
            .unwrap_or_default()
    };
    let mut problems = Problems::default();
    for ((release, version), missing) in by_release {
        let mut lines: Vec<String>;
        let stemcells: std::collections::BTreeSet<String> = missing
            .iter()
            .map(|n| format!("{}/{}", n.stemcell.name, n.stemcell.version))
            .collect();
        let title = |n: &PackageNeed| format!(" - '{}/{}'", n.name, n.fingerprint);
        let from = exported(release);
        let (code, head) = if let [only] = from {
            lines = missing.iter().map(|n| title(n)).collect();
            (
                60003,
                format!(
                    "\nCan't use release '{release}/{version}':\nPackages must be exported from stemcell '{}/{}', but \
                     some packages are not compiled for this stemcell:",
                    only.os, only.version
                ),
            )
        } else if stemcells.len() == 1 {
            lines = missing.iter().map(|n| title(n)).collect();
            (
                60001,
                format!(
                    "\nCan't use release '{release}/{version}'. It references packages without source code and are \
                     not compiled against stemcell '{}':",
                    stemcells
                        .iter()
                        .next()
                        .map(String::as_str)
                        .unwrap_or_default()
                ),
            )
        } else {
            lines = missing
                .iter()
                .map(|n| {
                    format!(
                        "{} against stemcell '{}/{}'",
                        title(n),
                        n.stemcell.name,
                        n.stemcell.version
                    )
                })
                .collect();
            (
                60001,
                format!(
                    "\nCan't use release '{release}/{version}'. It references packages without source code and are \
                     not compiled against intended stemcells:"
                ),
            )
        };
        lines.sort();
        problems.push(Problem::new(code, format!("{head}\n{}", lines.join("\n"))));
    }
    problems.or(())
}
