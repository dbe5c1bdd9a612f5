//! Stemcells: a gzipped tar of a root file system becomes a folder (`docs/spec/cpi.md` §11.2 item 1).

use cpi::{CreateStemcell, Fault};
use domain::{Digest, DigestAlgorithm};
use flate2::read::MultiGzDecoder;
use std::io::BufReader;
use std::path::Path;

use crate::error::Error;
use crate::report::say;
use crate::store::Store;

/// The CID is made of the content, so importing the same image twice gives one folder.
pub fn create(store: &Store, request: &CreateStemcell) -> Result<String, Error> {
    if let Some(path) = request.cloud_properties["rootfs_path"].as_str() {
        return link(store, Path::new(path));
    }
    let digest = digest(&request.image_path)?;
    let cid = format!("sc-{}", &digest[..32]);
    let _lock = store.lock(&cid)?;
    let place = store.stemcell(&cid)?;
    if place.is_dir() {
        say(format!("stemcell {cid} is already imported"));
        return Ok(cid);
    }
    let part = store.stemcell(&format!("{cid}.tmp"))?;
    remove_tree(&part)?;
    fs_err::create_dir_all(part.join("rootfs"))?;
    if let Err(error) = unpack(&request.image_path, &part.join("rootfs")) {
        remove_tree(&part)?;
        return Err(error);
    }
    fs_err::rename(&part, &place)?;
    Ok(cid)
}

/// A light stemcell: a root file system that is on this host already.
fn link(store: &Store, rootfs: &Path) -> Result<String, Error> {
    if !rootfs.is_absolute() || !rootfs.is_dir() {
        return Err(Fault::cloud_error(format!(
            "cloud_properties.rootfs_path: '{}' is not a folder of this host",
            rootfs.display()
        ))
        .into());
    }
    let digest = Digest::sha256(&*rootfs.to_string_lossy());
    let cid = format!("light-{}", &digest.hex()[..32]);
    let place = store.stemcell(&cid)?;
    fs_err::create_dir_all(&place)?;
    let link = place.join("rootfs");
    if !link.is_symlink() {
        fs_err::os::unix::fs::symlink(rootfs, link)?;
    }
    Ok(cid)
}

/// Refused while a VM stands on it; gone already is fine.
pub fn delete(store: &Store, cid: &str) -> Result<(), Error> {
    let Ok(place) = store.stemcell(cid) else {
        return Ok(());
    };
    let _lock = store.lock(cid)?;
    if let Some(vm) = store.vms()?.iter().find(|vm| vm.stemcell_cid == cid) {
        return Err(Fault::cloud_error(format!(
            "stemcell {cid} is in use by VM {}; delete that first",
            vm.cid
        ))
        .into());
    }
    if place.is_dir() {
        // Renamed first: half a stemcell must never be found under its name.
        let part = store.stemcell(&format!("{cid}.tmp"))?;
        remove_tree(&part)?;
        fs_err::rename(&place, &part)?;
        remove_tree(&part)?;
    }
    store.forget_lock(cid);
    Ok(())
}

fn digest(image: &Path) -> Result<String, Error> {
    let digest = Digest::of_reader(DigestAlgorithm::Sha256, fs_err::File::open(image)?)
        .map_err(std::io::Error::other)?;
    Ok(digest.hex().to_owned())
}

fn unpack(image: &Path, to: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let broken = |e: std::io::Error| {
        if e.kind() == std::io::ErrorKind::StorageFull {
            return Error::File(e);
        }
        Error::from(Fault::cloud_error(format!(
            "The stemcell's image is not a gzipped tar of a root file system: {e}"
        )))
    };
    // `image` may be several gzip members.
    let file = BufReader::with_capacity(1 << 20, fs_err::File::open(image)?);
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file));
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_unpack_xattrs(true);
    archive.set_overwrite(true);
    let mut folders = Vec::new();
    let mut entries = 0;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        entries += 1;
        let kind = entry.header().entry_type();
        // Devices are made for each VM.
        if kind.is_block_special() || kind.is_character_special() {
            continue;
        }
        if kind.is_dir() {
            folders.push((
                entry.path().map_err(broken)?.into_owned(),
                entry.header().mode().map_err(broken)?,
            ));
        }
        if !entry.unpack_in(to).map_err(broken)? {
            return Err(Fault::cloud_error(format!(
                "The stemcell's image has a member outside of its root: '{}'",
                entry.path().map_err(broken)?.display()
            ))
            .into());
        }
    }
    if entries == 0 {
        return Err(Fault::cloud_error("The stemcell's image is empty").into());
    }
    // A folder may come after its content, and with narrower rights.
    for (path, mode) in folders.into_iter().rev() {
        let place = to.join(path);
        if place.is_dir() && !place.is_symlink() {
            fs_err::set_permissions(&place, std::fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Removes a folder of ours; gone already is fine.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
