//! Names and ids as types, so that a VM's cid can't be passed where an agent's id belongs.
//!
//! Each serialises as the bare string or number that stands on the wire. Names from manifests and cids from CPIs are
//! opaque: what characters they may have is checked by the part that reads the document, not here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Declares string newtypes: serde-transparent, `Display`, infallible `FromStr`/`From`, `AsRef<str>`, ordered.
macro_rules! string_types {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Gives the text back.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self(text.to_owned()))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    )+};
}

string_types! {
    /// The name of a deployment.
    DeploymentName,
    /// The name of an instance group of a deployment (called "job" on some old wires).
    InstanceGroupName,
    /// The name of a job of a release.
    JobName,
    /// The name of a package of a release.
    PackageName,
    /// The name of a release.
    ReleaseName,
    /// The name of a stemcell.
    StemcellName,
    /// The name of a network of the cloud config.
    NetworkName,
    /// The name of an availability zone of the cloud config.
    AzName,
    /// The name of a VM type of the cloud config.
    VmTypeName,
    /// The name of a disk type of the cloud config.
    DiskTypeName,
    /// The name of a CPI of a CPI config; empty text is the director's own CPI.
    CpiName,
    /// The CPI's word for a VM: opaque, never parsed.
    VmCid,
    /// The CPI's word for a persistent disk: opaque, never parsed.
    DiskCid,
    /// The CPI's word for an imported stemcell: opaque, never parsed.
    StemcellCid,
    /// The CPI's word for a snapshot: opaque, never parsed.
    SnapshotCid,
    /// The blobstore's word for a stored blob.
    BlobId,
    /// The id of the agent of one VM, new with every VM (a uuid as text).
    AgentId,
    /// The id of an instance, which stays when its VM is replaced (a uuid as text).
    InstanceUuid,
}

impl AgentId {
    /// A new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

impl InstanceUuid {
    /// A new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

/// The number of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub i64);

impl TaskId {
    /// Wraps the number.
    pub fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number itself.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<i64> for TaskId {
    fn from(id: i64) -> Self {
        Self(id)
    }
}

impl FromStr for TaskId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
