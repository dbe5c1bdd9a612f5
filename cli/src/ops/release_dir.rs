//! What release authors do besides `create-release` (spec releases-and-templates §9.1, §9.4-§9.6). The work itself is
//! the crate `release-archive`.

use super::Context;
use super::create_release::{BuildLines, open_dir, print_release};
use crate::commands::{
    FinalizeReleaseArgs, GenerateArgs, InitReleaseArgs, RedigestReleaseArgs, ReleaseDirArgs,
    VendorPackageArgs,
};
use crate::config::{Paths, expand};
use crate::error::Result;
use domain::DigestAlgorithm;
use release_archive::Release;
use std::collections::BTreeSet;

pub fn init(context: &Context, args: InitReleaseArgs) -> Result<()> {
    Ok(open_dir(&context.settings, &args.folder.dir)?.init(args.git)?)
}

pub fn reset(context: &Context, args: ReleaseDirArgs) -> Result<()> {
    Ok(open_dir(&context.settings, &args.dir)?.reset()?)
}

pub fn generate_job(context: &Context, args: GenerateArgs) -> Result<()> {
    Ok(open_dir(&context.settings, &args.folder.dir)?.generate_job(&args.name)?)
}

pub fn generate_package(context: &Context, args: GenerateArgs) -> Result<()> {
    Ok(open_dir(&context.settings, &args.folder.dir)?.generate_package(&args.name)?)
}

pub fn vendor_package(context: &Context, args: VendorPackageArgs) -> Result<()> {
    let source = open_dir(&context.settings, &args.source)?;
    let target = open_dir(&context.settings, &args.folder.dir)?;
    let mut lines = BuildLines(&context.ui);
    target.vendor_package(&source, &args.package, &args.prefix, &mut lines)?;
    Ok(())
}

pub fn finalize(context: &Context, args: FinalizeReleaseArgs) -> Result<()> {
    let dir = open_dir(&context.settings, &args.folder.dir)?;
    if !expand(&args.path)?.exists() {
        let path = &args.path;
        return Err(format!("stat {path}: no such file or directory").into());
    }
    let mut release = read(&args.path)?;
    if let Some(name) = args.name {
        release.manifest.name = name;
    }
    let mut lines = BuildLines(&context.ui);
    dir.finish(&mut release, args.version.as_ref(), args.force, &mut lines)?;
    print_release(&context.ui, &release.manifest, None);
    Ok(())
}

pub fn redigest(
    context: &Context,
    args: RedigestReleaseArgs,
    algorithm: DigestAlgorithm,
) -> Result<()> {
    let mut release = read(&args.path)?;
    release.redigest(&algorithm)?;
    release.write_tarball(&args.destination, &BTreeSet::new())?;
    print_release(&context.ui, &release.manifest, Some(args.destination));
    Ok(())
}

/// A release from its tarball, verified.
fn read(path: &str) -> Result<Release> {
    let release = Release::read(&expand(path)?, Paths::prepare()?.tmp())?;
    release.verify()?;
    Ok(release)
}
