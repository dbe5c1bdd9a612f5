//! The persistent disk of an instance group: three spellings (§1.6).

use domain::DiskTypeName;
use serde::{Deserialize, Serialize};

use super::object::Object;
use super::{CloudConfig, Problem};

/// What the group asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersistentDisk {
    #[default]
    None,
    /// `persistent_disk`, MB.
    Size(u64),
    /// `persistent_disk_type`.
    Type(DiskTypeName),
    /// `persistent_disks`: attached, never mounted.
    Raw(Vec<NamedDisk>),
}

/// One entry of `persistent_disks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedDisk {
    pub name: String,
    #[serde(rename = "type")]
    pub disk_type: DiskTypeName,
}

impl PersistentDisk {
    /// Reads whichever of the three keys a group has.
    pub(super) fn read(
        group: &Object,
        name: &str,
        cloud: &CloudConfig,
    ) -> Result<PersistentDisk, Problem> {
        let fault = |code, text: String| Err(Problem::new(code, text));
        let size = group.optional_integer("persistent_disk", None)?;
        let disk_type = group.optional_string("persistent_disk_type")?;
        let disks = group.optional_array("persistent_disks")?;
        let given = [size.is_some(), disk_type.is_some(), disks.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return fault(
                140013,
                format!(
                    "Instance group '{name}' specifies more than one of the following keys: 'persistent_disk', \
                     'persistent_disk_type', and 'persistent_disks'. Choose one."
                ),
            );
        }
        if let Some(size) = size {
            return match u64::try_from(size) {
                Ok(0) => Ok(PersistentDisk::None),
                Ok(size) => Ok(PersistentDisk::Size(size)),
                Err(_) => fault(
                    140013,
                    format!(
                        "Instance group '{name}' references an invalid persistent disk size '{size}'"
                    ),
                ),
            };
        }
        if let Some(disk_type) = disk_type {
            let disk_type = DiskTypeName::new(disk_type);
            return if cloud.disk_type(&disk_type).is_some() {
                Ok(PersistentDisk::Type(disk_type))
            } else {
                fault(
                    140012,
                    format!(
                        "Instance group '{name}' references an unknown disk type '{disk_type}'"
                    ),
                )
            };
        }
        let Some(items) = disks else {
            return Ok(PersistentDisk::None);
        };
        let mut named: Vec<NamedDisk> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let path = format!("{}/{i}", group.path_of("persistent_disks"));
            let object = Object::of(item, &path)?;
            let disk_name = object.optional_string("name")?.unwrap_or_default();
            if disk_name.is_empty() {
                return fault(
                    140013,
                    format!(
                        "Instance group '{name}' persistent_disks's section contains a disk with no name"
                    ),
                );
            }
            let disk_type = DiskTypeName::new(object.string("type")?);
            if named.iter().any(|d| d.name == disk_name) {
                return fault(
                    140013,
                    format!(
                        "Instance group '{name}' persistent_disks's section contains duplicate names"
                    ),
                );
            }
            if cloud.disk_type(&disk_type).is_none() {
                return fault(
                    140012,
                    format!(
                        "Instance group '{name}' persistent_disks's section references an unknown disk type \
                         '{disk_type}'"
                    ),
                );
            }
            named.push(NamedDisk {
                name: disk_name,
                disk_type,
            });
        }
        Ok(PersistentDisk::Raw(named))
    }
}
