//! Tar archives, gzipped or not: unpacking bundles and packing results. Blocking; call through `blobs::blocking`.

use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use fs_err as fs;

use crate::error::{Context, Result, plain};

/// Whether the file starts with gzip's magic number.
pub fn is_gzip(path: &Path) -> Result<bool> {
    let mut magic = [0; 2];
    let mut file = fs::File::open(path).map_err(plain)?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b])
}

/// Unpacks an archive into a directory that exists. Modes are kept, owners are not; entries that would leave the
/// directory are skipped.
pub fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let gzip = is_gzip(archive)?;
    let mut file = fs::File::open(archive).map_err(plain)?;
    file.seek(SeekFrom::Start(0)).map_err(plain)?;
    let reader = BufReader::new(file);
    let reader: Box<dyn Read> = if gzip {
        Box::new(GzDecoder::new(reader))
    } else {
        Box::new(reader)
    };
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_preserve_ownerships(false);
    archive.unpack(into).context("Decompressing files")
}

/// Writes a directory's content as a tar archive with `./` names, gzipped or not.
pub fn pack(directory: &Path, to: &Path, gzip: bool) -> Result<()> {
    let file = BufWriter::new(fs::File::create(to).map_err(plain)?);
    let packed = if gzip {
        let encoder = GzEncoder::new(file, Compression::default());
        append_tree(encoder, directory).and_then(|encoder| encoder.finish())
    } else {
        append_tree(file, directory)
    };
    packed
        .and_then(|mut file| file.flush())
        .context("Compressing files")
}

fn append_tree<W: Write>(writer: W, directory: &Path) -> std::io::Result<W> {
    let mut builder = tar::Builder::new(writer);
    builder.follow_symlinks(false);
    builder.append_dir_all(".", directory)?;
    builder.into_inner()
}

/// Writes some files as a gzipped tar archive: name in the archive and where the content is. Links are followed; a
/// file that went away meanwhile (a rotated log) is left out.
pub fn pack_files(files: &[(String, PathBuf)], to: &Path) -> Result<()> {
    let file = BufWriter::new(fs::File::create(to).map_err(plain)?);
    let mut builder = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, path) in files {
        let Ok(content) = fs::File::open(path) else {
            continue;
        };
        let meta = content.metadata().map_err(plain)?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&meta);
        // Logs grow while they are read: exactly as much as the header says must follow.
        let size = meta.len();
        let padded = content.take(size).chain(std::io::repeat(0)).take(size);
        builder
            .append_data(&mut header, name, padded)
            .with_context(|| format!("Adding {name}"))?;
    }
    builder
        .into_inner()
        .and_then(|encoder| encoder.finish())
        .and_then(|mut file| file.flush())
        .context("Compressing files")
}
