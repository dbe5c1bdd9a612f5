//! What `get_state` and `info` answer (`docs/spec/agent-protocol.md` §3.1).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Aggregate state of an instance's jobs (§8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// All services run, or there is none.
    Running,
    /// One is down or unmonitored.
    Failing,
    /// One is on its way up.
    Starting,
    /// Deliberately stopped.
    Stopped,
    /// The supervisor can't tell.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        })
    }
}

/// Answer of `info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// 1: `run_errand` accepts a job name.
    pub api_version: u64,
}

/// The state of an instance as its agent sees it: the spec it was given, and what runs.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentState {
    /// The spec's keys as the agent stored them, in its shape; opaque but for what the accessors give.
    #[serde(flatten)]
    pub spec: Map<String, Value>,
}

impl AgentState {
    fn part<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<T> {
        let value = self.spec.get(key).filter(|value| !value.is_null())?;
        serde_json::from_value(value.clone()).ok()
    }

    /// Aggregate state; unknown if missing.
    pub fn job_state(&self) -> JobState {
        self.part("job_state").unwrap_or(JobState::Unknown)
    }

    /// The services of group `vcap`.
    pub fn processes(&self) -> Vec<Process> {
        self.part("processes").unwrap_or_default()
    }

    /// Only after `get_state("full")`.
    pub fn vitals(&self) -> Option<Vitals> {
        self.part("vitals")
    }

    /// The networks, echoed from the last `apply`.
    pub fn networks(&self) -> Map<String, Value> {
        self.part("networks").unwrap_or_default()
    }

    /// The spec's configuration hash, empty before the first full `apply`.
    pub fn configuration_hash(&self) -> String {
        self.part("configuration_hash").unwrap_or_default()
    }

    /// The agent's id.
    pub fn agent_id(&self) -> Option<String> {
        self.part("agent_id")
    }

    /// `job.name`.
    pub fn job_name(&self) -> Option<String> {
        self.part::<Value>("job")?
            .get("name")?
            .as_str()
            .map(str::to_owned)
    }
}

/// One supervised service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its name in the monit file.
    pub name: String,
    /// `running`, `failing`, `starting` or `unknown`.
    pub state: JobState,
    /// How long it has run.
    #[serde(default)]
    pub uptime: Uptime,
    /// Its memory, children included.
    #[serde(default)]
    pub mem: ProcessMem,
    /// Its CPU use, children included.
    #[serde(default)]
    pub cpu: ProcessCpu,
}

/// Seconds since start; left out when 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Uptime {
    /// Seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub secs: u64,
}

/// Memory of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessMem {
    /// Resident kilobytes; left out when 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub kb: u64,
    /// Share of the VM's memory, a number.
    pub percent: f64,
}

/// CPU use of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessCpu {
    /// Percent of the VM's CPUs, a number.
    pub total: f64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a VM does. All numbers are strings but `uptime.secs`; what is unknown is left out or empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vitals {
    /// CPU percent, one decimal.
    pub cpu: CpuVitals,
    /// File systems.
    pub disk: DisksVitals,
    /// Load over 1, 5 and 15 minutes, two decimals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load: Vec<String>,
    /// Memory in use.
    pub mem: MemVitals,
    /// Swap in use.
    pub swap: MemVitals,
    /// Since the VM's start.
    pub uptime: Uptime,
}

/// CPU use of a VM in percent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuVitals {
    /// In the kernel.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sys: String,
    /// In programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Waiting for disks.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wait: String,
}

/// File systems of a VM. `ephemeral` and `persistent` only if they are mount points of their own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DisksVitals {
    /// `/var/vcap/data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<DiskVitals>,
    /// `/var/vcap/store`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent: Option<DiskVitals>,
    /// `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<DiskVitals>,
}

/// Use of one file system, integer percent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskVitals {
    /// Inodes in use.
    pub inode_percent: String,
    /// Space in use.
    pub percent: String,
}

/// Memory or swap in use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemVitals {
    /// Kilobytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kb: String,
    /// Integer percent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub percent: String,
}
