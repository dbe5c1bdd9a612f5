//! Arguments of the deployment commands.

use super::slugs::{PoolOrInstanceSlug, Timestamp, group_or_instance, output_file, skip_drain};
use super::types::{input_file, int};
use crate::interpolate::VarsOpsArgs;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct DeployArgs {
    /// Path to the manifest
    #[arg(value_name = "PATH", value_parser = input_file)]
    pub path: String,
    /// Show properties in the diff
    #[arg(long)]
    pub no_redact: bool,
    /// Recreate all VMs
    #[arg(long)]
    pub recreate: bool,
    /// Recreate the VMs made before this time
    #[arg(long, value_name = "TIMESTAMP")]
    pub recreate_vms_created_before: Option<Timestamp>,
    /// Recreate all persistent disks
    #[arg(long)]
    pub recreate_persistent_disks: bool,
    /// Recreate instances whose agents do not answer
    #[arg(long)]
    pub fix: bool,
    /// Upload releases again and replace what the director has
    #[arg(long)]
    pub fix_releases: bool,
    /// Don't upload the releases of the manifest
    #[arg(long)]
    pub skip_upload_releases: bool,
    /// Skip drain scripts of all or some instance groups
    #[arg(long, value_name = "GROUP[/ID]", num_args = 0..=1, require_equals = true, default_missing_value = "*", value_parser = skip_drain)]
    pub skip_drain: Vec<String>,
    /// Override the manifest's canaries
    #[arg(long, value_name = "N")]
    pub canaries: Option<String>,
    /// Override the manifest's max_in_flight
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<String>,
    /// Validate and plan, but change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Use the latest values of all variables
    #[arg(long)]
    pub force_latest_variables: bool,
    #[command(flatten)]
    pub vars_ops: VarsOpsArgs,
}

#[derive(Args)]
pub struct ForceArgs {
    /// Ignore errors
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct RunErrandArgs {
    /// Errand name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Instances to run on
    #[arg(long = "instance", value_name = "INSTANCE-GROUP[/INSTANCE-ID]", value_parser = group_or_instance)]
    pub instances: Vec<PoolOrInstanceSlug>,
    /// Keep the errand's VMs
    #[arg(long)]
    pub keep_alive: bool,
    /// Run only when something changed since the last success
    #[arg(long)]
    pub when_changed: bool,
    /// Download the errand's logs
    #[arg(long)]
    pub download_logs: bool,
    /// Folder for the logs
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub logs_dir: String,
    /// Tell the task's state every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "30", value_parser = int)]
    pub with_heartbeat: Option<i64>,
}

#[derive(Args)]
pub struct CloudCheckArgs {
    /// Resolve all problems by their default resolutions
    #[arg(short, long)]
    pub auto: bool,
    /// Resolution to apply to the problems that offer it
    #[arg(long = "resolution", value_name = "NAME")]
    pub resolutions: Vec<String>,
    /// Only list the problems
    #[arg(short, long)]
    pub report: bool,
}

/// A recovery plan to write.
#[derive(Args)]
pub struct CreateRecoveryPlanArgs {
    /// Where to write the plan
    #[arg(value_name = "PATH", value_parser = output_file)]
    pub path: PathBuf,
}

/// A recovery plan to carry out.
#[derive(Args)]
pub struct RecoverArgs {
    /// Path to the plan
    #[arg(value_name = "PATH", value_parser = output_file)]
    pub path: PathBuf,
}

#[derive(Args)]
pub struct EventsArgs {
    /// Events before this ID
    #[arg(long, value_name = "ID")]
    pub before_id: Option<String>,
    /// Events before this time
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
    /// Events after this time
    #[arg(long, value_name = "TIME")]
    pub after: Option<String>,
    /// Events of this task
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    /// Events of this instance
    #[arg(long, value_name = "GROUP/ID")]
    pub instance: Option<String>,
    /// Events of this user
    #[arg(long, value_name = "NAME")]
    pub event_user: Option<String>,
    /// Events with this action
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Events about this type of object
    #[arg(long, value_name = "TYPE")]
    pub object_type: Option<String>,
    /// Events about the object of this name
    #[arg(long, value_name = "NAME")]
    pub object_name: Option<String>,
}

#[derive(Args)]
pub struct EventArgs {
    /// Event ID
    #[arg(value_name = "ID")]
    pub id: String,
}
