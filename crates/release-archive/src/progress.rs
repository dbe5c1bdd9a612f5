//! What happens while a release is built, for whoever shows it. `Display` of an event is the original's text:
//! `docs/spec/releases-and-templates.md` §7, §9 and §10.

use std::fmt;

/// The kinds of artifacts a release is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A job.
    Job,
    /// A source package.
    Package,
    /// A package compiled for one stemcell.
    CompiledPackage,
    /// The license files.
    License,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::Package => "package",
            Self::CompiledPackage => "compiled package",
            Self::License => "license",
        })
    }
}

/// One thing that happened. Names are `name/fingerprint`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The texts below say what each is.
pub enum Event {
    Adding {
        kind: Kind,
        name: String,
    },
    Added {
        kind: Kind,
        name: String,
    },
    FailedAdding {
        kind: Kind,
        name: String,
    },
    Uploading {
        name: String,
        digest: String,
    },
    Uploaded {
        name: String,
        digest: String,
    },
    FailedUploading {
        name: String,
        digest: String,
    },
    Downloading {
        name: String,
        digest: String,
    },
    Downloaded {
        name: String,
        digest: String,
    },
    FailedDownloading {
        name: String,
        digest: String,
    },
    AddedRelease {
        development: bool,
        name: String,
    },
    FailedAddingRelease {
        development: bool,
        name: String,
    },
    BlobDownloading {
        path: String,
        size: u64,
        id: String,
        digest: String,
    },
    BlobDownloaded {
        path: String,
        id: String,
    },
    BlobFailedDownloading {
        path: String,
        id: String,
    },
    BlobUploading {
        path: String,
        size: u64,
        digest: String,
    },
    BlobUploaded {
        path: String,
        id: String,
    },
    BlobFailedUploading {
        path: String,
    },
    /// Something the author should know but that stops nothing; it belongs on stderr.
    Warning(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = |development: &bool| if *development { "dev" } else { "final" };
        match self {
            Self::Adding { kind, name } => write!(f, "Adding {kind} '{name}'..."),
            Self::Added { kind, name } => write!(f, "Added {kind} '{name}'"),
            Self::FailedAdding { kind, name } => write!(f, "Failed adding {kind} '{name}'"),
            Self::Uploading { name, digest } => {
                write!(f, "-- Started uploading '{name}' (sha1={digest})")
            }
            Self::Uploaded { name, digest } => {
                write!(f, "-- Finished uploading '{name}' (sha1={digest})")
            }
            Self::FailedUploading { name, digest } => {
                write!(f, "-- Failed uploading '{name}' (sha1={digest})")
            }
            Self::Downloading { name, digest } => {
                write!(f, "-- Started downloading '{name}' (sha1={digest})")
            }
            Self::Downloaded { name, digest } => {
                write!(f, "-- Finished downloading '{name}' (sha1={digest})")
            }
            Self::FailedDownloading { name, digest } => {
                write!(f, "-- Failed downloading '{name}' (sha1={digest})")
            }
            Self::AddedRelease { development, name } => {
                write!(f, "Added {} release '{name}'", release(development))
            }
            Self::FailedAddingRelease { development, name } => {
                write!(f, "Failed adding {} release '{name}'", release(development))
            }
            Self::BlobDownloading {
                path,
                size,
                id,
                digest,
            } => write!(
                f,
                "Blob download '{path}' ({}) (id: {id} sha1: {digest}) started",
                binary_size(*size)
            ),
            Self::BlobDownloaded { path, id } => {
                write!(f, "Blob download '{path}' (id: {id}) finished")
            }
            Self::BlobFailedDownloading { path, id } => {
                write!(f, "Blob download '{path}' (id: {id}) failed")
            }
            Self::BlobUploading { path, size, digest } => write!(
                f,
                "Blob upload '{path}' ({}) (sha1: {digest}) started",
                binary_size(*size)
            ),
            Self::BlobUploaded { path, id } => {
                write!(f, "Blob upload '{path}' (id: {id}) finished")
            }
            Self::BlobFailedUploading { path } => write!(f, "Blob upload '{path}' failed"),
            Self::Warning(text) => f.write_str(text),
        }
    }
}

/// Who watches a build. Called on the thread that called the build.
pub trait Progress {
    /// Something happened.
    fn event(&mut self, event: &Event);
}

impl Progress for () {
    fn event(&mut self, _: &Event) {}
}

impl<F: FnMut(&Event)> Progress for F {
    fn event(&mut self, event: &Event) {
        self(event);
    }
}

/// `5 B`, `77 MiB`: a size in binary units as the original's tables show it.
pub fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 10.0 {
        format!("{:.0} {}", value, UNITS[unit])
    } else {
        format!("{:.1} {}", value, UNITS[unit])
    }
}
