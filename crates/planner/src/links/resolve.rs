//! Pairing consumers with providers (§3.4). All failures of a deployment become one problem.

use std::collections::BTreeMap;
use std::sync::Arc;

use manifest::documents::{Problem, Problems};
use serde_json::Value as Json;

use super::Place;
use super::consumers::{Explicit, Wish, read_wish};
use super::content::{GroupFacts, LinkFrame, manual, stored, view};
use super::providers::Provider;
use crate::catalogue::LinkSpec;
use crate::input::{ForeignProvider, PlanningInput};
use crate::place::Draft;
use crate::placement::ProvidedLink;

/// Links of one job: name to content as its templates see it.
pub(crate) type JobLinks = BTreeMap<String, Arc<Json>>;

/// Resolves all links. Returns them per group and job, and what is provided, for storing.
///
/// # Errors
/// Code 100: malformed wishes one by one, failed look-ups as one text.
pub(crate) fn resolve(
    input: &PlanningInput,
    drafts: &[Draft],
    providers: &[Provider],
    facts: &[GroupFacts],
) -> Result<(Vec<Vec<JobLinks>>, Vec<ProvidedLink>), Problems> {
    let manifest = &input.desired.manifest;
    let frame = LinkFrame {
        deployment: &manifest.name,
        root_domain: &input.director.root_domain,
        features: &manifest.features,
        local_dns: input.director.local_dns,
    };
    let provided: Vec<ProvidedLink> = providers
        .iter()
        .map(|p| ProvidedLink {
            instance_group: facts[p.group].name.clone(),
            owner: p.owner.clone(),
            original_name: p.original_name.clone(),
            name: p.name.clone(),
            kind: p.kind.clone(),
            shared: p.shared,
            consumable: p.consumable,
            content: stored(p, &facts[p.group], frame),
        })
        .collect();
    let mut by_kind: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
    for (provider, link) in providers
        .iter()
        .zip(&provided)
        .filter(|(p, _)| p.consumable)
    {
        by_kind
            .entry(&provider.kind)
            .or_default()
            .push(Candidate::own(provider, link, manifest.name.as_str()));
    }
    let mut resolver = Resolver {
        input,
        by_kind,
        local_dns: frame.local_dns,
        views: BTreeMap::new(),
        failures: Vec::new(),
        problems: Problems::default(),
    };
    let links = drafts
        .iter()
        .map(|draft| {
            draft
                .jobs
                .iter()
                .map(|job| {
                    let place = Place {
                        job: job.job.name.as_str(),
                        group: draft.group.name.as_str(),
                    };
                    let wished = job.spec.consumes.iter().filter_map(|link| {
                        let content = resolver.link(link, &job.job.consumes, place)?;
                        Some((link.name.clone(), content))
                    });
                    wished.collect()
                })
                .collect()
        })
        .collect();
    let Resolver {
        failures,
        mut problems,
        ..
    } = resolver;
    if !failures.is_empty() {
        problems.push(Problem::new(
            100,
            format!(
                "Failed to resolve links from deployment '{}'. See errors below:\n{}",
                manifest.name,
                failures.join("\n")
            ),
        ));
    }
    problems.or((links, provided))
}

/// A provider of this or of another deployment.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    name: &'a str,
    original_name: &'a str,
    owner: &'a str,
    is_disk: bool,
    group: &'a str,
    deployment: &'a str,
    content: &'a Json,
}

impl<'a> Candidate<'a> {
    fn own(provider: &'a Provider, link: &'a ProvidedLink, deployment: &'a str) -> Self {
        Candidate {
            name: &provider.name,
            original_name: &provider.original_name,
            owner: &provider.owner,
            is_disk: provider.is_disk,
            group: link.instance_group.as_str(),
            deployment,
            content: &link.content,
        }
    }

    fn foreign(provider: &'a ForeignProvider) -> Self {
        Candidate {
            name: &provider.name,
            original_name: &provider.original_name,
            owner: &provider.job,
            is_disk: false,
            group: provider.instance_group.as_str(),
            deployment: provider.deployment.as_str(),
            content: &provider.content,
        }
    }

    fn has_network(&self, network: &str) -> bool {
        self.content
            .get("networks")
            .and_then(Json::as_array)
            .is_some_and(|all| all.iter().any(|n| n == network))
    }

    /// As failure texts list it.
    fn line(&self) -> String {
        if self.is_disk {
            return format!(
                "    - Disk link provider '{}' from instance group '{}'",
                self.original_name, self.group
            );
        }
        let alias = if self.name == self.original_name {
            String::new()
        } else {
            format!(" with alias '{}'", self.name)
        };
        format!(
            "    - Link provider '{}'{alias} from job '{}' in instance group '{}' in deployment '{}'",
            self.original_name, self.owner, self.group, self.deployment
        )
    }
}

/// Content, network and kind of address: what decides what a consumer sees. The first is the content's address
/// in memory, which stays where it is while resolving.
type ViewKey = (*const Json, Option<String>, Option<bool>);

struct Resolver<'a> {
    input: &'a PlanningInput,
    by_kind: BTreeMap<&'a str, Vec<Candidate<'a>>>,
    local_dns: bool,
    /// Many jobs see the same content: made once, shared.
    views: BTreeMap<ViewKey, Arc<Json>>,
    failures: Vec<String>,
    problems: Problems,
}

impl<'a> Resolver<'a> {
    fn link(
        &mut self,
        link: &LinkSpec,
        consumes: &serde_json::Map<String, Json>,
        place: Place,
    ) -> Option<Arc<Json>> {
        let wish = match read_wish(link, consumes, place) {
            Ok(wish) => wish,
            Err(fault) => {
                self.problems.push(Problem::new(100, fault));
                return None;
            }
        };
        let explicit = match wish {
            Wish::Implicit => None,
            Wish::Explicit(explicit) => Some(explicit),
            Wish::Manual(map) => {
                return Some(Arc::new(manual(map, &self.input.desired.manifest.name)));
            }
            Wish::Blocked => {
                if !link.optional {
                    self.fail(
                        link,
                        None,
                        place,
                        "Details below:",
                        &["    - No link providers found".into()],
                    );
                }
                return None;
            }
        };
        let candidates = self.candidates(link, explicit, place)?;
        match candidates.as_slice() {
            [only] => self.content(link, explicit, *only, place),
            [] => {
                if !link.optional || explicit.is_some_and(|e| e.named) {
                    self.fail(
                        link,
                        explicit,
                        place,
                        "Details below:",
                        &["    - No link providers found".into()],
                    );
                }
                None
            }
            several => {
                let lines: Vec<String> = several.iter().map(Candidate::line).collect();
                self.fail(
                    link,
                    explicit,
                    place,
                    "Multiple link providers found:",
                    &lines,
                );
                None
            }
        }
    }

    /// Providers that fit; `None` when the other deployment does not exist (a problem of its own).
    fn candidates(
        &mut self,
        link: &LinkSpec,
        explicit: Option<Explicit>,
        place: Place,
    ) -> Option<Vec<Candidate<'a>>> {
        let own = self.input.desired.manifest.name.as_str();
        let by_name = |c: &Candidate| explicit.is_none_or(|e| c.name == e.from);
        let other = explicit.and_then(|e| e.deployment).filter(|d| *d != own);
        let Some(other) = other else {
            let all = self.by_kind.get(link.kind.as_str()).map(Vec::as_slice);
            return Some(
                all.unwrap_or_default()
                    .iter()
                    .copied()
                    .filter(by_name)
                    .collect(),
            );
        };
        if !self.input.current.deployments.contains(other) {
            self.problems.push(
                Problem::new(
                    100,
                    format!(
                        "Link '{}' in job '{}' from instance group '{}' consumes from deployment '{other}', but the \
                         deployment does not exist.",
                        explicit.map_or(link.name.as_str(), |e| e.from),
                        place.job,
                        place.group
                    ),
                )
                .hint(format!("Deploy '{other}' first")),
            );
            return None;
        }
        let foreign = self.input.current.foreign_providers.iter();
        Some(
            foreign
                .filter(|p| p.deployment == *other && p.kind == link.kind && p.shared)
                .map(Candidate::foreign)
                .filter(by_name)
                .collect(),
        )
    }

    fn content(
        &mut self,
        link: &LinkSpec,
        explicit: Option<Explicit>,
        provider: Candidate<'a>,
        place: Place,
    ) -> Option<Arc<Json>> {
        let network = explicit.and_then(|e| e.network);
        if let Some(network) = network
            && !provider.has_network(network)
        {
            let why = if provider.is_disk {
                " does not contain any networks".to_string()
            } else {
                format!(" does not belong to network '{network}'")
            };
            let line = provider.line() + &why;
            self.fail(link, explicit, place, "Details below:", &[line]);
            return None;
        }
        let ip_addresses = explicit.and_then(|e| e.ip_addresses);
        let key = (
            std::ptr::from_ref(provider.content),
            network.map(str::to_string),
            ip_addresses,
        );
        let local_dns = self.local_dns;
        let made = self
            .views
            .entry(key)
            .or_insert_with(|| Arc::new(view(provider.content, network, ip_addresses, local_dns)));
        Some(Arc::clone(made))
    }

    fn fail(
        &mut self,
        link: &LinkSpec,
        explicit: Option<Explicit>,
        place: Place,
        tail: &str,
        lines: &[String],
    ) {
        let alias = match explicit {
            Some(e) if e.from != link.name => format!(" with alias '{}' and", e.from),
            _ => " with".to_string(),
        };
        self.failures.push(format!(
            "  - Failed to resolve link '{}'{alias} type '{}' from {place}. {tail}\n{}",
            link.name,
            link.kind,
            lines.join("\n")
        ));
    }
}
