//! Cloud properties of a VM: AZ, VM type, extensions, the CPI's answer (§2.9).

use std::collections::BTreeSet;

use domain::CpiName;
use manifest::documents::{Az, Problem, VmResources, VmSpec};

use crate::catalogue::Hash;
use crate::input::{DesiredDeployment, PlanningInput};

/// What the director must ask the CPIs (`calculate_vm_cloud_properties`) before planning, each pair once.
pub fn needed_vm_resources(input: &PlanningInput) -> Vec<(CpiName, VmResources)> {
    let DesiredDeployment {
        manifest, cloud, ..
    } = &input.desired;
    let cpi_of = |az: Option<&domain::AzName>| {
        let cpi = az.and_then(|az| cloud.az(az)).and_then(|az| az.cpi.clone());
        cpi.unwrap_or_else(|| CpiName::new(""))
    };
    let mut needed = BTreeSet::new();
    for group in &manifest.instance_groups {
        if let VmSpec::Resources(resources) = &group.vm {
            match &group.azs {
                None => {
                    needed.insert((cpi_of(None), *resources));
                }
                Some(azs) => needed.extend(azs.iter().map(|az| (cpi_of(Some(az)), *resources))),
            }
        }
    }
    if let Some(VmSpec::Resources(resources)) = &cloud.compilation.vm {
        needed.insert((cpi_of(cloud.compilation.az.as_ref()), *resources));
    }
    needed.into_iter().collect()
}

/// Shallow merge; later ones win.
pub(crate) fn merged(
    desired: &DesiredDeployment,
    az: Option<&Az>,
    vm: Option<&VmSpec>,
    extensions: &[String],
    cpi: &CpiName,
) -> Result<Hash, Problem> {
    let mut properties = az.map(|az| az.cloud_properties.clone()).unwrap_or_default();
    if let Some(VmSpec::Type(name)) = vm
        && let Some(vm_type) = desired.cloud.vm_type(name)
    {
        properties.extend(vm_type.cloud_properties.clone());
    }
    for name in extensions {
        if let Some(extension) = desired.cloud.vm_extension(name) {
            properties.extend(extension.cloud_properties.clone());
        }
    }
    if let Some(VmSpec::Resources(resources)) = vm {
        properties.extend(calculated(desired, cpi, resources)?.clone());
    }
    Ok(properties)
}

/// The CPI's answer, which the director put into the input.
fn calculated<'a>(
    desired: &'a DesiredDeployment,
    cpi: &CpiName,
    resources: &VmResources,
) -> Result<&'a Hash, Problem> {
    desired
        .calculated
        .iter()
        .find(|c| c.cpi == *cpi && c.resources == *resources)
        .map(|c| &c.cloud_properties)
        .ok_or_else(|| {
            Problem::new(
                100,
                format!(
                    "CPI '{cpi}' was not asked for the cloud properties of vm_resources (cpu {}, ram {}, disk {})",
                    resources.cpu, resources.ram, resources.ephemeral_disk_size
                ),
            )
        })
}
