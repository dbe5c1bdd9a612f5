//! Arguments of ssh, scp and logs.

use super::slugs::PoolOrInstanceSlug;
use clap::Args;

/// How to get to the instances.
#[derive(Args, Clone, Default)]
pub struct GatewayArgs {
    /// Connect directly [env: BOSH_GW_DISABLE]
    #[arg(long)]
    pub gw_disable: bool,
    /// User on the gateway [env: BOSH_GW_USER]
    #[arg(long, value_name = "NAME")]
    pub gw_user: Option<String>,
    /// Gateway host [env: BOSH_GW_HOST]
    #[arg(long, value_name = "HOST")]
    pub gw_host: Option<String>,
    /// Private key for the gateway [env: BOSH_GW_PRIVATE_KEY]
    #[arg(long, value_name = "PATH")]
    pub gw_private_key: Option<String>,
    /// SOCKS5 proxy [env: BOSH_ALL_PROXY]
    #[arg(long, value_name = "URL")]
    pub gw_socks5: Option<String>,
}

#[derive(Args)]
pub struct SshArgs {
    /// Instances; all when absent
    #[arg(
        value_name = "GROUP[/ID]",
        default_value = "",
        hide_default_value = true
    )]
    pub slug: PoolOrInstanceSlug,
    /// Command to run
    #[arg(short, long, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Command to run, as words
    #[arg(last = true, value_name = "WORDS")]
    pub words: Vec<String>,
    /// Options passed to ssh as they are
    #[arg(long = "opts", value_name = "OPTION", allow_hyphen_values = true)]
    pub options: Vec<String>,
    /// Show results as a table instead of streaming
    #[arg(short, long)]
    pub results: bool,
    /// Log in with this key instead of one made for the session
    #[arg(short = 'i', long, value_name = "PATH")]
    pub private_key: Option<String>,
    /// User that the key belongs to
    #[arg(short = 'l', long, value_name = "NAME", default_value = "vcap")]
    pub username: String,
    #[command(flatten)]
    pub gateway: GatewayArgs,
}

#[derive(Args)]
pub struct ScpArgs {
    /// Source and destination, one of them GROUP[/ID]:PATH
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,
    /// Copy folders with what is in them
    #[arg(short, long)]
    pub recursive: bool,
    #[command(flatten)]
    pub gateway: GatewayArgs,
}

#[derive(Args)]
pub struct LogsArgs {
    /// Instances; all when absent
    #[arg(
        value_name = "GROUP[/ID]",
        default_value = "",
        hide_default_value = true
    )]
    pub slug: PoolOrInstanceSlug,
    /// Folder for the downloaded logs
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: String,
    /// Follow logs as they are written
    #[arg(short, long)]
    pub follow: bool,
    /// Show the last lines of each log
    #[arg(long, value_name = "LINES")]
    pub num: Option<u32>,
    /// Don't print the names of the files that are followed
    #[arg(short, long)]
    pub quiet: bool,
    /// Only logs of these jobs
    #[arg(long = "job", value_name = "NAME")]
    pub jobs: Vec<String>,
    /// Only these logs (globs, comma separated)
    #[arg(long = "only", value_name = "GLOBS")]
    pub filters: Vec<String>,
    /// The agent's log
    #[arg(long)]
    pub agent: bool,
    /// The system's logs
    #[arg(long)]
    pub system: bool,
    /// Agent, job and system logs
    #[arg(long)]
    pub all_logs: bool,
    #[command(flatten)]
    pub gateway: GatewayArgs,
}
