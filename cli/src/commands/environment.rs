//! Arguments of the commands about the director itself.

use clap::Args;

#[derive(Args)]
pub struct EnvironmentArgs {
    /// Show the expiry of the director's certificates too
    #[arg(long)]
    pub details: bool,
}

#[derive(Args)]
pub struct AliasArgs {
    /// Environment alias
    #[arg(value_name = "ALIAS")]
    pub alias: String,
}
