//! A suite that drives any CPI executable over stdin and stdout and says where it breaks the contract
//! (`docs/spec/cpi.md` §12.2; the numbers of checks are those of that list).
//!
//! Used by the tests of bosun's CPIs and by `cpi-conformance` for anyone's. It needs a [`Profile`]: what to import,
//! which networks are free. Everything it makes it removes again, also when a check fails; whether the infrastructure
//! is really as before is for the caller to compare.

mod disks;
mod driver;
mod protocol;
mod stemcells;
mod vms;

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use driver::World;

/// What the suite may use of an infrastructure.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Properties of the CPI, sent in every context.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// Environment of the executable.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub stemcell: StemcellProfile,
    #[serde(default)]
    pub vm_cloud_properties: Map<String, Value>,
    #[serde(default)]
    pub disk_cloud_properties: Map<String, Value>,
    /// At least two free sets of networks, each as `create_vm` takes it: the suite has at most as many VMs at once.
    pub networks: Vec<Map<String, Value>>,
    /// What this CPI does not have: names of methods, which must then answer `NotImplemented` or `NotSupported`.
    #[serde(default)]
    pub without: Vec<String>,
    /// Texts that must never be shown.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Size of the disks that are made, MiB.
    #[serde(default = "default_disk_size")]
    pub disk_size: u64,
    /// Seconds that one call may take.
    #[serde(default = "default_timeout")]
    pub timeout: u64,
}

fn default_disk_size() -> u64 {
    1025
}

fn default_timeout() -> u64 {
    600
}

/// The stemcell to import.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StemcellProfile {
    pub image: PathBuf,
    #[serde(default)]
    pub cloud_properties: Map<String, Value>,
    #[serde(default = "default_api_version")]
    pub api_version: u32,
}

fn default_api_version() -> u32 {
    3
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// The sentence says what was expected and what came.
    Failed(String),
}

/// One check of the list.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its number in `docs/spec/cpi.md` §12.2.
    pub number: u32,
    pub name: &'static str,
    pub outcome: Outcome,
}

/// All of a run. Displays as a line per check.
#[derive(Debug, Default)]
pub struct Report {
    pub checks: Vec<Check>,
    /// What could not be removed afterwards.
    pub leftovers: Vec<String>,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.leftovers.is_empty()
            && self
                .checks
                .iter()
                .all(|check| check.outcome == Outcome::Passed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            match &check.outcome {
                Outcome::Passed => writeln!(f, "ok    {:2} {}", check.number, check.name)?,
                Outcome::Failed(why) => {
                    writeln!(f, "FAIL  {:2} {}: {why}", check.number, check.name)?
                }
            }
        }
        for leftover in &self.leftovers {
            writeln!(f, "LEFT  {leftover}")?;
        }
        Ok(())
    }
}

type CheckFn = fn(&mut World) -> Result<(), String>;

/// A check before it ran.
struct Planned(u32, &'static str, CheckFn);

/// Runs every check against `executable`.
pub fn run(executable: &Path, profile: &Profile) -> Report {
    let mut world = World::new(executable, profile);
    let mut report = Report::default();
    let all = [
        protocol::CHECKS,
        stemcells::CHECKS,
        vms::CHECKS,
        disks::CHECKS,
    ];
    for Planned(number, name, check) in all.into_iter().flatten() {
        let outcome = match check(&mut world) {
            Ok(()) => Outcome::Passed,
            Err(why) => Outcome::Failed(why),
        };
        report.leftovers.extend(world.clean_up());
        report.checks.push(Check {
            number: *number,
            name,
            outcome,
        });
    }
    report.leftovers.extend(world.forget_stemcell());
    report
}
