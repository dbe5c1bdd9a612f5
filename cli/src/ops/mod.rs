//! What the commands do. One file per noun; each function takes the session and its arguments, prints
//! through the session's `Ui` and returns the error to show.

mod blobs;
mod cloud_check;
mod completion;
mod configs;
mod create_release;
mod curl;
mod deploy;
mod deployments;
mod disks;
mod environment;
mod errands;
mod events;
mod instances;
mod local;
mod login;
mod logs;
mod packets;
mod pcap;
mod proxy;
mod recovery;
mod release_dir;
mod releases;
mod repack_stemcell;
mod session;
mod single_vm;
mod ssh;
mod state;
mod stemcells;
mod tasks;
mod template;
mod upload_release;

pub use session::{Context, Session};

use crate::commands::{Cli, Command};
use crate::error::Result;
use domain::DigestAlgorithm;

/// Carries a command out.
pub async fn run(context: &Context, cli: Cli) -> Result<()> {
    match cli.command {
        Command::Up(args) => local::up(context, args).await,
        Command::Down(args) => local::down(context, args).await,
        Command::Status(args) => local::status(context, args),
        Command::EnvironmentSupervisor(args) => local::supervise(args).await,

        // Answered when flags were read.
        Command::Help => Ok(()),
        Command::Completion(args) => completion::print(context, args),
        Command::Explain(args) => crate::explain::print(context, args),

        Command::Environment(args) => environment::show(context, args).await,
        Command::Environments => environment::list(context),
        Command::AliasEnv(args) => environment::alias(context, args).await,
        Command::UnaliasEnv(args) => environment::unalias(context, args),
        Command::LogIn => login::log_in(context).await,
        Command::LogOut => login::log_out(context),

        Command::Task(args) => tasks::follow(&context.connect().await?, args).await,
        Command::Tasks(args) => tasks::list(&context.connect().await?, args).await,
        Command::CancelTask(args) => tasks::cancel(&context.connect().await?, args).await,
        Command::CancelTasks(args) => tasks::cancel_all(&context.connect().await?, args).await,

        Command::Stemcells => stemcells::list(&context.connect().await?).await,
        Command::UploadStemcell(args) => stemcells::upload(&context.connect().await?, args).await,
        Command::DeleteStemcell(args) => stemcells::delete(&context.connect().await?, args).await,
        Command::InspectLocalStemcell(args) => stemcells::inspect_local(context, args),

        Command::Releases => releases::list(&context.connect().await?).await,
        Command::UploadRelease(args) => {
            upload_release::upload(&context.connect().await?, args).await
        }
        Command::CreateRelease(args) => create_release::create(context, args).await,
        Command::InspectRelease(args) => releases::inspect(&context.connect().await?, args).await,
        Command::InspectLocalRelease(args) => create_release::inspect_local(context, args),
        Command::DeleteRelease(args) => releases::delete(&context.connect().await?, args).await,
        Command::ExportRelease(args) => {
            releases::export(&context.connect_deployment().await?, args).await
        }

        Command::InitRelease(args) => release_dir::init(context, args),
        Command::ResetRelease(args) => release_dir::reset(context, args),
        Command::GenerateJob(args) => release_dir::generate_job(context, args),
        Command::GeneratePackage(args) => release_dir::generate_package(context, args),
        Command::VendorPackage(args) => release_dir::vendor_package(context, args),
        Command::FinalizeRelease(args) => release_dir::finalize(context, args),
        Command::Sha1ifyRelease(args) => {
            release_dir::redigest(context, args, DigestAlgorithm::Sha1)
        }
        Command::Sha2ifyRelease(args) => {
            release_dir::redigest(context, args, DigestAlgorithm::Sha256)
        }
        Command::Blobs(args) => blobs::list(context, args),
        Command::AddBlob(args) => blobs::add(context, args),
        Command::RemoveBlob(args) => blobs::remove(context, args),
        Command::SyncBlobs(args) => blobs::sync(context, args),
        Command::UploadBlobs(args) => blobs::upload(context, args),
        Command::RepackStemcell(args) => repack_stemcell::repack(args),

        Command::Config(args) => configs::show(&context.connect().await?, args).await,
        Command::Configs(args) => configs::list(&context.connect().await?, args).await,
        Command::UpdateConfig(args) => configs::update(&context.connect().await?, args).await,
        Command::DeleteConfig(args) => configs::delete(&context.connect().await?, args).await,
        Command::DiffConfig(args) => configs::diff(&context.connect().await?, args).await,
        Command::CloudConfig(args) => configs::show_cloud(&context.connect().await?, args).await,
        Command::UpdateCloudConfig(args) => {
            configs::update_cloud(&context.connect().await?, args).await
        }
        Command::RuntimeConfig(args) => {
            configs::show_runtime(&context.connect().await?, args).await
        }
        Command::UpdateRuntimeConfig(args) => {
            configs::update_runtime(&context.connect().await?, args).await
        }
        Command::CpiConfig => configs::show_cpi(&context.connect().await?).await,
        Command::UpdateCpiConfig(args) => {
            configs::update_cpi(&context.connect().await?, args).await
        }

        Command::Deployment => deployments::show(&context.connect_deployment().await?).await,
        Command::Deployments => deployments::list(&context.connect().await?).await,
        Command::Deploy(args) => deploy::deploy(&context.connect_deployment().await?, *args).await,
        Command::Manifest => deployments::manifest(&context.connect_deployment().await?).await,
        Command::DeleteDeployment(args) => {
            deployments::delete(&context.connect_deployment().await?, args).await
        }
        Command::Variables => deployments::variables(&context.connect_deployment().await?).await,
        Command::Errands => errands::list(&context.connect_deployment().await?).await,
        Command::RunErrand(args) => errands::run(&context.connect_deployment().await?, args).await,
        Command::CloudCheck(args) => {
            cloud_check::check(&context.connect_deployment().await?, args).await
        }
        Command::CreateRecoveryPlan(args) => {
            recovery::create(&context.connect_deployment().await?, args).await
        }
        Command::Recover(args) => {
            recovery::recover(&context.connect_deployment().await?, args).await
        }
        Command::Events(args) => events::list(&context.connect().await?, args).await,
        Command::Event(args) => events::show(&context.connect().await?, args).await,
        Command::Locks => environment::locks(&context.connect().await?).await,

        Command::Instances(args) => instances::list(&context.connect().await?, args).await,
        Command::Vms(args) => instances::list_vms(&context.connect().await?, args).await,
        Command::Start(args) => state::start(&context.connect_deployment().await?, args).await,
        Command::Stop(args) => state::stop(&context.connect_deployment().await?, args).await,
        Command::Restart(args) => state::restart(&context.connect_deployment().await?, args).await,
        Command::Recreate(args) => {
            state::recreate(&context.connect_deployment().await?, args).await
        }
        Command::Ignore(args) => {
            state::ignore(&context.connect_deployment().await?, args, true).await
        }
        Command::Unignore(args) => {
            state::ignore(&context.connect_deployment().await?, args, false).await
        }
        Command::DeleteVm(args) => {
            state::delete_vm(&context.connect_deployment().await?, args).await
        }
        Command::UpdateResurrection(args) => {
            state::update_resurrection(&context.connect().await?, args).await
        }
        Command::Ssh(args) => ssh::ssh(context, *args).await,
        Command::Scp(args) => ssh::scp(context, *args).await,
        Command::Logs(args) => logs::logs(context, *args).await,

        Command::Pcap(args) => pcap::capture(context, *args).await,
        Command::Networks(args) => disks::networks(&context.connect().await?, args).await,
        Command::DeleteNetwork(args) => {
            disks::delete_network(&context.connect().await?, args).await
        }

        Command::Disks(args) => disks::list(&context.connect().await?, args).await,
        Command::AttachDisk(args) => {
            disks::attach(&context.connect_deployment().await?, args).await
        }
        Command::DeleteDisk(args) => disks::delete(&context.connect().await?, args).await,
        Command::OrphanDisk(args) => disks::orphan(&context.connect().await?, args).await,
        Command::OrphanedVms => disks::orphaned_vms(&context.connect().await?).await,
        Command::Snapshots(args) => {
            disks::snapshots(&context.connect_deployment().await?, args).await
        }
        Command::TakeSnapshot(args) => {
            disks::take_snapshot(&context.connect_deployment().await?, args).await
        }
        Command::DeleteSnapshot(args) => {
            disks::delete_snapshots(&context.connect_deployment().await?, Some(args.cid)).await
        }
        Command::DeleteSnapshots => {
            disks::delete_snapshots(&context.connect_deployment().await?, None).await
        }
        Command::CleanUp(args) => disks::clean_up(&context.connect().await?, args).await,
        Command::Curl(args) => curl::curl(&context.connect().await?, args).await,
        Command::CreateEnv(args) => single_vm::create(context, *args).await,
        Command::DeleteEnv(args) => single_vm::delete(context, *args).await,
        Command::StopEnv(args) => single_vm::stop(context, *args).await,
        Command::StartEnv(args) => single_vm::start(context, *args).await,
        Command::Interpolate(args) => template::interpolate(context, args),
    }
}
