//! `create-env`, `delete-env`, `stop-env`, `start-env`: the flags read and handed to `crate::single_vm`.

use super::Context;
use crate::commands::{CreateEnvArgs, DeleteEnvArgs, EnvArgs, StopEnvArgs};
use crate::config::expand;
use crate::error::Result;
use crate::interpolate;
use crate::single_vm::{self, Options, Recreate};

pub async fn create(context: &Context, args: CreateEnvArgs) -> Result<()> {
    let mut options = options(context, &args.env)?;
    options.skip_drain = args.skip_drain;
    options.package_dir = args.package_dir;
    let recreate = Recreate {
        vm: args.recreate,
        disks: args.recreate_persistent_disks,
    };
    single_vm::create(options, recreate).await
}

pub async fn delete(context: &Context, args: DeleteEnvArgs) -> Result<()> {
    let mut options = options(context, &args.env)?;
    options.skip_drain = args.skip_drain;
    options.package_dir = args.package_dir;
    single_vm::delete(options).await
}

pub async fn stop(context: &Context, args: StopEnvArgs) -> Result<()> {
    let mut options = options(context, &args.env)?;
    options.skip_drain = args.skip_drain;
    single_vm::stop(options).await
}

pub async fn start(context: &Context, args: EnvArgs) -> Result<()> {
    single_vm::start(options(context, &args)?).await
}

fn options(context: &Context, args: &EnvArgs) -> Result<Options> {
    Ok(Options {
        ui: context.ui.clone(),
        manifest: std::path::absolute(expand(&args.manifest)?)?,
        text: interpolate::read_template(&args.manifest)?,
        variables: args.vars_ops.load()?,
        state: args.state.clone(),
        package_dir: None,
        skip_drain: false,
    })
}
