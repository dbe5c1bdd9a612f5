//! Arguments of the commands about the director and this program.

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

#[derive(Args)]
pub struct CompletionArgs {
    /// bash, zsh or fish
    #[arg(value_name = "SHELL")]
    pub shell: String,
}

#[derive(Args)]
pub struct ExplainArgs {
    /// Error code, like 190014; all codes when absent
    #[arg(value_name = "ERROR-CODE")]
    pub code: Option<String>,
}
