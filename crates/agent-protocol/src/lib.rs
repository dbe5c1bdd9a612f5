//! The wire between a director and its agents: subjects, envelopes, the arguments and results of every action, apply
//! spec, settings and health messages (`docs/spec/agent-protocol.md`).
//!
//! The agent parses requests with these types, the director talks through [`AgentClient`], and tests use both. Nothing
//! here knows how either side does its work.

mod actions;
mod answers;
mod apply_spec;
mod client;
mod envelope;
mod error;
mod health;
mod https;
mod nats;
mod patience;
mod settings;
mod state;
pub mod subjects;

pub use actions::{
    BundleLogs, CompilePackage, CompilePackageWithSignedUrl, CompiledPackage, Dependency,
    DependencyWithSignedUrl, DrainType, ErrandResult, FetchLogsWithSignedUrl, FetchedLogs,
    LogBundle, NextStates, SshResult, SyncDnsWithSignedUrl, UploadBlob,
};
pub use apply_spec::{
    ApplySpec, BlobstoreHeaders, JobSpec, JobTemplate, PackageSpec, RenderedTemplatesArchive,
};
pub use client::AgentClient;
pub use envelope::{
    AgentException, MAX_REPLY_BYTES, PROTOCOL, Reply, Request, Response, TaskState,
};
pub use error::Error;
pub use health::{Alert, Heartbeat, severity_of_event};
pub use https::{HttpsAgentClient, SetupError, is_certificate_refused};
pub use nats::{LongTexts, NatsAgentClient};
pub use patience::{Patience, Target, timeouts};
pub use settings::{
    BlobstoreSettings, BoshEnv, DiskAssociation, DiskHint, Disks, Env, IscsiSettings, MbusCert,
    MbusSettings, NetworkSettings, Settings, UpdateSettings, VmSettings,
};
pub use state::{
    AgentInfo, AgentState, CpuVitals, DiskVitals, DisksVitals, JobState, MemVitals, Process,
    ProcessCpu, ProcessMem, Uptime, Vitals,
};
