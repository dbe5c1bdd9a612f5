//! Releases: taking uploads in, listing, deleting (docs/spec/releases-and-templates.md §12, director-api.md §8).
//!
//! The API asks [`list`], [`inspect`], [`summary`], [`matches`] and friends, and queues `update_release` and
//! `delete_release`; the task engine runs [`Upload`] and [`Delete`]. A release version is usable once its upload
//! has completed; one that failed is taken up again by the next upload of the same version.

mod compiled;
mod delete;
mod export;
mod jobs;
mod listing;
mod manifest;
mod matches;
mod packages;
mod rebase;
mod upload;

pub use compiled::dependency_key;
pub use delete::{Delete, delete_version};
pub use export::{Export, ExportArgs};
pub use listing::{find_job, inspect, list, summary, unused};
pub use matches::{matches, matches_compiled};
pub(crate) use upload::WorkFolder;
pub use upload::{Upload, UploadArgs};

use domain::ReleaseVersion as Version;

use crate::error::{Error, code};
use crate::services::Services;
use crate::store::releases::{self as rows, Release, ReleaseVersion};

/// The release row.
pub async fn find(services: &Services, name: &str) -> Result<Release, Error> {
    rows::find(services.store.pool(), name)
        .await?
        .ok_or_else(|| {
            Error::new(
                code::RELEASE_NOT_FOUND,
                format!("Release '{name}' doesn't exist"),
            )
        })
}

/// The version by its text as given, then normalised, then in the old form.
pub async fn find_version(
    services: &Services,
    name: &str,
    version: &str,
) -> Result<ReleaseVersion, Error> {
    find(services, name).await?;
    rows::find_version(services.store.pool(), name, &spellings(version))
        .await?
        .ok_or_else(|| {
            let text = format!("Release version '{name}/{version}' doesn't exist");
            Error::new(code::RELEASE_VERSION_NOT_FOUND, text)
        })
}

/// The texts under which a version's row may stand.
fn spellings(version: &str) -> Vec<String> {
    let mut spellings = vec![version.to_owned()];
    if let Ok(parsed) = Version::parse(version) {
        spellings.push(parsed.as_str().to_owned());
        spellings.extend(parsed.old_form());
    }
    spellings
}
