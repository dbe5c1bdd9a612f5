//! A typed client of the director's HTTP API.
//!
//! Used by the CLI, by `bosun up` and by end-to-end tests. It knows the wire (paths, query order,
//! redirects to tasks, ranges) and the wording of the errors that operators and scripts know; it prints
//! nothing: whoever follows a task hands in a [`Reporter`], whoever uploads a [`Progress`].
//!
//! ```text
//!  caller                     client                         director
//!  update_deployment(..) ---> POST /deployments  ----------> 302 /tasks/7
//!     reporter.started(7) <-- GET /tasks/7  ---------------> {"id":7,...}
//!     reporter.output(..) <-- GET /tasks/7, GET .../output   every half second
//!     reporter.finished() <--
//! ```
//!
//! Wire formats: `docs/spec/director-api.md`, `docs/spec/cli.md` §3, §5.

mod configs;
mod deployments;
mod disks;
mod endpoint;
mod error;
mod events;
mod http;
mod instances;
mod problems;
mod query;
mod releases;
mod request;
mod stemcells;
mod tasks;
mod types;
mod uaa;

pub use configs::{Config, ConfigDiff, ConfigListFilter, DiffSource, TypedConfig, TypedConfigKind};
pub use deployments::{
    DeploymentConfig, DeploymentDiff, DeploymentRow, DiffLine, ErrandResult, ErrandRun,
    ErrandTarget, ReleaseRef, StemcellRef, UpdateOptions, VariableRow,
};
pub use disks::{CleanupPlan, OrphanedDisk, OrphanedNetwork, OrphanedVm, Snapshot};
pub use endpoint::Endpoint;
pub use error::{Error, Wrap};
pub use events::{Event, EventFilter};
pub use http::{Client, Credentials, Options};
pub use instances::{
    ChangeState, InstanceInfo, InstanceRow, InstanceTarget, LogsRequest, Memory, Process, SshHost,
    SshTarget, Vitals,
};
pub use problems::{Problem, Resolution};
pub use query::{Query, escape_segment};
pub use releases::{
    CompiledPackage, ExportRelease, ExportedRelease, InspectedJob, InspectedPackage,
    InspectedRelease, Release, ReleaseVersionRow, UploadReleaseOptions,
};
pub use request::{Body, Progress, RawResponse, Request};
pub use reqwest::Method;
pub use stemcells::Stemcell;
pub use tasks::{NoReport, OutputKind, Reporter, Task};
pub use types::{CertificateExpiry, Feature, Info, Lock, UserAuthentication};
pub use uaa::{TokenInfo, Tokens, Uaa, UaaPrompt, UaaSession};
