//! Arguments of the commands that manage a VM without a director.

use super::types::existing_file;
use crate::interpolate::VarsOpsArgs;
use clap::Args;

#[derive(Args)]
pub struct CreateEnvArgs {
    #[command(flatten)]
    pub env: EnvArgs,
    /// Skip running drain and pre-stop scripts
    #[arg(long)]
    pub skip_drain: bool,
    /// Recreate VM in deployment
    #[arg(long)]
    pub recreate: bool,
    /// Recreate persistent disks in the deployment
    #[arg(long)]
    pub recreate_persistent_disks: bool,
    /// Package cache location override
    #[arg(long, value_name = "DIR")]
    pub package_dir: Option<String>,
}

#[derive(Args)]
pub struct DeleteEnvArgs {
    #[command(flatten)]
    pub env: EnvArgs,
    /// Skip running drain and pre-stop scripts
    #[arg(long)]
    pub skip_drain: bool,
    /// Package cache location override
    #[arg(long, value_name = "DIR")]
    pub package_dir: Option<String>,
}

#[derive(Args)]
pub struct StopEnvArgs {
    #[command(flatten)]
    pub env: EnvArgs,
    /// Skip running drain and pre-stop scripts
    #[arg(long)]
    pub skip_drain: bool,
}

#[derive(Args)]
pub struct EnvArgs {
    /// Path to a manifest file
    #[arg(value_name = "PATH", value_parser = existing_file)]
    pub manifest: String,
    #[command(flatten)]
    pub vars_ops: VarsOpsArgs,
    /// State file path
    #[arg(long, value_name = "PATH")]
    pub state: Option<String>,
}
