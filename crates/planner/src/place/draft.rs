//! Instance groups with their jobs found in the releases: the manifest's jobs, then what addons add (§1.10).

use std::borrow::Cow;
use std::collections::BTreeMap;

use manifest::documents::{
    Addon, AddonLevel, Filter, InstanceGroup, Job, Lifecycle, Problem, Problems, ReleaseEntry,
};

use super::bind::{BoundRelease, BoundReleases, BoundStemcell, bind_stemcells};
use crate::catalogue::{Hash, JobSpec};
use crate::input::PlanningInput;

/// A group on its way to being placed.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub group: &'a InstanceGroup,
    pub jobs: Vec<DraftJob<'a>>,
    pub stemcell: BoundStemcell<'a>,
}

#[derive(Debug)]
pub(crate) struct DraftJob<'a> {
    pub job: &'a Job,
    pub spec: &'a JobSpec,
    pub release: BoundRelease<'a>,
    /// What the operator gave: the job's own, the addon's, or the group's.
    pub properties: Cow<'a, Hash>,
}

/// All groups, and what to tell the operator about deprecated ways.
pub(crate) struct Drafts<'a> {
    pub groups: Vec<Draft<'a>>,
    pub deprecations: Vec<String>,
}

pub(super) fn draft_groups(input: &PlanningInput) -> Result<Drafts<'_>, Problems> {
    let manifest = &input.desired.manifest;
    let mut problems = Problems::default();
    let releases = problems.take_all(BoundReleases::of_manifest(
        &manifest.releases,
        &input.catalogue,
    ));
    let stemcells = problems.take_all(bind_stemcells(&manifest.stemcells, &input.catalogue));
    let (Some(mut releases), Some(stemcells)) = (releases, stemcells) else {
        return Err(problems);
    };
    let mut groups = Vec::with_capacity(manifest.instance_groups.len());
    for group in &manifest.instance_groups {
        groups.extend(problems.take_all(draft_group(group, &releases, &stemcells)));
    }
    let mut deprecations = manifest.deprecations.clone();
    let sources = std::iter::once((manifest.addons.as_slice(), None)).chain(
        input
            .desired
            .runtime
            .iter()
            .map(|runtime| (runtime.addons.as_slice(), Some(runtime.releases.as_slice()))),
    );
    for (addons, runtime_releases) in sources {
        for addon in addons {
            if !addon.properties.is_empty() {
                deprecations.push(
                    "Top level 'properties' in addons are deprecated. Please define 'properties' at the job level."
                        .into(),
                );
            }
            let source = Source {
                input,
                addon,
                runtime_releases,
            };
            problems.take_all(source.apply(&mut groups, &mut releases));
        }
    }
    for draft in &groups {
        problems.take_all(check_packages(draft));
    }
    problems.or(Drafts {
        groups,
        deprecations,
    })
}

fn draft_group<'a>(
    group: &'a InstanceGroup,
    releases: &BoundReleases<'a>,
    stemcells: &BTreeMap<&str, BoundStemcell<'a>>,
) -> Result<Draft<'a>, Problems> {
    let mut problems = Problems::default();
    let stemcell = stemcells
        .get(group.stemcell.as_str())
        .expect("the manifest's reader refuses unknown aliases");
    let mut jobs = Vec::with_capacity(group.jobs.len());
    for job in &group.jobs {
        let release = releases
            .get(&job.release)
            .expect("the manifest's reader refuses unknown releases");
        let Some(spec) = release.release.jobs.get(&job.name) else {
            let mut known: Vec<&str> = release.release.jobs.keys().map(|n| n.as_str()).collect();
            known.truncate(20);
            problems.push(
                Problem::new(
                    140029,
                    format!("Job '{}' not found in release '{}'", job.name, job.release),
                )
                .hint(format!(
                    "'{}/{}' has: {}",
                    job.release,
                    release.version,
                    known.join(", ")
                )),
            );
            continue;
        };
        problems.take(check_exported(group, stemcell, &release));
        jobs.push(DraftJob {
            job,
            spec,
            release,
            properties: Cow::Borrowed(job.properties.as_ref().unwrap_or(&group.properties)),
        });
    }
    problems.or(Draft {
        group,
        jobs,
        stemcell: stemcell.clone(),
    })
}

/// A release that says what it was exported from fits only such stemcells (§2.1, §6).
fn check_exported(
    group: &InstanceGroup,
    stemcell: &BoundStemcell,
    release: &BoundRelease,
) -> Result<(), Problem> {
    let wanted = &stemcell.reference;
    let first = |version: &str| version.split('.').next().map(str::to_string);
    let compatible = |from: &manifest::documents::OsVersion| {
        from.os == wanted.os && first(&from.version) == first(&wanted.version)
    };
    if release.exported_from.is_empty() || release.exported_from.iter().any(compatible) {
        return Ok(());
    }
    let from: Vec<String> = release
        .exported_from
        .iter()
        .map(|f| format!("'{}/{}'", f.os, f.version))
        .collect();
    let name = &release.release.name;
    let stemcell = format!("{}/{}", wanted.name, wanted.version);
    Err(Problem::new(
        80015,
        format!(
            "Invalid release detected in instance group '{}' using stemcell '{stemcell}': release '{name}' must be \
             exported from stemcell '{stemcell}'. Release '{name}' is exported from: {}.",
            group.name,
            from.join(", ")
        ),
    ))
}

/// One addon with the document it stands in.
struct Source<'a> {
    input: &'a PlanningInput,
    addon: &'a Addon,
    /// `None` at deployment level.
    runtime_releases: Option<&'a [ReleaseEntry]>,
}

impl<'a> Source<'a> {
    /// Adds the addon's jobs to the groups it applies to now: it sees jobs added by earlier addons.
    fn apply(
        &self,
        groups: &mut [Draft<'a>],
        releases: &mut BoundReleases<'a>,
    ) -> Result<(), Problems> {
        let eligible: Vec<usize> = (0..groups.len())
            .filter(|i| self.applies_to(&groups[*i]))
            .collect();
        if eligible.is_empty() {
            return Ok(());
        }
        for job in &self.addon.jobs {
            if let Some(entry) = self
                .runtime_releases
                .and_then(|entries| entries.iter().find(|e| e.name == job.release))
            {
                releases.add_runtime(entry, &self.input.catalogue)?;
            }
        }
        let mut problems = Problems::default();
        for job in &self.addon.jobs {
            let Some(release) = releases.get(&job.release) else {
                continue; // Its release is a problem already.
            };
            let Some(spec) = release.release.jobs.get(&job.name) else {
                problems.push(
                    Problem::new(190011, format!("Can't find job '{}'", job.name)).hint(format!(
                        "Addon '{}' takes it from release '{}/{}', which has no such job",
                        self.addon.name, job.release, release.version
                    )),
                );
                continue;
            };
            for i in &eligible {
                let draft = &mut groups[*i];
                if draft.jobs.iter().any(|j| j.job.name == job.name) {
                    problems.push(Problem::new(
                        100,
                        format!(
                            "Colocated job '{}' is already added to the instance group '{}'.",
                            job.name, draft.group.name
                        ),
                    ));
                    continue;
                }
                problems.take(check_exported(draft.group, &draft.stemcell, &release));
                draft.jobs.push(DraftJob {
                    job,
                    spec,
                    release,
                    properties: Cow::Borrowed(
                        job.properties.as_ref().unwrap_or(&self.addon.properties),
                    ),
                });
            }
        }
        problems.or(())
    }

    fn applies_to(&self, draft: &Draft) -> bool {
        let Addon {
            include, exclude, ..
        } = self.addon;
        let matches = |filter: &Filter| self.matches(filter, draft);
        (include.is_empty() || matches(include)) && (exclude.is_empty() || !matches(exclude))
    }

    /// Every list that is not empty must match; one of its entries is enough.
    fn matches(&self, filter: &Filter, draft: &Draft) -> bool {
        fn any<T>(items: &[T], matches: impl Fn(&T) -> bool) -> bool {
            items.is_empty() || items.iter().any(matches)
        }
        let group = draft.group;
        let desired = &self.input.desired;
        let lifecycle = match group.lifecycle {
            Lifecycle::Service => "service",
            Lifecycle::Errand => "errand",
        };
        any(&filter.stemcell_os, |os| *os == draft.stemcell.reference.os)
            && any(&filter.deployments, |d| *d == desired.manifest.name)
            && any(&filter.jobs, |wanted| {
                draft
                    .jobs
                    .iter()
                    .any(|j| j.job.name == wanted.name && j.job.release == wanted.release)
            })
            && any(&filter.instance_groups, |name| *name == group.name)
            && any(&filter.networks, |name| {
                group.networks.iter().any(|n| n.name == *name)
            })
            && (self.addon.level == AddonLevel::Deployment
                || any(&filter.teams, |team| desired.teams.contains(team)))
            && any(&filter.azs, |az| {
                group.azs.as_ref().is_some_and(|azs| azs.contains(az))
            })
            && filter
                .lifecycle
                .as_ref()
                .is_none_or(|wanted| wanted == lifecycle)
    }
}

/// Two jobs of a group may not bring different packages of one name (§2.1).
fn check_packages(draft: &Draft) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let mut seen: BTreeMap<&str, (&DraftJob, &crate::catalogue::PackageSpec)> = BTreeMap::new();
    for job in &draft.jobs {
        for name in &job.spec.packages {
            let Some(package) = job.release.release.packages.get(name) else {
                problems.push(Problem::new(
                    100,
                    format!(
                        "Job '{}' of release '{}/{}' needs package '{name}', which the release does not have",
                        job.job.name, job.job.release, job.release.version
                    ),
                ));
                continue;
            };
            let Some((other, known)) = seen.insert(name.as_str(), (job, package)) else {
                continue;
            };
            let mut dependencies = [known.dependencies.clone(), package.dependencies.clone()];
            dependencies.iter_mut().for_each(|d| d.sort());
            if known.fingerprint == package.fingerprint && dependencies[0] == dependencies[1] {
                continue;
            }
            let (r1, r2) = (&other.job.release, &job.job.release);
            problems.push(Problem::new(
                80011,
                format!(
                    "Package name collision detected in instance group '{}': job '{r1}/{}' depends on package \
                     '{r1}/{name}' with fingerprint '{}', job '{r2}/{}' depends on package '{r2}/{name}' with \
                     fingerprint '{}'. BOSH cannot currently collocate two packages with identical names and \
                     different fingerprints or dependencies.",
                    draft.group.name, other.job.name, known.fingerprint, job.job.name, package.fingerprint
                ),
            ));
        }
    }
    problems.or(())
}
