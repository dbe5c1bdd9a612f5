//! `repack-stemcell` (spec cli §11): the same stemcell with another name, version, image or properties.

use super::stemcell_manifest::StemcellManifest;
use crate::commands::RepackStemcellArgs;
use crate::config::{Paths, expand};
use crate::error::{Error, Result, Within};
use release_archive::{Problem, tarball};

pub fn repack(args: RepackStemcellArgs) -> Result<()> {
    let result = args.result;
    let source = expand(&args.path)?;
    let paths = Paths::prepare()?;
    let folder = tempfile::Builder::new()
        .prefix("stemcell-manager")
        .tempdir_in(paths.tmp())?;
    let reading = || format!("Extracting stemcell from '{}'", source.display());
    let file = std::fs::File::open(&source)
        .map_err(|error| Problem::io("lstat", &source, &error))
        .within(|| "Resolving tarball path")
        .within(reading)?;
    tarball::unpack(file, folder.path()).within(reading)?;
    let path = folder.path().join("stemcell.MF");
    let text = fs_err::read_to_string(&path).within(|| "Reading stemcell manifest")?;
    let mut manifest = StemcellManifest::parse(&text)?;
    if let Some(name) = args.name.filter(|name| !name.is_empty()) {
        manifest.set("name", name);
    }
    if let Some(version) = args.version.filter(|version| !version.is_empty()) {
        manifest.set("version", version);
    }
    if args.empty_image {
        fs_err::write(folder.path().join("image"), "")?;
    }
    if let Some(properties) = &args.cloud_properties {
        manifest.set_cloud_properties(properties)?;
    }
    if !args.format.is_empty() {
        manifest.set_formats(args.format);
    }
    fs_err::write(&path, manifest.to_yaml())?;
    let target = result.parent().unwrap_or(&result);
    fs_err::create_dir_all(target)?;
    let packed = tempfile::NamedTempFile::new_in(target)?;
    tarball::pack_content(folder.path(), packed.as_file()).within(|| "Packing the stemcell")?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs_err::set_permissions(packed.path(), mode)?;
    packed
        .persist(&result)
        .map_err(|error| Error::from(error.error))?;
    Ok(())
}
