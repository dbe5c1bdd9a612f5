//! Phase two: what changes, why, and in which order it is done.

mod compile;
mod detect;
mod export;
mod reason;
mod steps;
mod waves;

pub use export::plan_export;

use std::collections::BTreeMap;

use domain::{
    AzName, CpiName, DeploymentName, InstanceGroupName, InstanceUuid, StemcellCid, StemcellName,
};
use manifest::documents::{Lifecycle, Problem, Problems, RequestedState, WatchTime};

use crate::catalogue::Hash;
use crate::change::{Action, Change, ChangeKind};
use crate::input::{CurrentDeployment, CurrentInstance, InstanceState, PlanningInput};
use crate::placement::{PlacedGroup, PlacedInstance, Placement, RenderedInstance, Reservation};
use crate::plan::{AddressPlan, DeletionPlan, DeploymentPlan, InstancePlan, PLANNER_VERSION};
use crate::report::Report;
use crate::spec::{InstanceSpec, StemcellRef};
use detect::Detection;
use steps::Work;

/// Decides what is done. `rendered` has an entry for each [`Placement::render_jobs`]; an instance without one
/// counts as rendering what it rendered before.
///
/// # Errors
/// An exhausted compilation network; a `canaries` or `max_in_flight` that is no number.
pub fn plan(
    input: &PlanningInput,
    placement: Placement,
    rendered: &BTreeMap<InstanceUuid, RenderedInstance>,
) -> Result<(DeploymentPlan, Report), Problems> {
    let mut problems = Problems::default();
    let mut instances = Vec::new();
    let mut ranges = Vec::with_capacity(placement.groups.len());
    for group in &placement.groups {
        let first = instances.len();
        for instance in &group.instances {
            let planner = InstancePlanner {
                input,
                placement: &placement,
                group,
                instance,
            };
            instances.push(planner.plan(rendered.get(&instance.uuid)));
        }
        ranges.push(first..instances.len());
    }
    let rows: BTreeMap<&InstanceUuid, &CurrentInstance> = input
        .current
        .instances
        .iter()
        .map(|row| (&row.uuid, row))
        .collect();
    let mut deletions = |uuids: &[InstanceUuid]| -> Vec<usize> {
        let known = uuids.iter().filter_map(|uuid| rows.get(uuid));
        known
            .map(|row| {
                let skip_drain = input.options.skip_drain.covers(&row.group);
                instances.push(deletion(&placement.deployment, row, skip_drain, false));
                instances.len() - 1
            })
            .collect()
    };
    let delete_first = deletions(&placement.obsolete);
    let group_deletions: Vec<Vec<usize>> = placement
        .groups
        .iter()
        .map(|group| deletions(&group.obsolete))
        .collect();
    let batches = problems
        .take_all(waves::order(
            input,
            &placement,
            &ranges,
            group_deletions,
            &mut instances,
        ))
        .unwrap_or_default();
    let runtime: Vec<_> = placement
        .groups
        .iter()
        .map(|group| (&group.name, &group.runtime_packages))
        .collect();
    let compile = compile::plan_compilation(input, &placement.packages, &runtime);
    let taken = placement.new_addresses().map(|(_, _, ip, _)| ip);
    let compilation = problems.take_all(compile::workers(input, taken, compile.len()));
    let Some(compilation) = compilation else {
        return Err(problems);
    };
    let create = (0..instances.len())
        .filter(|i| !instances[*i].create.is_empty())
        .collect();
    let post_deploy = (0..instances.len()).filter(|i| runs_post_deploy(&instances[*i], &placement));
    let plan = DeploymentPlan {
        planner_version: PLANNER_VERSION,
        deployment: placement.deployment.clone(),
        compile,
        compilation,
        delete_first,
        create,
        max_threads: input.director.max_threads.max(1),
        batches,
        post_deploy: post_deploy.collect(),
        any_change: instances.iter().any(|i| i.action != Action::None),
        tags: placement.tags.clone(),
        warnings: placement.warnings.clone(),
        deprecations: placement.deprecations.clone(),
        instances,
    };
    let report = Report::new(&plan);
    problems.or((plan, report))
}

/// Deletes all instances of a deployment, by its rows alone. Whether failures are forgiven (`force`) is the
/// executor's: an ignored instance stops even a forced deletion.
///
/// # Errors
/// 190021 when an instance is ignored.
pub fn plan_deletion(
    deployment: &DeploymentName,
    current: &CurrentDeployment,
    max_threads: u32,
) -> Result<DeletionPlan, Problems> {
    if current.instances.iter().any(|row| row.ignore) {
        return Err(Problem::new(
            190021,
            format!(
                "You are trying to delete deployment '{deployment}', which contains ignored instance(s). Operation not \
                 allowed."
            ),
        )
        .hint("Unignore its instances first")
        .into());
    }
    let rows = current.instances.iter();
    Ok(DeletionPlan {
        planner_version: PLANNER_VERSION,
        deployment: deployment.clone(),
        instances: rows
            .map(|row| deletion(deployment, row, false, true))
            .collect(),
        max_threads: max_threads.max(1),
    })
}

fn runs_post_deploy(instance: &InstancePlan, placement: &Placement) -> bool {
    let dormant = || {
        let group = placement
            .groups
            .iter()
            .find(|g| g.name == instance.spec.name);
        group.is_some_and(|g| g.dormant)
    };
    instance.action != Action::Delete
        && instance.state == InstanceState::Started
        && !instance.ignore
        && (instance.spec.lifecycle == Lifecycle::Service || !dormant())
}

struct InstancePlanner<'a> {
    input: &'a PlanningInput,
    placement: &'a Placement,
    group: &'a PlacedGroup,
    instance: &'a PlacedInstance,
}

impl InstancePlanner<'_> {
    fn plan(&self, rendered: Option<&RenderedInstance>) -> InstancePlan {
        let (group, instance) = (self.group, self.instance);
        let row = instance.current.map(|c| &self.input.current.instances[c]);
        let mut spec = self.placement.spec(group, instance);
        if let Some(rendered) = rendered {
            spec.configuration_hash = rendered.configuration_hash.clone();
            spec.template_hashes = rendered.template_hashes.clone();
        }
        if let Some(old) = row.and_then(|row| row.spec.as_ref()) {
            if rendered.is_none() {
                spec.configuration_hash = old.configuration_hash.clone();
                spec.template_hashes = old.template_hashes.clone();
            }
            if old.configuration_hash == spec.configuration_hash {
                spec.rendered_templates_archive = old.rendered_templates_archive.clone();
            }
        }
        let changes = self.changes(row, &spec);
        let mut work = Work {
            director: &self.input.director,
            group,
            instance,
            row,
            changes: &changes,
            skip_drain: self.input.options.skip_drain.covers(&group.name),
            watch: group.update.update_watch_time,
        };
        work.watch = self.watch(false);
        let create = work.create();
        let update = work.update();
        let action = action(&work, row, &update);
        if create.is_empty() && !work.recreates() {
            // The VM stays, and with it what its agent reported about dynamic networks.
            for network in &instance.networks {
                if let Some(observed) = &network.observed {
                    spec.networks.insert(network.name.clone(), observed.clone());
                }
            }
        }
        InstancePlan {
            action,
            spec,
            state: instance.state,
            is_new: row.is_none(),
            ignore: instance.ignore,
            canary: false,
            cpi: instance.cpi.clone(),
            stemcell_cid: instance.stemcell_cid.clone(),
            stemcell_api_version: instance.stemcell_api_version,
            addresses: instance
                .networks
                .iter()
                .filter(|n| n.reservation != Reservation::None)
                .filter_map(|n| {
                    Some(AddressPlan {
                        network: n.name.clone(),
                        address: n.ip?,
                        is_static: matches!(n.reservation, Reservation::New { is_static: true }),
                        is_new: n.reservation != Reservation::Existing,
                    })
                })
                .collect(),
            released: instance.released.clone(),
            create,
            update,
            changes,
        }
    }

    fn watch(&self, canary: bool) -> WatchTime {
        if canary {
            self.group.update.canary_watch_time
        } else {
            self.group.update.update_watch_time
        }
    }

    fn changes(&self, row: Option<&CurrentInstance>, wanted: &InstanceSpec) -> Vec<Change> {
        if self.group.dormant || self.instance.ignore {
            return Vec::new();
        }
        match row {
            None => vec![Change::new(ChangeKind::State, "new instance")],
            Some(row) => Detection {
                input: self.input,
                placement: self.placement,
                group: self.group,
                instance: self.instance,
                row,
                wanted,
            }
            .changes(),
        }
    }
}

/// One word for all that is done.
fn action(work: &Work, row: Option<&CurrentInstance>, update: &[crate::step::Step]) -> Action {
    if update.is_empty() {
        return Action::None;
    }
    let Some(row) = row.filter(|row| row.spec.is_some() || !row.vms.is_empty()) else {
        return Action::Create;
    };
    let target = work.instance.state;
    match target {
        InstanceState::Detached if !row.vms.is_empty() => return Action::Detach,
        InstanceState::Stopped if row.state == InstanceState::Started => return Action::Stop,
        _ => {}
    }
    if work.is_refresh() {
        return Action::Refresh;
    }
    if work.recreates() || (work.needs_vm() && row.state != InstanceState::Detached) {
        return Action::Recreate;
    }
    if target == InstanceState::Started && row.state != InstanceState::Started {
        return Action::Start;
    }
    let only_restart = work.changes.iter().all(|c| c.kind == ChangeKind::Restart);
    if only_restart && work.instance.passing == Some(RequestedState::Restart) {
        return Action::Restart;
    }
    Action::Update
}

fn deletion(
    deployment: &DeploymentName,
    row: &CurrentInstance,
    skip_drain: bool,
    with_deployment: bool,
) -> InstancePlan {
    let stored = row.spec.clone();
    let spec = stored.unwrap_or_else(|| {
        bare_spec(
            deployment,
            &row.group,
            &row.uuid,
            row.index,
            row.az.as_ref(),
        )
    });
    InstancePlan {
        action: Action::Delete,
        changes: Vec::new(),
        spec,
        state: row.state,
        is_new: false,
        ignore: row.ignore,
        canary: false,
        cpi: row
            .vms
            .first()
            .map_or_else(|| CpiName::new(""), |vm| vm.cpi.clone()),
        stemcell_cid: StemcellCid::new(""),
        stemcell_api_version: 0,
        addresses: Vec::new(),
        released: row
            .addresses
            .iter()
            .map(|a| (a.network.clone(), a.address))
            .collect(),
        create: Vec::new(),
        update: steps::delete(row, skip_drain, with_deployment),
    }
}

/// What is known of an instance that never got a VM.
fn bare_spec(
    deployment: &DeploymentName,
    group: &InstanceGroupName,
    uuid: &InstanceUuid,
    index: u32,
    az: Option<&AzName>,
) -> InstanceSpec {
    InstanceSpec {
        deployment: deployment.clone(),
        name: group.clone(),
        index,
        id: uuid.clone(),
        az: az.cloned(),
        bootstrap: false,
        lifecycle: Lifecycle::Service,
        jobs: Vec::new(),
        networks: BTreeMap::new(),
        packages: BTreeMap::new(),
        dns_domain_name: String::new(),
        persistent_disk: 0,
        disks: Vec::new(),
        stemcell: StemcellRef {
            name: StemcellName::new(""),
            version: String::new(),
            os: String::new(),
        },
        vm_type: String::new(),
        vm_extensions: Vec::new(),
        vm_resources: None,
        cloud_properties: Hash::new(),
        env: Hash::new(),
        tags: Hash::new(),
        properties: BTreeMap::new(),
        links: BTreeMap::new(),
        configuration_hash: String::new(),
        template_hashes: BTreeMap::new(),
        rendered_templates_archive: None,
    }
}
