//! Arguments of the commands about disks, snapshots and clean-up, and of `curl`.

use super::slugs::{Header, InstanceSlug};
use super::types::input_file;
use clap::Args;

#[derive(Args)]
pub struct DisksArgs {
    /// List orphaned disks
    #[arg(short, long)]
    pub orphaned: bool,
}

#[derive(Args)]
pub struct AttachDiskArgs {
    /// Instance
    #[arg(value_name = "INSTANCE-GROUP/INSTANCE-ID")]
    pub slug: InstanceSlug,
    /// Disk CID
    #[arg(value_name = "DISK-CID")]
    pub cid: String,
    /// `copy` takes size and cloud properties of the replaced disk
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub disk_properties: Option<String>,
}

#[derive(Args)]
pub struct NetworksArgs {
    /// List orphaned networks
    #[arg(short, long)]
    pub orphaned: bool,
}

#[derive(Args)]
pub struct DeleteNetworkArgs {
    /// Network
    #[arg(value_name = "name")]
    pub name: String,
}

/// A thing in the cloud.
#[derive(Args)]
pub struct CidArgs {
    /// Cloud ID
    #[arg(value_name = "CID")]
    pub cid: String,
}

#[derive(Args)]
pub struct TakeSnapshotArgs {
    /// Instance; all when absent
    #[arg(value_name = "INSTANCE-GROUP/INSTANCE-ID")]
    pub slug: Option<InstanceSlug>,
}

#[derive(Args)]
pub struct CleanUpArgs {
    /// Remove everything that is unused, orphaned disks included
    #[arg(long)]
    pub all: bool,
    /// Only show what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Keep orphaned disks
    #[arg(long)]
    pub keep_orphaned_disks: bool,
}

#[derive(Args)]
pub struct CurlArgs {
    /// Path with its query
    #[arg(value_name = "PATH")]
    pub path: String,
    /// GET, POST, PUT or DELETE
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// Header `name: value`
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<Header>,
    /// File with the body
    #[arg(long, value_name = "PATH", value_parser = input_file)]
    pub body: Option<String>,
    /// Show the answer's headers
    #[arg(short = 'i', long)]
    pub show_headers: bool,
}
