//! Arguments of the commands about instances.

use super::slugs::{InstanceSlug, PoolOrInstanceSlug, Timestamp, on_off};
use clap::Args;

#[derive(Args)]
pub struct InstancesArgs {
    /// Instances to show; all when absent (the original takes none)
    #[arg(value_name = "INSTANCE-GROUP[/INSTANCE-ID]")]
    pub slugs: Vec<PoolOrInstanceSlug>,
    /// Show more columns
    #[arg(short = 'i', long)]
    pub details: bool,
    /// Show vitals
    #[arg(long)]
    pub vitals: bool,
    /// Show processes
    #[arg(short, long)]
    pub ps: bool,
    /// Show only what fails
    #[arg(short, long)]
    pub failing: bool,
}

#[derive(Args)]
pub struct VmsArgs {
    /// Instances to show; all when absent (the original takes none)
    #[arg(value_name = "INSTANCE-GROUP[/INSTANCE-ID]")]
    pub slugs: Vec<PoolOrInstanceSlug>,
    /// Show vitals
    #[arg(long)]
    pub vitals: bool,
    /// Show cloud properties
    #[arg(long)]
    pub cloud_properties: bool,
}

/// What start, stop, restart and recreate have in common.
#[derive(Args)]
pub struct ConvergeArgs {
    /// Instances to change, one after the other (the original takes one); all when absent
    #[arg(value_name = "INSTANCE-GROUP[/INSTANCE-ID]")]
    pub slugs: Vec<PoolOrInstanceSlug>,
    /// Let the director bring the deployment into the state (default)
    #[arg(long)]
    pub converge: bool,
    /// Act on the one instance and nothing else
    #[arg(long)]
    pub no_converge: bool,
    /// Override the manifest's canaries
    #[arg(long, value_name = "N")]
    pub canaries: Option<String>,
    /// Override the manifest's max_in_flight
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<String>,
}

#[derive(Args)]
pub struct StartArgs {
    #[command(flatten)]
    pub common: ConvergeArgs,
}

#[derive(Args)]
pub struct StopArgs {
    #[command(flatten)]
    pub common: ConvergeArgs,
    /// Stop processes only (default)
    #[arg(long)]
    pub soft: bool,
    /// Delete the VMs, keep the persistent disks
    #[arg(long)]
    pub hard: bool,
    /// Skip drain scripts
    #[arg(long)]
    pub skip_drain: bool,
    /// Ignore errors
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct RestartArgs {
    #[command(flatten)]
    pub common: ConvergeArgs,
    /// Skip drain scripts
    #[arg(long)]
    pub skip_drain: bool,
    /// Ignore errors
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct RecreateArgs {
    #[command(flatten)]
    pub common: ConvergeArgs,
    /// Skip drain scripts
    #[arg(long)]
    pub skip_drain: bool,
    /// Ignore errors
    #[arg(long)]
    pub force: bool,
    /// Recreate instances whose agents do not answer
    #[arg(long)]
    pub fix: bool,
    /// Validate and plan, but change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Recreate only the VMs made before this time
    #[arg(long, value_name = "TIMESTAMP")]
    pub vms_created_before: Option<Timestamp>,
}

#[derive(Args)]
pub struct InstanceArgs {
    /// Instance
    #[arg(value_name = "INSTANCE-GROUP/INSTANCE-ID")]
    pub slug: InstanceSlug,
}

#[derive(Args)]
pub struct UpdateResurrectionArgs {
    /// on or off
    #[arg(value_name = "on|off", value_parser = on_off, action = clap::ArgAction::Set)]
    pub enabled: bool,
}
