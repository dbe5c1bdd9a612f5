//! What is compiled, and on which VMs (§6).

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::{CpiName, InstanceGroupName, PackageName, StemcellCid};
use manifest::documents::{DefaultFor, GroupNetwork, Network, Problem, Problems, VmSpec};
use serde_json::{Map, Value as Json};

use crate::input::PlanningInput;
use crate::packages;
use crate::place::{Addresses, merged, network_settings};
use crate::placement::PackageNeed;
use crate::plan::{CompilationPlan, CompilePackage, Dependency, WorkerNetwork};
use crate::spec::{PackageRef, StemcellRef};

/// A group and the places of its packages among the needs.
pub(super) type RuntimePackages<'a> = (&'a InstanceGroupName, &'a BTreeMap<PackageName, usize>);

/// The packages to compile, dependencies first.
pub(super) fn plan_compilation(
    input: &PlanningInput,
    needs: &[PackageNeed],
    groups: &[RuntimePackages],
) -> Vec<CompilePackage> {
    let wanted = packages::to_compile(needs, groups.iter().map(|(_, runtime)| *runtime));
    let cpi = compilation_cpi(input);
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    let mut compile: Vec<CompilePackage> = Vec::new();
    // The list has dependencies before dependents already.
    for (at, need) in needs.iter().enumerate().filter(|(at, _)| wanted[*at]) {
        let Some(source) = &need.source else {
            continue; // Refused in phase one.
        };
        let dependencies = need
            .dependencies
            .iter()
            .filter_map(|d| match places.get(d) {
                Some(place) => Some(Dependency::Earlier(*place)),
                None => {
                    let (name, compiled) = (&needs[*d].name, needs[*d].compiled.as_ref()?);
                    Some(Dependency::Compiled(PackageRef {
                        name: name.clone(),
                        version: format!("{}.{}", needs[*d].fingerprint, compiled.build),
                        sha1: compiled.sha1.clone(),
                        blobstore_id: compiled.blob_id.clone(),
                    }))
                }
            });
        let (stemcell_cid, stemcell_api_version) = stemcell_row(input, &need.stemcell, &cpi);
        let users = groups
            .iter()
            .filter(|(_, runtime)| runtime.values().any(|r| *r == at));
        let package = CompilePackage {
            name: need.name.clone(),
            fingerprint: need.fingerprint.clone(),
            stemcell: need.stemcell.clone(),
            stemcell_cid,
            stemcell_api_version,
            source_blob: source.blob_id.clone(),
            source_sha1: source.sha1.clone(),
            dependency_key: need.dependency_key.clone(),
            dependencies: dependencies.collect(),
            needed_by_groups: users.map(|(name, _)| (*name).clone()).collect(),
        };
        // The same package of two releases is compiled once.
        let same = compile
            .iter()
            .position(|p| p.step_key() == package.step_key());
        match same {
            Some(place) => {
                compile[place]
                    .needed_by_groups
                    .extend(package.needed_by_groups);
                places.insert(at, place);
            }
            None => {
                places.insert(at, compile.len());
                compile.push(package);
            }
        }
    }
    compile
}

fn compilation_cpi(input: &PlanningInput) -> CpiName {
    let cloud = &input.desired.cloud;
    let az = cloud.compilation.az.as_ref().and_then(|az| cloud.az(az));
    az.and_then(|az| az.cpi.clone())
        .unwrap_or_else(|| CpiName::new(""))
}

fn stemcell_row(
    input: &PlanningInput,
    stemcell: &StemcellRef,
    cpi: &CpiName,
) -> (StemcellCid, u32) {
    let rows = input.catalogue.stemcells.iter();
    rows.filter(|s| s.name == stemcell.name && s.version == stemcell.version)
        .find(|s| s.cpi == *cpi)
        .map_or_else(
            || (StemcellCid::new(""), 0),
            |s| (s.cid.clone(), s.api_version),
        )
}

/// How compilation VMs are made; with networks for as many as can work at once, without the addresses in `taken`.
pub(super) fn workers(
    input: &PlanningInput,
    taken: impl IntoIterator<Item = IpAddr>,
    packages: usize,
) -> Result<CompilationPlan, Problems> {
    let desired = &input.desired;
    let config = &desired.cloud.compilation;
    let az = config.az.as_ref().and_then(|az| desired.cloud.az(az));
    let cpi = compilation_cpi(input);
    let mut cloud_properties =
        merged(desired, az, config.vm.as_ref(), &config.vm_extensions, &cpi)?;
    if config.vm.is_none() {
        cloud_properties.extend(config.cloud_properties.clone());
    }
    debug_assert!(
        !matches!(config.vm, Some(VmSpec::Type(ref t)) if desired.cloud.vm_type(t).is_none())
    );
    let wanted = (config.workers as usize).min(packages);
    Ok(CompilationPlan {
        workers: config.workers,
        reuse_vms: config.reuse_compilation_vms,
        orphan_workers: config.orphan_workers,
        az: config.az.clone(),
        cpi,
        network: config.network.clone(),
        cloud_properties,
        env: config.env.clone(),
        worker_networks: worker_networks(input, taken, wanted)?,
    })
}

/// Fewer than `wanted` when the network is nearly full; none at all is a problem.
fn worker_networks(
    input: &PlanningInput,
    taken: impl IntoIterator<Item = IpAddr>,
    wanted: usize,
) -> Result<Vec<WorkerNetwork>, Problem> {
    let config = &input.desired.cloud.compilation;
    let network = input
        .desired
        .cloud
        .network(&config.network)
        .expect("the cloud config's reader refuses unknown networks");
    let as_group = GroupNetwork {
        name: config.network.clone(),
        static_ips: None,
        default: vec![DefaultFor::Dns, DefaultFor::Gateway],
        nic_group: None,
    };
    let mut addresses = Addresses::new(input);
    for ip in taken {
        addresses.take(ip);
    }
    let mut workers = Vec::with_capacity(wanted);
    for n in 0..wanted {
        let address = match network {
            Network::Manual(manual) => {
                let Some(ip) = addresses.lowest_free(manual, config.az.as_ref()) else {
                    if n > 0 {
                        break;
                    }
                    return Err(Problem::new(
                        130011,
                        format!(
                            "Failed to reserve IP for 'compilation/{n} (0)' for manual network '{}': no more available",
                            config.network
                        ),
                    )
                    .hint("Compilation VMs need an address each: enlarge the network in the cloud config"));
                };
                addresses.take(ip);
                Some(ip)
            }
            Network::Dynamic(_) | Network::Vip(_) => None,
        };
        let settings = network_settings(network, &as_group, address, config.az.as_ref())?;
        let mut by_name = Map::new();
        by_name.insert(config.network.to_string(), settings);
        workers.push(WorkerNetwork {
            address,
            settings: Json::Object(by_name),
        });
    }
    Ok(workers)
}
