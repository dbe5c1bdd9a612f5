//! Arguments of the config commands.

use super::types::{input_file, int};
use crate::interpolate::VarsOpsArgs;
use clap::Args;

#[derive(Args)]
pub struct ConfigArgs {
    /// Config ID
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Config type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Config name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

#[derive(Args)]
pub struct ConfigsArgs {
    /// Config type
    #[arg(long = "type", value_name = "TYPE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub kind: Option<String>,
    /// Config name
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub name: Option<String>,
    /// Number of versions of each config to show
    #[arg(short, long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1", default_value_t = 1, value_parser = int)]
    pub recent: i64,
}

#[derive(Args)]
pub struct UpdateConfigArgs {
    /// Path to the config
    #[arg(value_name = "PATH", value_parser = input_file)]
    pub path: String,
    /// Config type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: String,
    /// Config name
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Refuse when the current config has another ID
    #[arg(long, value_name = "ID")]
    pub expected_latest_id: Option<String>,
    #[command(flatten)]
    pub vars_ops: VarsOpsArgs,
}

#[derive(Args)]
pub struct DiffConfigArgs {
    /// ID of the first config
    #[arg(long, value_name = "ID")]
    pub from_id: Option<String>,
    /// Path to the first config
    #[arg(long, value_name = "PATH", value_parser = input_file)]
    pub from_content: Option<String>,
    /// ID of the second config
    #[arg(long, value_name = "ID")]
    pub to_id: Option<String>,
    /// Path to the second config
    #[arg(long, value_name = "PATH", value_parser = input_file)]
    pub to_content: Option<String>,
}

#[derive(Args)]
pub struct NamedConfigArgs {
    /// Config name
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
}

#[derive(Args)]
pub struct UpdateCloudConfigArgs {
    /// Path to the cloud config
    #[arg(value_name = "PATH", value_parser = input_file)]
    pub path: String,
    /// Config name
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    #[command(flatten)]
    pub vars_ops: VarsOpsArgs,
}

#[derive(Args)]
pub struct UpdateRuntimeConfigArgs {
    /// Path to the runtime config
    #[arg(value_name = "PATH", value_parser = input_file)]
    pub path: String,
    /// Config name
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// Show properties in the diff
    #[arg(long)]
    pub no_redact: bool,
    /// Upload releases again and replace what the director has
    #[arg(long)]
    pub fix_releases: bool,
    #[command(flatten)]
    pub vars_ops: VarsOpsArgs,
}

#[derive(Args)]
pub struct UpdateCpiConfigArgs {
    /// Path to the CPI config
    #[arg(value_name = "PATH", value_parser = input_file)]
    pub path: String,
    /// Show properties in the diff
    #[arg(long)]
    pub no_redact: bool,
    #[command(flatten)]
    pub vars_ops: VarsOpsArgs,
}
