//! What differs between an instance as it is and as it shall be (§4.1), in the original's order.
//!
//! No false change: everything compared is either stored as it was compared before, or, where a part is not
//! known (an agent that was not asked, a package not compiled yet), counts as equal unless it must differ.

use std::collections::BTreeMap;

use manifest::documents::RequestedState;
use serde_json::Value as Json;

use super::reason::{PROPERTY, arrow, differences, map_differences, map_names, short};
use crate::change::{Change, ChangeKind as Kind};
use crate::input::{AgentObservation, CurrentDisk, CurrentInstance, InstanceState, PlanningInput};
use crate::placement::{PlacedGroup, PlacedInstance, Placement, Reservation};
use crate::spec::{DiskSpec, InstanceSpec};

/// All there is to compare about one instance.
pub(super) struct Detection<'a> {
    pub input: &'a PlanningInput,
    pub placement: &'a Placement,
    pub group: &'a PlacedGroup,
    pub instance: &'a PlacedInstance,
    pub row: &'a CurrentInstance,
    /// With the configuration hash of this deploy's rendering.
    pub wanted: &'a InstanceSpec,
}

impl Detection<'_> {
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut add = |kind: Kind, reasons: Vec<String>| {
            changes.extend(reasons.into_iter().map(|reason| Change::new(kind, reason)));
        };
        add(Kind::Dirty, self.dirty());
        add(Kind::Restart, self.restart());
        add(Kind::Recreate, self.recreate());
        add(Kind::RecreatePersistentDisks, self.recreate_disks());
        if let Some(old) = &self.row.spec {
            add(
                Kind::CloudProperties,
                map_differences(
                    "cloud property",
                    &old.cloud_properties,
                    &self.wanted.cloud_properties,
                ),
            );
            add(Kind::Stemcell, self.stemcell(old));
            add(Kind::Env, map_names("env", &old.env, &self.wanted.env));
            add(Kind::Network, self.network(old));
            add(Kind::Packages, self.packages(old));
        }
        add(Kind::PersistentDisk, self.disks());
        if let Some(old) = &self.row.spec {
            add(Kind::Configuration, self.configuration(old));
            add(Kind::Job, self.jobs(old));
        }
        add(Kind::State, self.state());
        self.fingerprints(&mut changes);
        let mut add = |kind: Kind, reasons: Vec<String>| {
            changes.extend(reasons.into_iter().map(|reason| Change::new(kind, reason)));
        };
        add(Kind::Tags, self.tags());
        changes
    }

    fn has_vm(&self) -> bool {
        !self.row.vms.is_empty()
    }

    fn dirty(&self) -> Vec<String> {
        if self.row.update_completed {
            Vec::new()
        } else if self.row.spec.is_none() && !self.has_vm() {
            vec!["it was never deployed".into()]
        } else {
            vec!["its last update did not complete".into()]
        }
    }

    fn restart(&self) -> Vec<String> {
        // compat: an errand group that still has its VM is updated before each run
        if self.input.options.errands.contains(&self.group.name) && self.has_vm() {
            return vec!["its errand is run".into()];
        }
        when(
            self.instance.passing == Some(RequestedState::Restart),
            || "restart requested",
        )
    }

    fn recreate(&self) -> Vec<String> {
        let options = &self.input.options;
        if self.row.agent == AgentObservation::Unresponsive && options.fix {
            return vec!["its agent does not answer".into()];
        }
        let asked = options.recreate || self.instance.passing == Some(RequestedState::Recreate);
        if !asked {
            return Vec::new();
        }
        let Some(before) = options.recreate_vms_created_before else {
            return vec!["recreate requested".into()];
        };
        let active = self.row.vms.iter().find(|vm| vm.active);
        let old = match active.map(|vm| vm.created_at) {
            None | Some(None) => true,
            Some(Some(created_at)) => created_at < before,
        };
        when(
            old || !self.row.update_completed,
            || "recreate requested for VMs as old as this one",
        )
    }

    fn recreate_disks(&self) -> Vec<String> {
        let asked = self.input.options.recreate_persistent_disks && !self.group.disks.is_empty();
        when(asked, || "recreation of persistent disks requested")
    }

    fn stemcell(&self, old: &InstanceSpec) -> Vec<String> {
        let (old, new) = (&old.stemcell, &self.wanted.stemcell);
        if old.name == new.name && old.version == new.version {
            Vec::new()
        } else if old.name == new.name {
            vec![format!("stemcell {}", arrow(&old.version, &new.version))]
        } else {
            let full = |s: &crate::spec::StemcellRef| format!("{}/{}", s.name, s.version);
            vec![format!("stemcell {}", arrow(full(old), full(new)))]
        }
    }

    fn network(&self, old: &InstanceSpec) -> Vec<String> {
        let mut reasons = Vec::new();
        for network in &self.instance.networks {
            let name = &network.name;
            let Some(before) = old.networks.get(name) else {
                reasons.push(format!("network {name} added"));
                continue;
            };
            let settings = comparable(&network.settings);
            let differing = differences(
                &format!("network {name}:"),
                &comparable(before),
                &settings,
                "",
            );
            if differing.is_empty() && matches!(network.reservation, Reservation::New { .. }) {
                // The address row is gone or was on another network; a new one is the same as far as it shows.
                let ip = network.ip.map(|ip| ip.to_string()).unwrap_or_default();
                reasons.push(format!("network {name}: address {ip} to be reserved"));
            }
            reasons.extend(differing);
        }
        for name in old.networks.keys() {
            if !self.instance.networks.iter().any(|n| n.name == *name) {
                reasons.push(format!("network {name} removed"));
            }
        }
        if reasons.is_empty() {
            let released = self.instance.released.iter();
            reasons
                .extend(released.map(|(network, ip)| {
                    format!("network {network}: address {ip} to be released")
                }));
        }
        reasons
    }

    fn packages(&self, old: &InstanceSpec) -> Vec<String> {
        let mut reasons = Vec::new();
        for (name, at) in &self.group.runtime_packages {
            let need = &self.placement.packages[*at];
            match (old.packages.get(name), self.wanted.packages.get(name)) {
                (None, _) => reasons.push(format!("package {name} added")),
                (Some(old), Some(new)) if old == new => {}
                (Some(old), new) => {
                    let old_fingerprint = old.version.split('.').next().unwrap_or_default();
                    reasons.push(if old_fingerprint != need.fingerprint {
                        format!(
                            "package {name} {}",
                            arrow(short(old_fingerprint), short(&need.fingerprint))
                        )
                    } else if new.is_none() {
                        let stemcell = &need.stemcell;
                        format!(
                            "package {name} to be compiled for {}/{}",
                            stemcell.os, stemcell.version
                        )
                    } else if self
                        .row
                        .spec
                        .as_ref()
                        .is_some_and(|s| s.stemcell != need.stemcell)
                    {
                        let stemcell = &need.stemcell;
                        format!(
                            "package {name} compiled for {}/{}",
                            stemcell.os, stemcell.version
                        )
                    } else {
                        format!("package {name} compiled anew")
                    });
                }
            }
        }
        for name in old.packages.keys() {
            if !self.group.runtime_packages.contains_key(name) {
                reasons.push(format!("package {name} removed"));
            }
        }
        reasons
    }

    fn disks(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for wanted in &self.group.disks {
            match find_disk(self.row, &wanted.name) {
                None => reasons.push(format!(
                    "persistent disk{} of {} MB added",
                    titled(&wanted.name),
                    wanted.size
                )),
                Some(disk) => reasons.extend(disk_differences(disk, wanted)),
            }
        }
        for disk in self.row.disks.iter().filter(|d| d.active) {
            if !self.group.disks.iter().any(|w| w.name == disk.name) {
                reasons.push(format!("persistent disk{} removed", titled(&disk.name)));
            }
        }
        reasons
    }

    fn configuration(&self, old: &InstanceSpec) -> Vec<String> {
        if self.wanted.configuration_hash.is_empty()
            || old.configuration_hash == self.wanted.configuration_hash
        {
            return Vec::new();
        }
        let mut reasons = Vec::new();
        for job in &self.group.jobs {
            let name = &job.job.name;
            let Some(before) = old.properties.get(name) else {
                continue;
            };
            let suffix = format!(" (job {name})");
            let mut of_job = differences(PROPERTY, before, &job.properties, &suffix);
            let no_links = BTreeMap::new();
            let old_links = old.links.get(name).unwrap_or(&no_links);
            for (link, digest) in &job.link_digests {
                if old_links.get(link) != Some(digest) {
                    of_job.push(format!("link {link} changed{suffix}"));
                }
            }
            let dropped = old_links
                .keys()
                .filter(|link| !job.links.contains_key(*link));
            of_job.extend(dropped.map(|link| format!("link {link} removed{suffix}")));
            let rendered_else =
                old.template_hashes.get(name) != self.wanted.template_hashes.get(name);
            let same_job = old
                .jobs
                .iter()
                .any(|j| j.name == *name && j.version == job.job.version);
            if of_job.is_empty() && rendered_else && same_job {
                of_job.push(format!(
                    "job {name} renders otherwise: variables, addresses or other instance data changed"
                ));
            }
            reasons.extend(of_job);
        }
        if reasons.is_empty() {
            reasons.push("rendered templates changed".into());
        }
        reasons
    }

    fn jobs(&self, old: &InstanceSpec) -> Vec<String> {
        let mut reasons = Vec::new();
        if old.name != self.wanted.name {
            reasons.push(format!(
                "instance group {}",
                arrow(&old.name, &self.wanted.name)
            ));
        }
        for job in &self.wanted.jobs {
            match old.jobs.iter().find(|j| j.name == job.name) {
                None => reasons.push(format!("job {} added", job.name)),
                Some(before) if before.version != job.version => reasons.push(format!(
                    "job {} {} (release {}/{})",
                    job.name,
                    arrow(short(&before.version), short(&job.version)),
                    job.release,
                    job.release_version
                )),
                Some(before)
                    if (&before.sha1, &before.blobstore_id, &before.logs)
                        != (&job.sha1, &job.blobstore_id, &job.logs) =>
                {
                    reasons.push(format!("job {} uploaded anew", job.name));
                }
                Some(_) => {}
            }
        }
        for job in &old.jobs {
            if !self.wanted.jobs.iter().any(|j| j.name == job.name) {
                reasons.push(format!("job {} removed", job.name));
            }
        }
        reasons
    }

    fn state(&self) -> Vec<String> {
        let (old, new) = (self.row.state, self.instance.state);
        if old != new {
            return vec![format!("state {}", arrow(old.as_str(), new.as_str()))];
        }
        match (new, &self.row.agent) {
            (InstanceState::Detached, _) => when(self.has_vm(), || "detached, but it has a VM"),
            (_, AgentObservation::Unresponsive) => vec!["its agent does not answer".into()],
            (InstanceState::Started, AgentObservation::JobState(state)) if state != "running" => {
                vec![format!("jobs are {state}, not running")]
            }
            (InstanceState::Stopped, AgentObservation::JobState(state)) if state == "running" => {
                vec!["jobs are running, not stopped".into()]
            }
            _ => when(!self.has_vm() && !self.group.dormant, || "it has no VM"),
        }
    }

    fn fingerprints(&self, changes: &mut Vec<Change>) {
        let Some(vm) = self.row.vms.iter().find(|vm| vm.active) else {
            return;
        };
        let (old, new) = (&vm.fingerprints, &self.input.director.fingerprints);
        for (kind, old, new, reason) in [
            (
                Kind::TrustedCerts,
                &old.trusted_certs,
                &new.trusted_certs,
                "trusted certificates changed",
            ),
            (
                Kind::BlobstoreConfig,
                &old.blobstore_config,
                &new.blobstore_config,
                "blobstore settings changed",
            ),
            (
                Kind::NatsConfig,
                &old.nats_config,
                &new.nats_config,
                "NATS settings changed",
            ),
        ] {
            // A director that does not track one of them has nothing to compare.
            if !new.is_empty() && old != new {
                changes.push(Change::new(kind, reason));
            }
        }
    }

    fn tags(&self) -> Vec<String> {
        if !self.input.current.deployed_before {
            return Vec::new();
        }
        map_differences("tag", &self.input.current.tags, &self.placement.tags)
    }
}

fn when(condition: bool, reason: impl Fn() -> &'static str) -> Vec<String> {
    if condition {
        vec![reason().to_string()]
    } else {
        Vec::new()
    }
}

/// What an agent reports about a dynamic network is not a difference, and neither are DNS record names.
fn comparable(settings: &Json) -> Json {
    let mut settings = settings.clone();
    let dynamic = settings.get("type").and_then(Json::as_str) == Some("dynamic");
    if let Some(map) = settings.as_object_mut() {
        map.remove("dns_record_name");
        if dynamic {
            for key in ["ip", "netmask", "gateway"] {
                map.remove(key);
            }
        }
    }
    settings
}

fn titled(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" {name}")
    }
}

/// The active disk of a name.
pub(super) fn find_disk<'a>(row: &'a CurrentInstance, name: &str) -> Option<&'a CurrentDisk> {
    row.disks.iter().find(|d| d.active && d.name == name)
}

/// Size and cloud properties.
pub(super) fn disk_differences(disk: &CurrentDisk, wanted: &DiskSpec) -> Vec<String> {
    let title = titled(&wanted.name);
    let mut reasons = Vec::new();
    if disk.size != wanted.size {
        reasons.push(format!(
            "persistent disk{title} {}",
            arrow(format!("{} MB", disk.size), format!("{} MB", wanted.size))
        ));
    }
    reasons.extend(map_differences(
        &format!("persistent disk{title} cloud property"),
        &disk.cloud_properties,
        &wanted.cloud_properties,
    ));
    reasons
}
