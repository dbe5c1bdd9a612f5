//! The state file beside the manifest: what `create-env` made, in the original's format (spec cli §17.2). It is saved,
//! durably, after every change, so that whatever the infrastructure holds is known to the next run.

use super::read::sorted;
use crate::error::{Error, Result, Within};
use crate::json;
use durable::Mode;
use manifest::yaml;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Lists are absent (null) until something was in them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    pub director_id: String,
    pub installation_id: String,
    pub current_vm_cid: String,
    pub current_stemcell_id: String,
    pub current_disk_id: String,
    pub current_release_ids: Option<Vec<String>>,
    pub current_manifest_sha: String,
    pub disks: Option<Vec<DiskRecord>>,
    pub stemcells: Option<Vec<StemcellRecord>>,
    pub releases: Option<Vec<ReleaseRecord>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskRecord {
    pub id: String,
    pub cid: String,
    /// MiB.
    pub size: i64,
    pub cloud_properties: Map<String, Json>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StemcellRecord {
    pub id: String,
    pub name: String,
    pub version: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub api_version: u32,
    pub cid: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseRecord {
    pub id: String,
    pub name: String,
    pub version: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// The file and its content.
pub struct State {
    path: PathBuf,
    pub data: Data,
}

impl State {
    /// Where the state of a manifest is.
    pub fn path_of(manifest: &Path, given: Option<&str>) -> PathBuf {
        match given.filter(|given| !given.is_empty()) {
            Some(given) => PathBuf::from(given),
            None => {
                let name = manifest.file_stem().unwrap_or_default().to_string_lossy();
                manifest.with_file_name(format!("{name}-state.json"))
            }
        }
    }

    /// Reads the file, or begins one; a new director id is saved at once.
    pub fn load(path: &Path) -> Result<Self> {
        let data = match fs_err::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| Error::message(error.to_string()))
                .within(|| format!("Unmarshalling deployment state file '{}'", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Data::default()),
            Err(error) => Err(Error::from(error))
                .within(|| format!("Reading deployment state file '{}'", path.display())),
        }
        .within(|| "Loading deployment state")?;
        let mut state = State {
            path: path.to_owned(),
            data,
        };
        if state.data.director_id.is_empty() {
            state.data.director_id = new_id();
            state.save()?;
        }
        Ok(state)
    }

    /// Takes an old `bosh-deployments.yml` beside the manifest over and deletes it. Its path, if there was one.
    pub fn migrate(path: &Path, manifest: &Path) -> Result<Option<PathBuf>> {
        let legacy = manifest.with_file_name("bosh-deployments.yml");
        if !legacy.is_file() {
            return Ok(None);
        }
        let migrated = || -> Result<()> {
            let text = fs_err::read_to_string(&legacy)?;
            State {
                path: path.to_owned(),
                data: migrated(&text)?,
            }
            .save()?;
            Ok(fs_err::remove_file(&legacy)?)
        };
        migrated().within(|| "Migrating legacy deployment state file")?;
        Ok(Some(legacy))
    }

    pub fn save(&self) -> Result<()> {
        let mut data = self.data.clone();
        for disk in data.disks.iter_mut().flatten() {
            if let Json::Object(map) =
                sorted(Json::Object(std::mem::take(&mut disk.cloud_properties)))
            {
                disk.cloud_properties = map;
            }
        }
        let text = json::to_text(&data).map_err(|error| Error::message(error.to_string()))?;
        durable::replace(&self.path, text.as_bytes(), Mode::KeepOr(0o644))
            .within(|| format!("Writing deployment state file '{}'", self.path.display()))
    }

    pub fn remove(&self) -> Result<()> {
        fs_err::remove_file(&self.path).within(|| {
            format!(
                "Could not delete deployment state file {}",
                self.path.display()
            )
        })
    }

    /// The folder's name below `~/.bosh/installations`.
    pub fn installation_id(&mut self) -> Result<String> {
        if self.data.installation_id.is_empty() {
            self.data.installation_id = new_id();
            self.save()?;
        }
        Ok(self.data.installation_id.clone())
    }

    // --- VM
    pub fn vm(&self) -> Option<&str> {
        Some(self.data.current_vm_cid.as_str()).filter(|cid| !cid.is_empty())
    }

    pub fn set_vm(&mut self, cid: &str) -> Result<()> {
        self.data.current_vm_cid = cid.to_owned();
        self.save()
    }

    /// The VM is gone, and with it the use of its stemcell.
    pub fn vm_gone(&mut self) -> Result<()> {
        self.data.current_vm_cid.clear();
        self.data.current_stemcell_id.clear();
        self.save()
    }

    // --- stemcells
    pub fn stemcell(&self, name: &str, version: &str) -> Option<&StemcellRecord> {
        let mut known = self.data.stemcells.iter().flatten();
        known.find(|known| known.name == name && known.version == version)
    }

    pub fn current_stemcell(&self) -> Option<&StemcellRecord> {
        let id = &self.data.current_stemcell_id;
        let mut known = self.data.stemcells.iter().flatten();
        known.find(|known| !id.is_empty() && known.id == *id)
    }

    pub fn unused_stemcells(&self) -> Vec<StemcellRecord> {
        let id = &self.data.current_stemcell_id;
        let known = self.data.stemcells.iter().flatten();
        known.filter(|known| known.id != *id).cloned().collect()
    }

    pub fn add_stemcell(&mut self, mut record: StemcellRecord) -> Result<StemcellRecord> {
        record.id = new_id();
        let known = self.data.stemcells.get_or_insert_default();
        known.push(record.clone());
        self.save()?;
        Ok(record)
    }

    pub fn use_stemcell(&mut self, record: &StemcellRecord) -> Result<()> {
        self.data.current_stemcell_id = record.id.clone();
        self.save()
    }

    pub fn stemcell_gone(&mut self, record: &StemcellRecord) -> Result<()> {
        let known = self.data.stemcells.get_or_insert_default();
        known.retain(|known| known.id != record.id);
        if self.data.current_stemcell_id == record.id {
            self.data.current_stemcell_id.clear();
        }
        self.save()
    }

    // --- disks
    pub fn current_disk(&self) -> Option<&DiskRecord> {
        let id = &self.data.current_disk_id;
        let mut known = self.data.disks.iter().flatten();
        known.find(|known| !id.is_empty() && known.id == *id)
    }

    pub fn unused_disks(&self) -> Vec<DiskRecord> {
        let current = self.current_disk().map(|disk| disk.id.clone());
        let known = self.data.disks.iter().flatten();
        known
            .filter(|known| current.as_ref() != Some(&known.id))
            .cloned()
            .collect()
    }

    pub fn disk_cids(&self) -> Vec<String> {
        let known = self.data.disks.iter().flatten();
        known.map(|disk| disk.cid.clone()).collect()
    }

    /// Records a disk; one that is known already keeps its record.
    pub fn add_disk(&mut self, mut record: DiskRecord) -> Result<DiskRecord> {
        let known = self.data.disks.get_or_insert_default();
        if let Some(known) = known.iter().find(|known| known.cid == record.cid) {
            return Ok(known.clone());
        }
        record.id = new_id();
        known.push(record.clone());
        self.save()?;
        Ok(record)
    }

    pub fn use_disk(&mut self, record: &DiskRecord) -> Result<()> {
        self.data.current_disk_id = record.id.clone();
        self.save()
    }

    pub fn disk_gone(&mut self, record: &DiskRecord) -> Result<()> {
        let known = self.data.disks.get_or_insert_default();
        known.retain(|known| known.id != record.id);
        if self.data.current_disk_id == record.id {
            self.data.current_disk_id.clear();
        }
        self.save()
    }

    // --- what was deployed
    /// Whether exactly this was deployed to its end.
    pub fn is_deployed(
        &self,
        manifest_sha: &str,
        stemcell: (&str, &str),
        releases: &[(String, String)],
    ) -> bool {
        let deployed: Vec<_> = self.data.releases.iter().flatten().collect();
        self.data.current_manifest_sha == manifest_sha
            && self
                .current_stemcell()
                .is_some_and(|known| (known.name.as_str(), known.version.as_str()) == stemcell)
            && !deployed.is_empty()
            && deployed.len() == releases.len()
            && releases.iter().all(|(name, version)| {
                let mut deployed = deployed.iter();
                deployed.any(|known| known.name == *name && known.version == *version)
            })
    }

    /// An interrupted deploy is to be repeated.
    pub fn begin_deploy(&mut self) -> Result<()> {
        self.data.current_manifest_sha.clear();
        self.data.releases = Some(Vec::new());
        self.data.current_release_ids = Some(Vec::new());
        self.save()
    }

    pub fn end_deploy(&mut self, manifest_sha: &str, releases: &[(String, String)]) -> Result<()> {
        self.data.current_manifest_sha = manifest_sha.to_owned();
        let records: Vec<_> = releases
            .iter()
            .map(|(name, version)| ReleaseRecord {
                id: new_id(),
                name: name.clone(),
                version: version.clone(),
            })
            .collect();
        self.data.current_release_ids = Some(records.iter().map(|r| r.id.clone()).collect());
        self.data.releases = Some(records);
        self.save()
    }
}

/// The state that an old file stands for. Its keys are Ruby symbols.
fn migrated(text: &str) -> Result<Data> {
    let readable: String = text
        .lines()
        .map(|line| {
            let plain = ["- :", "  :"]
                .iter()
                .find_map(|start| line.strip_prefix(start).map(|rest| (start, rest)));
            match plain {
                Some((start, rest)) => format!("{} {rest}\n", &start[..1]),
                None => format!("{line}\n"),
            }
        })
        .collect();
    let document = yaml::parse(&readable, yaml::Dialect::Cli)
        .map_err(|error| Error::from_chain(&error))
        .within(|| "Parsing job manifest")?;
    let nothing = yaml::Value::Null;
    let instance = super::read::list(&document, "instances")
        .first()
        .unwrap_or(&nothing);
    let text = |key: &str| super::read::text(instance, key);
    let or = |text: String, other: fn() -> String| if text.is_empty() { other() } else { text };
    let mut data = Data {
        director_id: or(text("uuid"), new_id),
        current_vm_cid: text("vm_cid"),
        disks: Some(Vec::new()),
        stemcells: Some(Vec::new()),
        releases: Some(Vec::new()),
        ..Data::default()
    };
    let disk = text("disk_cid");
    if !disk.is_empty() {
        data.current_disk_id = new_id();
        data.disks = Some(vec![DiskRecord {
            id: data.current_disk_id.clone(),
            cid: disk,
            ..DiskRecord::default()
        }]);
    }
    let stemcell = text("stemcell_cid");
    if !stemcell.is_empty() {
        data.stemcells = Some(vec![StemcellRecord {
            id: new_id(),
            name: or(text("stemcell_name"), || "unknown-stemcell".to_owned()),
            cid: stemcell,
            ..StemcellRecord::default()
        }]);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_is_written_as_the_original_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env-state.json");
        let mut state = State::load(&path).unwrap();
        let director = state.data.director_id.clone();
        state.set_vm("vm-<1>").unwrap();
        let disk = DiskRecord {
            cid: "d-1".into(),
            size: 64,
            cloud_properties: serde_json::from_str(r#"{"b":{"y":1,"x":2},"a":[]}"#).unwrap(),
            ..DiskRecord::default()
        };
        let disk = state.add_disk(disk).unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        let expected = format!(
            r#"{{
    "director_id": "{director}",
    "installation_id": "",
    "current_vm_cid": "vm-\u003c1\u003e",
    "current_stemcell_id": "",
    "current_disk_id": "",
    "current_release_ids": null,
    "current_manifest_sha": "",
    "disks": [
        {{
            "id": "{}",
            "cid": "d-1",
            "size": 64,
            "cloud_properties": {{
                "a": [],
                "b": {{
                    "x": 2,
                    "y": 1
                }}
            }}
        }}
    ],
    "stemcells": null,
    "releases": null
}}"#,
            disk.id
        );
        assert_eq!(text, expected);
        let again = State::load(&path).unwrap();
        assert_eq!(again.vm(), Some("vm-<1>"));
        assert_eq!(again.data.director_id, director);
    }

    #[test]
    fn an_old_deployments_file_is_taken_over_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("redis.yml");
        let legacy = dir.path().join("bosh-deployments.yml");
        fs_err::write(
            &legacy,
            "---\ninstances:\n- :id: 1\n  :name: bosh\n  :uuid: bm-5480c6bb\n  :stemcell_cid: sc-1\n  :vm_cid: i-1\n  :disk_cid: vol-1\ndisks: []\n",
        )
        .unwrap();
        let path = State::path_of(&manifest, None);
        assert_eq!(path, dir.path().join("redis-state.json"));
        assert_eq!(
            State::migrate(&path, &manifest).unwrap(),
            Some(legacy.clone())
        );
        assert!(!legacy.exists());
        let state = State::load(&path).unwrap();
        assert_eq!(state.data.director_id, "bm-5480c6bb");
        assert_eq!(state.vm(), Some("i-1"));
        assert_eq!(state.current_disk().unwrap().cid, "vol-1");
        assert_eq!(state.unused_stemcells()[0].name, "unknown-stemcell");
        assert_eq!(State::migrate(&path, &manifest).unwrap(), None);
    }
}
