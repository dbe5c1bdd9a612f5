//! Arguments of the stemcell and release commands.

use super::slugs::{
    NameVersion, ReleaseOrSeries, operating_system, output_file, release, stemcell,
};
use super::types::existing_file;
use clap::Args;
use domain::version::Version;
use std::path::PathBuf;

#[derive(Args)]
pub struct UploadStemcellArgs {
    /// Path to a stemcell, or a URL that the director downloads
    #[arg(value_name = "URL")]
    pub url: String,
    /// Replace the stemcell that the director has
    #[arg(long)]
    pub fix: bool,
    /// Name, to skip the upload of a known one
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub name: String,
    /// Version, to skip the upload of a known one
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    pub version: Option<Version>,
    /// Digest of a remote stemcell
    #[arg(long, value_name = "DIGEST")]
    pub sha1: Option<String>,
}

#[derive(Args)]
pub struct DeleteStemcellArgs {
    /// Stemcell
    #[arg(value_name = "NAME/VERSION", value_parser = stemcell)]
    pub slug: NameVersion,
    /// Ignore errors
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct InspectLocalStemcellArgs {
    /// Path to a stemcell
    #[arg(value_name = "PATH-TO-STEMCELL")]
    pub path: String,
}

#[derive(Args, Default)]
pub struct UploadReleaseArgs {
    /// Tarball, release folder or manifest, git address, or a URL that the director downloads
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// Release folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: String,
    /// Have the director renumber the release
    #[arg(long)]
    pub rebase: bool,
    /// Replace what the director has
    #[arg(long)]
    pub fix: bool,
    /// Name, to skip the upload of a known one
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Version, to skip the upload of a known one
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    pub version: Option<Version>,
    /// Digest of a remote release
    #[arg(long, value_name = "DIGEST")]
    pub sha1: Option<String>,
    /// Stemcell that a compiled release is for
    #[arg(long, value_name = "OS/VERSION", value_parser = operating_system)]
    pub stemcell: Option<NameVersion>,
}

#[derive(Args)]
pub struct CreateReleaseArgs {
    /// Release manifest to make a tarball of
    #[arg(value_name = "PATH", value_parser = existing_file)]
    pub manifest: Option<String>,
    /// Release folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: String,
    /// Release name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Release version
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    pub version: Option<Version>,
    /// Use a version with the current time
    #[arg(long)]
    pub timestamp_version: bool,
    /// Make a final release
    #[arg(long = "final")]
    pub is_final: bool,
    /// Write the release as a tarball
    #[arg(long, value_name = "PATH", value_parser = output_file)]
    pub tarball: Option<PathBuf>,
    /// Accept uncommitted changes
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct InspectReleaseArgs {
    /// Release
    #[arg(value_name = "NAME/VERSION", value_parser = release)]
    pub slug: NameVersion,
}

#[derive(Args)]
pub struct InspectLocalReleaseArgs {
    /// Path to a release tarball
    #[arg(value_name = "PATH-TO-RELEASE")]
    pub path: String,
}

#[derive(Args)]
pub struct DeleteReleaseArgs {
    /// Release
    #[arg(value_name = "NAME[/VERSION]")]
    pub slug: ReleaseOrSeries,
    /// Ignore errors
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct ExportReleaseArgs {
    /// Release
    #[arg(value_name = "NAME/VERSION", value_parser = release)]
    pub release: NameVersion,
    /// Stemcell to compile for
    #[arg(value_name = "OS/VERSION", value_parser = operating_system)]
    pub stemcell: NameVersion,
    /// Folder for the tarball
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: String,
    /// Export only these jobs and their packages
    #[arg(long = "job", value_name = "NAME")]
    pub jobs: Vec<String>,
}
