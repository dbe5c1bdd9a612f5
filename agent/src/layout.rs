//! Where everything is, below the base directory (`docs/spec/agent-protocol.md` §4.3, §6, §11).
//!
//! The base is `/var/vcap` on a VM; tests and the `dummy` platform use another. Paths that jobs see are always below
//! the base, so `/var/vcap/jobs/web` becomes `<base>/jobs/web`.

use std::path::{Path, PathBuf};

/// The directory tree of one agent.
#[derive(Debug, Clone)]
pub struct Layout {
    base: PathBuf,
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident = $path:literal),+ $(,)?) => {
        $( $(#[$doc])* pub fn $name(&self) -> PathBuf { self.base.join($path) } )+
    };
}

impl Layout {
    /// The tree below `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    /// The base itself.
    pub fn base(&self) -> &Path {
        &self.base
    }

    paths! {
        /// The agent's own files, 0700.
        bosh = "bosh",
        /// The agent's configuration files.
        etc = "bosh/etc",
        /// The agent's logs.
        agent_logs = "bosh/log",
        /// Settings as last fetched.
        settings = "bosh/settings.json",
        /// Merged `update_settings`.
        update_settings = "bosh/update_settings.json",
        /// Hints of attached disks.
        disk_hints = "bosh/persistent_disk_hints.json",
        /// Cid of the disk that was mounted last.
        managed_disk = "bosh/managed_disk_settings.json",
        /// The current spec.
        spec = "bosh/spec.json",
        /// Tasks that outlive the agent.
        tasks = "bosh/tasks.json",
        /// What was done once on this VM.
        agent_state = "bosh/agent_state.json",
        /// The job supervisor's memory.
        supervisor_state = "bosh/supervisor.json",
        /// Where the `monit` command finds the agent.
        monit_socket = "monit/agent.sock",
        /// Ephemeral data.
        data = "data",
        /// Job bundles.
        data_jobs = "data/jobs",
        /// Package bundles.
        data_packages = "data/packages",
        /// Where packages are compiled.
        data_compile = "data/compile",
        /// Scratch.
        tmp = "data/tmp",
        /// Blobs that came in a message.
        sensitive_blobs = "data/sensitive_blobs",
        /// Blobs that came over HTTP.
        blobs = "data/blobs",
        /// Links to dynamic disks.
        dynamic_disks = "data/dynamic_disks",
        /// Behind `sys`.
        data_sys = "data/sys",
        /// Pid files.
        data_run = "data/sys/run",
        /// Jobs' logs.
        data_log = "data/sys/log",
        /// Link to `data/sys`.
        sys = "sys",
        /// Jobs' logs as jobs see them.
        sys_log = "sys/log",
        /// Enabled jobs.
        jobs = "jobs",
        /// Enabled packages.
        packages = "packages",
        /// The persistent disk.
        store = "store",
        /// A second disk, while one is migrated to it.
        store_migration_target = "store_migration_target",
        /// Monit files that don't belong to jobs.
        monit = "monit",
        /// Jobs' monit files.
        monit_jobs = "monit/job",
        /// Marker: jobs were stopped on purpose.
        monit_stopped = "monit/stopped",
        /// What jobs may know about their instance.
        instance = "instance",
        /// Aggregate state for jobs to read.
        health = "instance/health.json",
        /// DNS records.
        dns_records = "instance/dns/records.json",
        /// Names of several persistent disks.
        instance_disks = "instance/disks",
        /// Homes of `bosh ssh` users.
        ssh_homes = "bosh_ssh",
    }

    /// What the job runs from.
    pub fn job(&self, job: &str) -> PathBuf {
        self.jobs().join(job)
    }

    /// A program of a job.
    pub fn job_bin(&self, job: &str, program: &str) -> PathBuf {
        self.job(job).join("bin").join(program)
    }

    /// The logs of a job.
    pub fn job_log(&self, job: &str) -> PathBuf {
        self.sys_log().join(job)
    }
}
