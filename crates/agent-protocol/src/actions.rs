//! Arguments and results of the actions that have more than plain strings (`docs/spec/agent-protocol.md` §2, §3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::apply_spec::BlobstoreHeaders;
use crate::envelope::null_as_default;

/// Kinds of drain (§3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainType {
    /// The instance goes on with another spec.
    Update,
    /// The VM stops or goes away.
    Shutdown,
    /// Asks on, for agents that don't wait by themselves; current ones refuse it.
    Status,
}

impl DrainType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Shutdown => "shutdown",
            Self::Status => "status",
        }
    }
}

/// What becomes of the VM, the instance and the deployment after a stop: the environment of `pre-stop` (§9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextStates {
    /// The VM is deleted.
    pub delete_vm: bool,
    /// The instance is deleted.
    pub delete_instance: bool,
    /// The deployment is deleted.
    pub delete_deployment: bool,
}

impl NextStates {
    /// `run_script`'s options object.
    pub fn to_options(self) -> Value {
        let word = |delete| if delete { "delete" } else { "keep" };
        json!({"env": {
            "BOSH_VM_NEXT_STATE": word(self.delete_vm),
            "BOSH_INSTANCE_NEXT_STATE": word(self.delete_instance),
            "BOSH_DEPLOYMENT_NEXT_STATE": word(self.delete_deployment),
        }})
    }
}

/// A compiled package that another is compiled with, by blob.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `<package version>.<build>`.
    pub version: String,
    /// Digest of the compiled archive.
    pub sha1: String,
    /// The compiled blob.
    pub blobstore_id: String,
}

/// The positional arguments of `compile_package`.
#[derive(Debug, Clone, PartialEq)]
pub struct CompilePackage {
    /// The source blob.
    pub blobstore_id: String,
    /// Its digest.
    pub digest: String,
    /// The package's name.
    pub name: String,
    /// `<package version>.<build>`.
    pub version: String,
    /// Dependencies by name.
    pub deps: BTreeMap<String, Dependency>,
}

impl CompilePackage {
    /// The argument list.
    pub fn to_arguments(&self) -> Vec<Value> {
        vec![
            json!(self.blobstore_id),
            json!(self.digest),
            json!(self.name),
            json!(self.version),
            json!(self.deps),
        ]
    }
}

/// The one argument of `compile_package_with_signed_url`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CompilePackageWithSignedUrl {
    /// Where the source is.
    pub package_get_signed_url: String,
    /// Where the compiled package goes; its blob id is the director's invention.
    pub upload_signed_url: String,
    /// Digest of the source.
    pub digest: String,
    /// The package's name.
    pub name: String,
    /// `<package version>.<build>`.
    pub version: String,
    /// Dependencies by name.
    #[serde(deserialize_with = "null_as_default")]
    pub deps: BTreeMap<String, DependencyWithSignedUrl>,
    /// Headers for the two URLs.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub blobstore_headers: BlobstoreHeaders,
}

/// A dependency with its own URL.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DependencyWithSignedUrl {
    /// The package's name.
    pub name: String,
    /// `<package version>.<build>`.
    pub version: String,
    /// Digest of the compiled archive.
    pub sha1: String,
    /// The compiled blob.
    pub blobstore_id: String,
    /// Where to fetch it.
    pub package_get_signed_url: String,
    /// Headers to send with it.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub blobstore_headers: BlobstoreHeaders,
}

/// `result` of a compilation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CompiledPackage {
    /// The blob, unless it went to a signed URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobstore_id: Option<String>,
    /// Digest of the compiled archive.
    pub sha1: String,
}

/// How an errand ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrandResult {
    /// What it printed.
    pub stdout: String,
    /// What it printed to the other stream.
    pub stderr: String,
    /// Its exit code; 128 + n for death by signal n.
    pub exit_code: i64,
}

/// The one argument of `fetch_logs_with_signed_url`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FetchLogsWithSignedUrl {
    /// Where the archive goes.
    pub signed_url: String,
    /// Comma-separated `job`, `agent`, `system`.
    pub log_type: String,
    /// Globs below the type's directory; none means all.
    pub filters: Option<Vec<String>>,
    /// Headers for the URL.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub blobstore_headers: BlobstoreHeaders,
}

/// Result of `fetch_logs*`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FetchedLogs {
    /// The blob, unless it went to a signed URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobstore_id: Option<String>,
    /// Digest of the archive.
    pub sha1: String,
}

/// The one argument of `bundle_logs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BundleLogs {
    /// Who gets to own the file; empty leaves it.
    pub owning_user: String,
    /// Comma-separated `job`, `agent`, `system`.
    pub log_type: String,
    /// Globs below the type's directory; none means all.
    pub filters: Option<Vec<String>>,
}

/// Result of `bundle_logs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogBundle {
    /// The file on the VM; remove it with `remove_file`.
    pub logs_tar_path: String,
    /// `sha512:<hex>`.
    pub sha512: String,
}

/// Result of `ssh`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshResult {
    /// `setup` or `cleanup`.
    pub command: String,
    /// `success`.
    pub status: String,
    /// Where to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The host's RSA public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_public_key: Option<String>,
}

/// The one argument of `sync_dns_with_signed_url`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncDnsWithSignedUrl {
    /// Where the records are.
    pub signed_url: String,
    /// Their digest.
    pub multi_digest: String,
    /// Their version; older ones than the agent has are not fetched.
    pub version: u64,
    /// Headers for the URL.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub blobstore_headers: BlobstoreHeaders,
}

/// The one argument of `upload_blob`. The payload is rendered templates: never log it.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadBlob {
    /// The blob's id.
    pub blob_id: String,
    /// Digest of the decoded payload.
    pub checksum: String,
    /// Base64, line breaks allowed.
    pub payload: String,
}
