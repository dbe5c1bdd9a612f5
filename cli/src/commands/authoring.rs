//! Arguments of the commands of release and stemcell authors (spec releases-and-templates §9, §10).

use super::slugs::output_file;
use clap::Args;
use domain::version::Version;
use std::path::PathBuf;

#[derive(Args)]
pub struct ReleaseDirArgs {
    /// Release folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: String,
}

#[derive(Args)]
pub struct InitReleaseArgs {
    #[command(flatten)]
    pub folder: ReleaseDirArgs,
    /// Make a git repository too
    #[arg(long)]
    pub git: bool,
}

#[derive(Args)]
pub struct GenerateArgs {
    /// Name of the job or package
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub folder: ReleaseDirArgs,
}

#[derive(Args)]
pub struct VendorPackageArgs {
    /// Package
    #[arg(value_name = "PACKAGE")]
    pub package: String,
    /// Release folder that has the package
    #[arg(value_name = "SRC-DIR")]
    pub source: String,
    #[command(flatten)]
    pub folder: ReleaseDirArgs,
    /// Put before the names of the package and of what it depends on
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    pub prefix: String,
}

#[derive(Args)]
pub struct FinalizeReleaseArgs {
    /// Path to a release tarball
    #[arg(value_name = "PATH")]
    pub path: String,
    #[command(flatten)]
    pub folder: ReleaseDirArgs,
    /// Release name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Release version
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    pub version: Option<Version>,
    /// Accept uncommitted changes
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct RedigestReleaseArgs {
    /// Path to a release tarball
    #[arg(value_name = "PATH")]
    pub path: String,
    /// Path of the new tarball
    #[arg(value_name = "DESTINATION", value_parser = output_file)]
    pub destination: PathBuf,
}

#[derive(Args)]
pub struct AddBlobArgs {
    /// Path to a file
    #[arg(value_name = "PATH")]
    pub path: String,
    /// Path below blobs/
    #[arg(value_name = "BLOBS-PATH")]
    pub blobs_path: String,
    #[command(flatten)]
    pub folder: ReleaseDirArgs,
}

#[derive(Args)]
pub struct RemoveBlobArgs {
    /// Path below blobs/
    #[arg(value_name = "BLOBS-PATH")]
    pub blobs_path: String,
    #[command(flatten)]
    pub folder: ReleaseDirArgs,
}

#[derive(Args)]
pub struct RepackStemcellArgs {
    /// Path to a stemcell
    #[arg(value_name = "PATH-TO-STEMCELL")]
    pub path: String,
    /// Path of the new stemcell
    #[arg(value_name = "PATH-TO-RESULT", value_parser = output_file)]
    pub result: PathBuf,
    /// Name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Cloud properties to set, as YAML
    #[arg(long, value_name = "YAML")]
    pub cloud_properties: Option<String>,
    /// Put an empty file in place of the image
    #[arg(long)]
    pub empty_image: bool,
    /// Stemcell format, in place of those that are there; can be given several times
    #[arg(long, value_name = "FORMAT")]
    pub format: Vec<String>,
    /// Version
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
}
