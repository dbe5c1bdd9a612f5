//! `compilation` of a cloud config (§1.8.4).

use domain::{AzName, NetworkName, VmTypeName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::object::Object;
use super::ruby::interpolated;
use super::{Az, Network, Problem, VmExtension, VmResources, VmSpec, VmType};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompilationConfig {
    /// At least 1.
    pub workers: u32,
    pub network: NetworkName,
    pub az: Option<AzName>,
    pub vm: Option<VmSpec>,
    /// Raw ones, when there is neither VM type nor resources.
    pub cloud_properties: Map<String, Json>,
    pub vm_extensions: Vec<String>,
    pub reuse_compilation_vms: bool,
    pub orphan_workers: bool,
    pub env: Map<String, Json>,
}

/// What the block may refer to.
pub(super) struct CompilationContext<'a> {
    pub azs: &'a [Az],
    pub networks: &'a [Network],
    pub vm_types: &'a [VmType],
    pub vm_extensions: &'a [VmExtension],
}

impl CompilationConfig {
    pub(super) fn read(
        value: &Json,
        path: &str,
        cloud: &CompilationContext,
    ) -> Result<CompilationConfig, Problem> {
        let object = Object::of(value, path)?;
        let fault = |code, text: String| Err(Problem::new(code, text).at(path));
        let workers = object.integer("workers", Some(1))?;
        let network_name = object.string("network")?;
        let Some(network) = cloud
            .networks
            .iter()
            .find(|n| n.name() == network_name.as_str())
        else {
            return fault(
                120001,
                format!("Compilation config references an unknown network '{network_name}'"),
            );
        };
        let az = object.optional_string("az")?.map(AzName::new);
        if let Some(az) = &az
            && !cloud.azs.iter().any(|known| known.name == *az)
        {
            let known: Vec<&str> = cloud.azs.iter().map(|az| az.name.as_str()).collect();
            return fault(
                120002,
                format!(
                    "Compilation config references unknown az '{az}'. Known azs are: [{}]",
                    known.join(", ")
                ),
            );
        }
        if !network.covers(az.as_ref()) {
            return fault(
                150006,
                format!(
                    "Compilation config refers to az '{}' but network '{network_name}' has no matching subnet(s).",
                    az.as_ref().map_or("", AzName::as_str)
                ),
            );
        }
        let vm_type = object.optional_string("vm_type")?;
        let resources = match object.optional_hash("vm_resources")? {
            Some(map) if !map.is_empty() => Some(VmResources::read(
                &Json::Object(map.clone()),
                &object.path_of("vm_resources"),
            )?),
            _ => None,
        };
        let cloud_properties = object.hash("cloud_properties")?;
        let given = [
            vm_type.is_some(),
            resources.is_some(),
            !cloud_properties.is_empty(),
        ];
        if given.iter().filter(|given| **given).count() > 1 {
            return fault(
                120007,
                "Compilation config specifies more than one of 'vm_type', 'vm_resources', or 'cloud_properties', \
                 only one is allowed."
                    .into(),
            );
        }
        let vm = match (vm_type, resources) {
            (Some(name), _) => {
                if !cloud.vm_types.iter().any(|t| t.name == name.as_str()) {
                    let known: Vec<&str> = cloud.vm_types.iter().map(|t| t.name.as_str()).collect();
                    return fault(
                        120003,
                        format!(
                            "Compilation config references unknown vm type '{name}'. Known vm types are: {}",
                            known.join(", ")
                        ),
                    );
                }
                Some(VmSpec::Type(VmTypeName::new(name)))
            }
            (None, Some(resources)) => Some(VmSpec::Resources(resources)),
            (None, None) => None,
        };
        let mut vm_extensions = Vec::new();
        for item in object.array("vm_extensions")? {
            let name = interpolated(item);
            if vm.is_none() {
                return fault(
                    120007,
                    format!(
                        "Compilation config is using vm extension '{name}' and must configure a vm type or \
                         vm_resources block."
                    ),
                );
            }
            if !cloud.vm_extensions.iter().any(|e| e.name == name) {
                let known: Vec<&str> = cloud
                    .vm_extensions
                    .iter()
                    .map(|e| e.name.as_str())
                    .collect();
                return fault(
                    120005,
                    format!(
                        "Compilation config references unknown vm extension '{name}'. Known vm extensions are: {}",
                        known.join(", ")
                    ),
                );
            }
            vm_extensions.push(name);
        }
        Ok(CompilationConfig {
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            network: NetworkName::new(network_name),
            az,
            vm,
            cloud_properties,
            vm_extensions,
            reuse_compilation_vms: object.boolean("reuse_compilation_vms")?.unwrap_or(false),
            orphan_workers: object.boolean("orphan_workers")?.unwrap_or(false),
            env: object.hash("env")?,
        })
    }
}
