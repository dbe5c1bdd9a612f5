//! `repack-stemcell` (spec cli §11): the same stemcell with another name, version, image or properties.

use crate::commands::RepackStemcellArgs;
use crate::config::{Paths, expand};
use crate::error::{Error, Result, Within};
use crate::stemcell;
use release_archive::tarball;

pub fn repack(args: RepackStemcellArgs) -> Result<()> {
    let result = args.result;
    let source = expand(&args.path)?;
    let paths = Paths::prepare()?;
    let (folder, mut manifest) = stemcell::unpack(&source, paths.tmp())?;
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
    fs_err::write(folder.path().join(stemcell::MANIFEST), manifest.to_yaml())?;
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
