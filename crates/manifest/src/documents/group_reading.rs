//! Reading one entry of `instance_groups`, in the original's order (§1.6).

use std::collections::BTreeMap;

use domain::{AzName, InstanceGroupName, JobName, ReleaseName, VmTypeName};
use serde_json::{Map, Value as Json, json};

use super::group::{
    InstanceGroup, Job, Lifecycle, MigratedFrom, RequestedState, VmResources, VmSpec,
};
use super::object::Object;
use super::ruby::{interpolated, shown};
use super::{
    CloudConfig, Features, GroupNetwork, PersistentDisk, Problem, Problems, ReadOptions,
    ReleaseEntry, StemcellEntry, UpdateConfig,
};

const STATES: &str = "started, stopped, detached, recreate, restart";

/// What a group refers to.
pub(super) struct GroupContext<'a> {
    pub cloud: &'a CloudConfig,
    pub options: &'a ReadOptions,
    pub stemcells: &'a [StemcellEntry],
    pub releases: &'a [ReleaseEntry],
    /// `None` when the global block is faulty: then the group's is not read.
    pub update: Option<&'a UpdateConfig>,
    pub properties: &'a Map<String, Json>,
    pub features: Features,
}

impl InstanceGroup {
    pub(super) fn read(
        value: &Json,
        path: &str,
        context: &GroupContext,
    ) -> Result<InstanceGroup, Problems> {
        let object = Object::of(value, path)?;
        let name = object.string("name")?;
        let group = Reader {
            object,
            path,
            name: &name,
            context,
        };
        let mut problems = Problems::default();
        let lifecycle = problems.take(group.lifecycle());
        problems.take(group.refused_keys());
        let jobs = problems.take_all(group.jobs());
        let disk = problems.take(PersistentDisk::read(&object, &name, context.cloud).map_err(
            |p| {
                if p.path.is_empty() { p.at(path) } else { p }
            },
        ));
        let stemcell = problems.take(group.stemcell());
        let vm = problems.take(group.vm());
        let vm_extensions = problems.take(group.vm_extensions());
        let env = problems.take(group.env());
        let properties = problems.take(object.hash("properties"));
        let update = match context.update {
            None => None,
            Some(global) => problems.take(global.read_override(
                object.raw("update"),
                &object.path_of("update"),
                context.options,
            )),
        };
        let networks = problems.take(GroupNetwork::read_all(&object, &name, context.cloud));
        let azs = problems.take(group.azs(networks.as_deref().unwrap_or(&[])));
        let migrated_from =
            problems.take(group.migrated_from(azs.as_ref().and_then(|a| a.as_ref())));
        let state = problems.take(group.state());
        let instance_states = problems.take(group.instance_states());
        let instances = problems.take(group.instances(networks.as_deref().unwrap_or(&[])));
        let tags = problems.take(object.hash("tags"));
        if context.update.is_none() {
            return Err(problems);
        }
        let read = (|| {
            Some(InstanceGroup {
                name: InstanceGroupName::new(name.clone()),
                lifecycle: lifecycle?,
                instances: instances?,
                azs: azs?,
                jobs: jobs?,
                vm: vm?,
                vm_extensions: vm_extensions?,
                stemcell: stemcell?,
                disk: disk?,
                networks: networks?,
                update: update?,
                migrated_from: migrated_from?,
                env: env?,
                properties: merge(context.properties, &properties?),
                tags: tags?,
                state: state?,
                instance_states: instance_states?,
            })
        })();
        match read {
            Some(group) => problems.or(group),
            None => Err(problems),
        }
    }
}

impl VmResources {
    /// All three numbers are required.
    pub(super) fn read(value: &Json, path: &str) -> Result<VmResources, Problem> {
        let object = Object::of(value, path)?;
        Ok(VmResources {
            cpu: object.integer("cpu", None)?,
            ram: object.integer("ram", None)?,
            ephemeral_disk_size: object.integer("ephemeral_disk_size", None)?,
        })
    }
}

impl RequestedState {
    /// Reads the name of a state.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "started" => Some(RequestedState::Started),
            "stopped" => Some(RequestedState::Stopped),
            "detached" => Some(RequestedState::Detached),
            "recreate" => Some(RequestedState::Recreate),
            "restart" => Some(RequestedState::Restart),
            _ => None,
        }
    }
}

/// `upper` over `lower`, maps merged recursively.
fn merge(lower: &Map<String, Json>, upper: &Map<String, Json>) -> Map<String, Json> {
    let mut merged = lower.clone();
    for (key, value) in upper {
        match (merged.get_mut(key), value) {
            (Some(Json::Object(old)), Json::Object(new)) => {
                let both = merge(old, new);
                *old = both;
            }
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    merged
}

struct Reader<'a> {
    object: Object<'a>,
    path: &'a str,
    name: &'a str,
    context: &'a GroupContext<'a>,
}

impl<'a> Reader<'a> {
    fn fault<T>(&self, code: u32, text: String) -> Result<T, Problem> {
        Err(Problem::new(code, text).at(self.path))
    }

    fn lifecycle(&self) -> Result<Lifecycle, Problem> {
        match self.object.optional_string("lifecycle")?.as_deref() {
            None | Some("service") => Ok(Lifecycle::Service),
            Some("errand") => Ok(Lifecycle::Errand),
            Some(other) => self.fault(
                140011,
                format!(
                    "Invalid lifecycle '{other}' for '{}', valid lifecycle profiles are: service, errand",
                    self.name
                ),
            ),
        }
    }

    fn refused_keys(&self) -> Result<(), Problem> {
        let name = self.name;
        if self.object.has("template") || self.object.has("templates") {
            return self.fault(
                140024,
                format!(
                    "Instance group '{name}' specifies template or templates. This is no longer supported, please \
                     use jobs instead"
                ),
            );
        }
        if self.object.has("resource_pool") {
            return self.fault(
                140025,
                "Instance groups no longer support resource_pool, please use 'vm_type' or 'vm_resources' keys".into(),
            );
        }
        if self.object.has("persistent_disk_pool") {
            return self.fault(
                140027,
                "`persistent_disk_pool` is not supported as an `instance_groups` key. Please use \
                 `persistent_disk_type` instead."
                    .into(),
            );
        }
        Ok(())
    }

    fn jobs(&self) -> Result<Vec<Job>, Problems> {
        let name = self.name;
        let items = match self.object.raw("jobs") {
            None | Some(Json::Null) => {
                // The v1 key has its own complaint.
                if self.object.has("template") || self.object.has("templates") {
                    return Ok(Vec::new());
                }
                return Err(Problem::new(
                    40001,
                    format!("Instance group '{name}' does not specify jobs key"),
                )
                .at(self.path)
                .into());
            }
            Some(_) => self.object.array("jobs")?,
        };
        let mut problems = Problems::default();
        let mut jobs: Vec<Job> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let path = format!("{}/jobs/{i}", self.path);
            let Some(job) = problems.take(self.job(item, &path)) else {
                continue;
            };
            if jobs.iter().any(|j| j.name == job.name) {
                problems.push(
                    Problem::new(
                        140010,
                        format!(
                            "Colocated job '{}' is already added to the instance group '{name}'",
                            job.name
                        ),
                    )
                    .at(path),
                );
            }
            jobs.push(job);
        }
        problems.or(jobs)
    }

    fn job(&self, item: &Json, path: &str) -> Result<Job, Problem> {
        let object = Object::of(item, path)?;
        let name = JobName::new(object.string("name")?);
        let release = ReleaseName::new(object.string("release")?);
        if !self.context.releases.iter().any(|r| r.name == release) {
            return Err(Problem::new(
                140002,
                format!(
                    "Job '{name}' (instance group '{}') references an unknown release '{release}'",
                    self.name
                ),
            )
            .at(path)
            .hint("Add it to the manifest's 'releases'"));
        }
        Ok(Job {
            name,
            release,
            properties: object.optional_hash("properties")?.cloned(),
            provides: object.hash("provides")?,
            consumes: object.hash("consumes")?,
            custom_provider_definitions: object.array("custom_provider_definitions")?.to_vec(),
        })
    }

    fn stemcell(&self) -> Result<String, Problem> {
        let alias = self.object.string("stemcell")?;
        if self.context.stemcells.iter().any(|s| s.alias == alias) {
            return Ok(alias);
        }
        self.fault(
            140005,
            format!(
                "Instance group '{}' references an unknown stemcell '{alias}'",
                self.name
            ),
        )
    }

    fn vm(&self) -> Result<VmSpec, Problem> {
        let name = self.name;
        let vm_type = self.object.optional_string("vm_type")?;
        let resources = self.object.optional_hash("vm_resources")?;
        match (vm_type, resources) {
            (None, None) => self.fault(
                140022,
                format!(
                    "Instance group '{name}' is missing either 'vm_type' or 'vm_resources' section."
                ),
            ),
            (Some(_), Some(_)) => self.fault(
                140022,
                format!(
                    "Instance group '{name}' can only specify 'vm_type' or 'vm_resources' keys."
                ),
            ),
            (Some(vm_type), None) => {
                let vm_type = VmTypeName::new(vm_type);
                if self.context.cloud.vm_type(&vm_type).is_some() {
                    Ok(VmSpec::Type(vm_type))
                } else {
                    self.fault(
                        140004,
                        format!(
                            "Instance group '{name}' references an unknown vm type '{vm_type}'"
                        ),
                    )
                }
            }
            (None, Some(map)) => {
                let value = Json::Object(map.clone());
                Ok(VmSpec::Resources(VmResources::read(
                    &value,
                    &self.object.path_of("vm_resources"),
                )?))
            }
        }
    }

    fn vm_extensions(&self) -> Result<Vec<String>, Problem> {
        let mut names = Vec::new();
        for item in self.object.array("vm_extensions")? {
            let name = interpolated(item);
            if self.context.cloud.vm_extension(&name).is_none() {
                return self.fault(
                    100,
                    format!("The vm_extension '{name}' has not been configured in cloud-config."),
                );
            }
            names.push(name);
        }
        Ok(names)
    }

    fn env(&self) -> Result<Map<String, Json>, Problem> {
        let mut env = self.object.hash("env")?;
        let Some(tmpfs) = self.context.features.use_tmpfs_config else {
            return Ok(env);
        };
        for keys in [
            ["bosh", "job_dir", "tmpfs"].as_slice(),
            &["bosh", "agent", "settings", "tmpfs"],
        ] {
            let (last, parents) = keys.split_last().expect("the lists above are not empty");
            let mut at = Some(&mut env);
            for key in parents {
                // What is there and no map is left as the operator wrote it.
                at =
                    at.and_then(|map| map.entry(*key).or_insert_with(|| json!({})).as_object_mut());
            }
            if let Some(map) = at {
                map.entry(*last).or_insert(Json::Bool(tmpfs));
            }
        }
        Ok(env)
    }

    fn azs(&self, networks: &[GroupNetwork]) -> Result<Option<Vec<AzName>>, Problem> {
        let name = self.name;
        let items = self.object.optional_array("azs")?;
        let wanted: Vec<Option<AzName>> = match items {
            None => vec![None],
            Some(items) => items
                .iter()
                .map(|az| Some(AzName::new(interpolated(az))))
                .collect(),
        };
        for network in networks {
            let covered = self.context.cloud.network(&network.name);
            let covers = |az: &Option<AzName>| covered.is_none_or(|n| n.covers(az.as_ref()));
            if !wanted.iter().all(covers) {
                return Err(Problem::new(
                    150006,
                    format!(
                        "Instance group '{name}' must specify availability zone that matches availability zones of \
                         network '{}'",
                        network.name
                    ),
                )
                .at(self.object.path_of("azs")));
            }
        }
        let Some(items) = items else {
            return Ok(None);
        };
        if items.is_empty() {
            return self.fault(
                140017,
                format!("Instance group '{name}' has empty availability zones"),
            );
        }
        let mut azs = Vec::with_capacity(items.len());
        for item in items {
            let Json::String(az) = item else {
                return self.fault(
                    140016,
                    format!(
                        "Instance group '{name}' has invalid availability zone '{}', string expected",
                        interpolated(item)
                    ),
                );
            };
            let az = AzName::new(az.clone());
            if self.context.cloud.az(&az).is_none() {
                return self.fault(
                    140018,
                    format!("Instance group '{name}' references unknown availability zone '{az}'"),
                );
            }
            if !azs.contains(&az) {
                azs.push(az);
            }
        }
        Ok(Some(azs))
    }

    fn migrated_from(&self, azs: Option<&Vec<AzName>>) -> Result<Vec<MigratedFrom>, Problem> {
        let mut all = Vec::new();
        for (i, item) in self.object.array("migrated_from")?.iter().enumerate() {
            let path = format!("{}/{i}", self.object.path_of("migrated_from"));
            let object = Object::of(item, &path)?;
            let from = MigratedFrom {
                name: InstanceGroupName::new(object.string("name")?),
                az: object.optional_string("az")?.map(AzName::new),
            };
            if let Some(az) = &from.az
                && !azs.is_some_and(|azs| azs.contains(az))
            {
                return Err(Problem::new(
                    190018,
                    format!(
                        "Instance group '{}' specified for migration to instance group '{}' refers to availability \
                         zone '{az}'. Az '{az}' is not in the list of availability zones of instance group '{}'.",
                        from.name, self.name, self.name
                    ),
                )
                .at(path));
            }
            all.push(from);
        }
        Ok(all)
    }

    fn state(&self) -> Result<Option<RequestedState>, Problem> {
        let Some(text) = self.object.optional_string("state")? else {
            return Ok(None);
        };
        match RequestedState::parse(&text) {
            Some(state) => Ok(Some(state)),
            None => self.fault(
                140008,
                format!(
                    "Invalid state '{text}' for '{}', valid states are: {STATES}",
                    self.name
                ),
            ),
        }
    }

    fn instance_states(&self) -> Result<BTreeMap<String, RequestedState>, Problem> {
        let mut states = BTreeMap::new();
        for (key, value) in self.object.hash("instance_states")? {
            let Some(state) = value.as_str().and_then(RequestedState::parse) else {
                let text = value.as_str().map_or_else(|| shown(&value), str::to_string);
                return self.fault(
                    140007,
                    format!(
                        "Invalid state '{text}' for '{}/{key}', valid states are: {STATES}",
                        self.name
                    ),
                );
            };
            states.insert(key, state);
        }
        Ok(states)
    }

    fn instances(&self, networks: &[GroupNetwork]) -> Result<u32, Problem> {
        let count = self.object.integer("instances", None)?;
        for network in networks {
            let allocated = network.static_ips.as_ref().map(Vec::len);
            if let Some(allocated) = allocated
                && allocated as i64 != count
            {
                return self.fault(
                    150002,
                    format!(
                        "Instance group '{}' has {count} instances but was allocated {allocated} static IPs in \
                         network '{}'",
                        self.name, network.name
                    ),
                );
            }
        }
        // A negative number passes the original's checks and makes no instance.
        Ok(u32::try_from(count).unwrap_or(0))
    }
}
