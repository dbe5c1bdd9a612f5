//! What can be typed: one clap definition per command, in the names, aliases and flags of the original
//! (spec cli §1, §11). What a command does is in `ops`.

mod authoring;
mod configs;
mod deployments;
mod environment;
mod instances;
mod local;
mod parse;
mod releases;
mod resources;
mod single_vm;
pub mod slugs;
mod ssh;
mod tasks;
pub mod types;
mod words;

pub use authoring::*;
pub use configs::*;
pub use deployments::*;
pub use environment::*;
pub use instances::*;
pub use local::*;
pub use parse::{Parsed, parse};
pub use releases::*;
pub use resources::*;
pub use single_vm::*;
pub use ssh::*;
pub use tasks::*;

use crate::interpolate::InterpolateArgs;
use clap::{ArgAction, Args, Parser, Subcommand};

/// The whole command line.
#[derive(Parser)]
#[command(
    name = "bosun",
    about = "Deploys and operates BOSH deployments",
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_override_self = true,
    subcommand_required = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Show the version
    #[arg(short = 'v', long, action = ArgAction::SetTrue)]
    pub version: bool,
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes, before or after its name.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Config file path [env: BOSH_CONFIG] [default: ~/.bosh/config]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<String>,
    /// Director environment name or URL [env: BOSH_ENVIRONMENT]
    #[arg(short, long, global = true, value_name = "URL")]
    pub environment: Option<String>,
    /// Director CA certificate path or value [env: BOSH_CA_CERT]
    #[arg(long, global = true, value_name = "CERT", value_parser = types::ca_cert)]
    pub ca_cert: Option<String>,
    /// Accepted for compatibility; SHA-256 is always used [env: BOSH_SHA2]
    #[arg(long, global = true)]
    pub sha2: bool,
    /// The number of parallel workers
    #[arg(long, global = true, default_value_t = 5, value_name = "N", value_parser = types::int)]
    pub parallel: i64,
    /// User or UAA client [env: BOSH_CLIENT]
    #[arg(long, global = true, value_name = "NAME")]
    pub client: Option<String>,
    /// Password or UAA client secret [env: BOSH_CLIENT_SECRET]
    #[arg(long, global = true, value_name = "SECRET")]
    pub client_secret: Option<String>,
    /// Deployment name [env: BOSH_DEPLOYMENT]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub deployment: Option<String>,
    /// Show only these columns
    #[arg(long, global = true, value_name = "COLUMN")]
    pub column: Vec<String>,
    /// Output as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Force terminal-like output [env: BOSH_TTY]
    #[arg(long, global = true)]
    pub tty: bool,
    /// Turn colours off
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Don't ask for user input [env: BOSH_NON_INTERACTIVE]
    #[arg(short, long, global = true)]
    pub non_interactive: bool,
}

impl Command {
    /// Whether it is about processes of this machine, which have their own ways with signals.
    pub fn is_local(&self) -> bool {
        matches!(
            self,
            Command::Up(_)
                | Command::Down(_)
                | Command::Status(_)
                | Command::EnvironmentSupervisor(_)
        )
    }
}

/// All commands, by topic.
#[derive(Subcommand)]
pub enum Command {
    // --- the environment on this machine
    /// Start an environment on this machine: database, messages, director
    Up(UpArgs),
    /// Stop the environment on this machine
    Down(DownArgs),
    /// Show what of the environment on this machine runs
    Status(HomeArgs),
    #[command(hide = true)]
    EnvironmentSupervisor(HomeArgs),

    // --- about this program
    /// Show this help message
    Help,
    /// Print a script for the shell's completion of commands and flags
    Completion(CompletionArgs),
    /// Explain an error code of the director: what it means, what to do
    Explain(ExplainArgs),

    // --- environments and session
    /// Show the environment
    #[command(visible_alias = "env")]
    Environment(EnvironmentArgs),
    /// List environments
    #[command(visible_alias = "envs")]
    Environments,
    /// Alias an environment to save its URL and CA certificate
    AliasEnv(AliasArgs),
    /// Forget an environment alias
    UnaliasEnv(AliasArgs),
    /// Log in
    #[command(visible_aliases = ["l", "login"])]
    LogIn,
    /// Log out
    #[command(visible_alias = "logout")]
    LogOut,

    // --- tasks
    /// Show task status and follow its output
    #[command(visible_alias = "t")]
    Task(TaskArgs),
    /// List running or recent tasks
    #[command(visible_alias = "ts")]
    Tasks(TasksArgs),
    /// Cancel a task at its next checkpoint
    #[command(visible_alias = "ct")]
    CancelTask(CancelTaskArgs),
    /// Cancel tasks at their next checkpoints
    #[command(visible_alias = "cts")]
    CancelTasks(CancelTasksArgs),

    // --- stemcells
    /// List stemcells
    #[command(visible_alias = "ss")]
    Stemcells,
    /// Upload a stemcell
    #[command(visible_alias = "us")]
    UploadStemcell(UploadStemcellArgs),
    /// Delete a stemcell
    #[command(visible_alias = "dels")]
    DeleteStemcell(DeleteStemcellArgs),
    /// Display a local stemcell's metadata
    InspectLocalStemcell(InspectLocalStemcellArgs),
    /// Write a stemcell with another name, version, image or properties
    RepackStemcell(RepackStemcellArgs),

    // --- releases
    /// List releases
    #[command(visible_alias = "rs")]
    Releases,
    /// Upload a release
    #[command(visible_alias = "ur")]
    UploadRelease(UploadReleaseArgs),
    /// Create a release
    #[command(visible_alias = "cr")]
    CreateRelease(CreateReleaseArgs),
    /// List a release's jobs and packages
    InspectRelease(InspectReleaseArgs),
    /// List a local release's jobs and packages
    InspectLocalRelease(InspectLocalReleaseArgs),
    /// Delete a release
    #[command(visible_alias = "delr")]
    DeleteRelease(DeleteReleaseArgs),
    /// Export a compiled release to a tarball
    ExportRelease(ExportReleaseArgs),

    // --- release authors
    /// Start a release folder
    InitRelease(InitReleaseArgs),
    /// Delete what was built and downloaded in a release folder
    ResetRelease(ReleaseDirArgs),
    /// Make an empty job
    GenerateJob(GenerateArgs),
    /// Make an empty package
    GeneratePackage(GenerateArgs),
    /// Take a package over from another release folder
    VendorPackage(VendorPackageArgs),
    /// Make a final release of a release tarball
    FinalizeRelease(FinalizeReleaseArgs),
    /// Write a release tarball with SHA-1 digests
    #[command(name = "sha1ify-release")]
    Sha1ifyRelease(RedigestReleaseArgs),
    /// Write a release tarball with SHA-256 digests
    #[command(name = "sha2ify-release")]
    Sha2ifyRelease(RedigestReleaseArgs),
    /// List the blobs of a release folder
    Blobs(ReleaseDirArgs),
    /// Add a blob
    AddBlob(AddBlobArgs),
    /// Remove a blob
    RemoveBlob(RemoveBlobArgs),
    /// Download blobs that are missing or wrong
    SyncBlobs(ReleaseDirArgs),
    /// Upload blobs to the release's blobstore
    UploadBlobs(ReleaseDirArgs),

    // --- configs
    /// Show a config
    #[command(visible_alias = "c")]
    Config(ConfigArgs),
    /// List configs
    #[command(visible_alias = "cs")]
    Configs(ConfigsArgs),
    /// Update a config
    #[command(visible_alias = "uc")]
    UpdateConfig(UpdateConfigArgs),
    /// Delete a config
    #[command(visible_alias = "dc")]
    DeleteConfig(ConfigArgs),
    /// Compare two configs
    DiffConfig(DiffConfigArgs),
    /// Show the current cloud config
    #[command(visible_alias = "cc")]
    CloudConfig(NamedConfigArgs),
    /// Update the cloud config
    #[command(visible_alias = "ucc")]
    UpdateCloudConfig(UpdateCloudConfigArgs),
    /// Show the current runtime config
    #[command(visible_alias = "rc")]
    RuntimeConfig(NamedConfigArgs),
    /// Update a runtime config
    #[command(visible_alias = "urc")]
    UpdateRuntimeConfig(UpdateRuntimeConfigArgs),
    /// Show the current CPI config
    CpiConfig,
    /// Update the CPI config
    UpdateCpiConfig(UpdateCpiConfigArgs),

    // --- deployments
    /// Show a deployment
    #[command(visible_alias = "dep")]
    Deployment,
    /// List deployments
    #[command(visible_aliases = ["ds", "deps"])]
    Deployments,
    /// Create or update a deployment
    #[command(visible_alias = "d")]
    Deploy(Box<DeployArgs>),
    /// Show a deployment's manifest
    #[command(visible_alias = "man")]
    Manifest,
    /// Delete a deployment
    #[command(visible_alias = "deld")]
    DeleteDeployment(ForceArgs),
    /// List a deployment's variables
    #[command(visible_alias = "vars")]
    Variables,
    /// List errands
    #[command(visible_alias = "es")]
    Errands,
    /// Run an errand
    RunErrand(RunErrandArgs),
    /// Look for problems and resolve them
    #[command(visible_aliases = ["cck", "cloudcheck"])]
    CloudCheck(CloudCheckArgs),
    /// Look for problems and write a plan for their repair
    CreateRecoveryPlan(CreateRecoveryPlanArgs),
    /// Repair a deployment after a plan
    Recover(RecoverArgs),
    /// List events
    Events(EventsArgs),
    /// Show an event
    Event(EventArgs),
    /// List current locks
    Locks,

    // --- instances
    /// List all instances
    #[command(visible_alias = "is")]
    Instances(InstancesArgs),
    /// List all VMs
    Vms(VmsArgs),
    /// Start instances
    Start(StartArgs),
    /// Stop instances
    Stop(StopArgs),
    /// Restart instances
    Restart(RestartArgs),
    /// Recreate instances
    Recreate(RecreateArgs),
    /// Ignore an instance in further deploys
    Ignore(InstanceArgs),
    /// Stop ignoring an instance
    Unignore(InstanceArgs),
    /// Delete a VM
    DeleteVm(CidArgs),
    /// Turn resurrection on or off
    UpdateResurrection(UpdateResurrectionArgs),
    /// Open a shell on an instance or run commands on several
    Ssh(Box<SshArgs>),
    /// Copy files to or from instances
    Scp(Box<ScpArgs>),
    /// Fetch or follow the logs of instances
    Logs(Box<LogsArgs>),
    /// Capture network packets on instances
    Pcap(Box<PcapArgs>),

    // --- disks, snapshots, clean-up
    /// List disks
    Disks(DisksArgs),
    /// Attach a disk to an instance
    AttachDisk(AttachDiskArgs),
    /// Delete an orphaned disk
    DeleteDisk(CidArgs),
    /// Orphan a disk
    OrphanDisk(CidArgs),
    /// List networks
    Networks(NetworksArgs),
    /// Delete an orphaned network
    DeleteNetwork(DeleteNetworkArgs),
    /// List orphaned VMs
    OrphanedVms,
    /// List snapshots
    Snapshots(TakeSnapshotArgs),
    /// Take a snapshot
    TakeSnapshot(TakeSnapshotArgs),
    /// Delete a snapshot
    DeleteSnapshot(CidArgs),
    /// Delete all snapshots of a deployment
    DeleteSnapshots,
    /// Remove unused releases, stemcells, disks and VMs
    #[command(visible_aliases = ["cl", "cleanup"])]
    CleanUp(CleanUpArgs),
    /// Make an HTTP request to the director
    Curl(CurlArgs),

    // --- a VM without a director
    /// Create or update BOSH environment
    CreateEnv(Box<CreateEnvArgs>),
    /// Delete BOSH environment
    DeleteEnv(Box<DeleteEnvArgs>),
    /// Stop BOSH environment
    StopEnv(Box<StopEnvArgs>),
    /// Start BOSH environment
    StartEnv(Box<EnvArgs>),

    // --- manifests
    /// Put a template together from variables and operations
    #[command(visible_alias = "int")]
    Interpolate(InterpolateArgs),
}
