//! Cloud configs (§1.8).

use std::collections::BTreeSet;

use domain::{AzName, CpiName, DiskTypeName, NetworkName, VmTypeName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::compilation::CompilationContext;
use super::network_reading::read_networks;
use super::object::Object;
use super::{CompilationConfig, Network, Problem, Problems, ReadOptions};

/// All cloud configs of a deployment, merged. `cloud_properties` may hold `((references))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudConfig {
    pub azs: Vec<Az>,
    pub vm_types: Vec<VmType>,
    pub vm_extensions: Vec<VmExtension>,
    pub disk_types: Vec<DiskType>,
    pub networks: Vec<Network>,
    pub compilation: CompilationConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Az {
    pub name: AzName,
    pub cloud_properties: Map<String, Json>,
    pub cpi: Option<CpiName>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmType {
    pub name: VmTypeName,
    pub cloud_properties: Map<String, Json>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmExtension {
    pub name: String,
    pub cloud_properties: Map<String, Json>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskType {
    pub name: DiskTypeName,
    /// MB.
    pub disk_size: u64,
    pub cloud_properties: Map<String, Json>,
}

/// Sections that are lists in each config and are put one after another.
const LISTS: [&str; 5] = ["azs", "vm_types", "disk_types", "networks", "vm_extensions"];

/// One document out of the named cloud configs (§1.11). Keys it does not know are dropped.
///
/// # Errors
/// 570000 when `compilation` comes twice.
pub fn merge_cloud_configs(configs: &[Json]) -> Result<Json, Problem> {
    let mut merged = Map::new();
    for config in configs {
        for key in LISTS {
            let Some(section) = config.get(key) else {
                continue;
            };
            match (merged.get_mut(key), section) {
                (Some(Json::Array(all)), Json::Array(more)) => all.extend(more.iter().cloned()),
                // A section that is no list is kept, so that reading it gives the right complaint.
                _ => {
                    merged.insert(key.to_string(), section.clone());
                }
            }
        }
        if let Some(compilation) = config.get("compilation") {
            if merged.contains_key("compilation") {
                return Err(Problem::new(
                    570000,
                    "Cloud config 'compilation' key cannot be defined in multiple cloud configs.",
                ));
            }
            merged.insert("compilation".into(), compilation.clone());
        }
    }
    Ok(Json::Object(merged))
}

impl CloudConfig {
    /// Reads a merged cloud config.
    ///
    /// # Errors
    /// All faults.
    pub fn read(value: &Json, options: &ReadOptions) -> Result<CloudConfig, Problems> {
        let object = Object::of(value, "")?;
        let mut problems = Problems::default();
        let azs = read_list(&mut problems, &object, "azs", |az: &Object| {
            Ok((
                az.string("name")?,
                Az {
                    name: AzName::new(az.string("name")?),
                    cloud_properties: az.hash("cloud_properties")?,
                    cpi: az.optional_string("cpi")?.map(CpiName::new),
                },
            ))
        });
        let azs = unique(&mut problems, azs, 190017, "az");
        let networks = problems
            .take_all(read_networks(&object, &azs, options))
            .unwrap_or_default();
        let vm_types = read_list(&mut problems, &object, "vm_types", |item| {
            Ok((
                item.string("name")?,
                VmType {
                    name: VmTypeName::new(item.string("name")?),
                    cloud_properties: item.hash("cloud_properties")?,
                },
            ))
        });
        let vm_types = unique(&mut problems, vm_types, 190004, "vm type");
        let vm_extensions = read_list(&mut problems, &object, "vm_extensions", |item| {
            Ok((
                item.string("name")?,
                VmExtension {
                    name: item.string("name")?,
                    cloud_properties: item.hash("cloud_properties")?,
                },
            ))
        });
        let vm_extensions = unique(&mut problems, vm_extensions, 190005, "vm extension");
        let disk_types = read_list(&mut problems, &object, "disk_types", read_disk_type);
        let disk_types = unique(&mut problems, disk_types, 190013, "disk type");
        let parts = CompilationContext {
            azs: &azs,
            networks: &networks,
            vm_types: &vm_types,
            vm_extensions: &vm_extensions,
        };
        let compilation = match object.raw("compilation") {
            None => {
                problems.push(object.missing("compilation"));
                None
            }
            Some(value) => {
                let compilation = CompilationConfig::read(value, "/compilation", &parts);
                // Beside faulty networks its reference to one means nothing.
                match compilation {
                    Err(_) if !problems.0.is_empty() => None,
                    result => problems.take(result),
                }
            }
        };
        match compilation {
            Some(compilation) => problems.or(CloudConfig {
                azs,
                vm_types,
                vm_extensions,
                disk_types,
                networks,
                compilation,
            }),
            None => Err(problems),
        }
    }

    /// The AZ of a name.
    pub fn az(&self, name: &AzName) -> Option<&Az> {
        self.azs.iter().find(|az| az.name == *name)
    }

    /// The VM type of a name.
    pub fn vm_type(&self, name: &VmTypeName) -> Option<&VmType> {
        self.vm_types.iter().find(|t| t.name == *name)
    }

    /// The VM extension of a name.
    pub fn vm_extension(&self, name: &str) -> Option<&VmExtension> {
        self.vm_extensions.iter().find(|e| e.name == name)
    }

    /// The disk type of a name.
    pub fn disk_type(&self, name: &DiskTypeName) -> Option<&DiskType> {
        self.disk_types.iter().find(|t| t.name == *name)
    }

    /// The network of a name.
    pub fn network(&self, name: &NetworkName) -> Option<&Network> {
        self.networks.iter().find(|n| n.name() == name)
    }
}

fn read_disk_type(item: &Object) -> Result<(String, DiskType), Problem> {
    let name = item.string("name")?;
    let size = item.integer("disk_size", None)?;
    let disk_size = u64::try_from(size).map_err(|_| {
        Problem::new(
            200001,
            format!("Disk types '{name}' references an invalid persistent disk size '{size}'"),
        )
        .at(item.path_of("disk_size"))
    })?;
    let disk_type = DiskType {
        name: DiskTypeName::new(name.clone()),
        disk_size,
        cloud_properties: item.hash("cloud_properties")?,
    };
    Ok((name, disk_type))
}

fn read_list<T>(
    problems: &mut Problems,
    object: &Object,
    key: &str,
    read: impl Fn(&Object) -> Result<(String, T), Problem>,
) -> Vec<(String, T)> {
    let mut items = Vec::new();
    for (i, item) in problems
        .take(object.array(key))
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let path = format!("/{key}/{i}");
        items.extend(problems.take(Object::of(item, &path).and_then(|o| read(&o))));
    }
    items
}

fn unique<T>(problems: &mut Problems, items: Vec<(String, T)>, code: u32, what: &str) -> Vec<T> {
    let mut names = BTreeSet::new();
    let mut kept = Vec::with_capacity(items.len());
    for (name, item) in items {
        if names.contains(&name) {
            problems.push(Problem::new(
                code,
                format!("Duplicate {what} name '{name}'"),
            ));
        } else {
            names.insert(name);
            kept.push(item);
        }
    }
    kept
}
