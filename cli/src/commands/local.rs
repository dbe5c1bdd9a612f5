//! Arguments of the commands about the environment on this machine, which the original does not have.

use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct HomeArgs {
    /// Folder of the environment [env: BOSUN_HOME] [default: /var/lib/bosun for root, ~/.bosun for others]
    #[arg(long, value_name = "PATH")]
    pub home: Option<PathBuf>,
}

#[derive(Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub home: HomeArgs,
    /// Name of the director and alias of the environment, when it is made
    #[arg(long, default_value = "local", value_name = "NAME")]
    pub name: String,
    /// First two numbers of the containers' addresses, when it is made, like 10.244
    #[arg(long, value_name = "PREFIX")]
    pub network_prefix: Option<String>,
}

#[derive(Args)]
pub struct DownArgs {
    #[command(flatten)]
    pub home: HomeArgs,
    /// Delete the environment with all its data too
    #[arg(long)]
    pub delete_data: bool,
}
