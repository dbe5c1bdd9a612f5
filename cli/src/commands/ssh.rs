//! Arguments of ssh, scp, logs and pcap.

use super::slugs::PoolOrInstanceSlug;
use super::types::{duration, existing_file, int, uint32};
use clap::Args;
use std::time::Duration;

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
    /// Instances, by group, ID or IP address; all when absent
    #[arg(
        value_name = "INSTANCE-GROUP[/INSTANCE-ID] | IP",
        default_value = "",
        hide_default_value = true
    )]
    pub slug: PoolOrInstanceSlug,
    /// Command to run, as words; with --command further instances (beyond the original)
    #[arg(value_name = "WORDS")]
    pub words: Vec<String>,
    /// Command to run
    #[arg(short, long, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Options passed to ssh as they are
    #[arg(long = "opts", value_name = "OPTION", allow_hyphen_values = true)]
    pub options: Vec<String>,
    /// Show results as a table instead of streaming
    #[arg(short, long)]
    pub results: bool,
    #[command(flatten)]
    pub login: LoginArgs,
    #[command(flatten)]
    pub gateway: GatewayArgs,
}

/// A key and user that the instance knows already.
#[derive(Args)]
pub struct LoginArgs {
    /// Log in with this key instead of one made for the session
    #[arg(short = 'i', long, value_name = "PATH", value_parser = existing_file)]
    pub private_key: Option<String>,
    /// User that the key belongs to
    #[arg(short = 'l', long, value_name = "NAME", default_value = "vcap")]
    pub username: String,
}

#[derive(Args)]
pub struct ScpArgs {
    /// Source and destination, one of them INSTANCE-GROUP[/INSTANCE-ID]:PATH
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Copy folders with what is in them
    #[arg(short, long)]
    pub recursive: bool,
    #[command(flatten)]
    pub login: LoginArgs,
    #[command(flatten)]
    pub gateway: GatewayArgs,
}

#[derive(Args)]
pub struct LogsArgs {
    /// Instances (the original takes one or a group); all when absent
    #[arg(value_name = "INSTANCE-GROUP[/INSTANCE-ID]")]
    pub slugs: Vec<PoolOrInstanceSlug>,
    /// Folder for the downloaded logs
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: String,
    /// Follow logs as they are written
    #[arg(short, long)]
    pub follow: bool,
    /// Show the last lines of each log
    #[arg(long, value_name = "LINES", value_parser = int)]
    pub num: Option<i64>,
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

#[derive(Args)]
pub struct PcapArgs {
    /// Instances; all when absent
    #[arg(value_name = "INSTANCE-GROUP[/INSTANCE-ID]")]
    pub slugs: Vec<PoolOrInstanceSlug>,
    /// Network interface to listen on
    #[arg(short, long, value_name = "NAME", default_value = "eth0")]
    pub interface: String,
    /// Which packets, in the language of tcpdump
    #[arg(
        short,
        long,
        value_name = "EXPRESSION",
        default_value = "",
        hide_default_value = true
    )]
    pub filter: String,
    /// Bytes of each packet to keep
    #[arg(short, long, value_name = "BYTES", default_value = "65535", value_parser = uint32)]
    pub snaplen: u32,
    /// File to write the packets to
    #[arg(short, long, value_name = "PATH", required = true)]
    pub output: String,
    /// How long to wait for the last packets after a stop
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub stop_timeout: Duration,
    #[command(flatten)]
    pub gateway: GatewayArgs,
}
