//! The spec of one instance as the director sends it in `prepare`, `apply` and `drain`
//! (`docs/spec/agent-protocol.md` §3.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::envelope::null_as_default;

/// Extra HTTP headers of a signed URL. They may carry keys: never log them.
pub type BlobstoreHeaders = BTreeMap<String, String>;

/// The whole spec. The partial one right after a VM's creation has only `deployment, job, index, id, networks`; that of
/// a removed instance is `{}`. Absent keys stay absent when it is written again.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApplySpec {
    /// The deployment's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// The jobs, under the old name that means "instance group".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// The instance's index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    /// The instance group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The instance's uuid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The availability zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub az: Option<String>,
    /// Network name to settings; opaque, echoed verbatim by `get_state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Map<String, Value>>,
    /// Package name to compiled package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<BTreeMap<String, PackageSpec>>,
    /// Root of the DNS names; the agent ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_domain_name: Option<String>,
    /// Size of the persistent disk in MB, 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_disk: Option<i64>,
    /// Job name to hash of its rendered templates; the agent ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_hashes: Option<Map<String, Value>>,
    /// The rendered templates of all jobs. Absent or null: the spec has no jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered_templates_archive: Option<RenderedTemplatesArchive>,
    /// Empty or absent: nothing is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration_hash: Option<String>,
    /// Only `logging.max_log_file_size` is read; directors no longer send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Value>,
}

impl ApplySpec {
    /// The jobs to install and run, in the order of the manifest: none without a templates archive.
    pub fn jobs(&self) -> &[JobTemplate] {
        match (&self.rendered_templates_archive, &self.job) {
            (Some(_), Some(job)) => job.templates.as_deref().unwrap_or_default(),
            _ => &[],
        }
    }
}

/// `job` of a spec. All keys are absent in the spec of a job-less `prepare`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSpec {
    /// The instance group's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The jobs; the order matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<Vec<JobTemplate>>,
    /// The first job's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The first job's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// One job of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobTemplate {
    /// The job's name.
    pub name: String,
    /// Its version (fingerprint).
    pub version: String,
    /// Digest of the job's own archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    /// Blob of the job's own archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobstore_id: Option<String>,
    /// The job's named logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<Value>,
}

/// A compiled package to install.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PackageSpec {
    /// The package's name.
    pub name: String,
    /// `<package version>.<build>`.
    pub version: String,
    /// Digest of the compiled archive.
    pub sha1: String,
    /// The compiled blob.
    pub blobstore_id: String,
    /// Where to fetch it without credentials.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub signed_url: String,
    /// Headers to send with it.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub blobstore_headers: BlobstoreHeaders,
}

/// The gzip tarball with `<job>/monit` and `<job>/<path>` of all jobs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RenderedTemplatesArchive {
    /// The blob.
    pub blobstore_id: String,
    /// Its digest.
    pub sha1: String,
}
