//! Tar archives, gzipped or plain: told apart by content, as names lie.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use walkdir::WalkDir;

/// The first bytes of a gzip stream.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The archive's bytes after decompression, if it is compressed.
pub fn decompressed(archive: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut archive = BufReader::with_capacity(64 * 1024, archive);
    let start = io::BufRead::fill_buf(&mut archive)?;
    if start.starts_with(&GZIP) {
        Ok(Box::new(MultiGzDecoder::new(archive)))
    } else {
        Ok(Box::new(archive))
    }
}

/// Whether an archive is gzipped, by its first bytes.
pub(crate) fn is_compressed(mut archive: impl Read) -> io::Result<bool> {
    let mut start = Vec::new();
    archive.by_ref().take(2).read_to_end(&mut start)?;
    Ok(start == GZIP)
}

/// All regular files of an archive in memory, by their path without a leading `./`. For small archives.
pub fn read_files(archive: impl Read) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut archive = archive;
    archive.read_to_end(&mut bytes)?;
    let mut tar = tar::Archive::new(decompressed(io::Cursor::new(bytes))?);
    let mut files = BTreeMap::new();
    for entry in tar.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()) {
            continue;
        }
        let name = relative(&entry.path()?);
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(name, content);
    }
    Ok(files)
}

/// Unpacks an archive below a folder; entries that lead outside of it are refused.
pub fn unpack(archive: impl Read + 'static, folder: &Path) -> io::Result<()> {
    let mut tar = tar::Archive::new(decompressed(archive)?);
    tar.set_preserve_ownerships(false);
    tar.set_overwrite(true);
    for entry in tar.entries()? {
        let mut entry = entry?;
        if !entry.unpack_in(folder)? {
            let name = entry.path()?.display().to_string();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the archive's entry '{name}' leads outside of its folder"),
            ));
        }
    }
    Ok(())
}

/// Reads the whole archive, so that a truncated or damaged one is found out.
pub fn check(archive: impl Read + 'static) -> io::Result<()> {
    let mut tar = tar::Archive::new(decompressed(archive)?);
    for entry in tar.entries()? {
        io::copy(&mut entry?, &mut io::sink())?;
    }
    Ok(())
}

/// Packs a folder's content, entries starting with `./`, sorted, owned by root with a fixed time: the same content
/// gives the same bytes.
pub fn pack(folder: &Path, compressed: bool, archive: impl Write) -> io::Result<()> {
    if compressed {
        let mut encoder = GzEncoder::new(archive, Compression::default());
        pack_plain(folder, b"./", &mut encoder)?;
        encoder.finish()?.flush()
    } else {
        let mut archive = archive;
        pack_plain(folder, b"./", &mut archive)?;
        archive.flush()
    }
}

/// Packs what is in a folder, compressed, without the `./` and the folder itself: the shape of stemcells.
pub fn pack_content(folder: &Path, archive: impl Write) -> io::Result<()> {
    let mut encoder = GzEncoder::new(archive, Compression::default());
    pack_plain(folder, b"", &mut encoder)?;
    encoder.finish()?.flush()
}

fn pack_plain(folder: &Path, prefix: &[u8], archive: &mut dyn Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(archive);
    tar.mode(tar::HeaderMode::Deterministic);
    tar.follow_symlinks(false);
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        let below = entry
            .path()
            .strip_prefix(folder)
            .map_err(io::Error::other)?;
        // `tar::Builder` drops a leading `./` of a `Path`, so the name goes in as bytes.
        let mut name = prefix.to_vec();
        name.extend_from_slice(below.as_os_str().as_bytes());
        if name.is_empty() {
            continue;
        }
        // As tar programs name folders.
        if entry.file_type().is_dir() && !name.ends_with(b"/") {
            name.push(b'/');
        }
        append(&mut tar, entry.path(), &name)?;
    }
    tar.finish()
}

fn append(tar: &mut tar::Builder<&mut dyn Write>, path: &Path, name: &[u8]) -> io::Result<()> {
    let metadata = fs_err::symlink_metadata(path)?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata_in_mode(&metadata, tar::HeaderMode::Deterministic);
    header.set_mode(metadata.mode() & 0o7777);
    if metadata.is_symlink() {
        let target = fs_err::read_link(path)?;
        set_name(tar, &mut header, name)?;
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        if header
            .set_link_name_literal(target.as_os_str().as_bytes())
            .is_err()
        {
            long_entry(
                tar,
                tar::EntryType::GNULongLink,
                target.as_os_str().as_bytes(),
            )?;
        }
        header.set_cksum();
        return tar.append(&header, io::empty());
    }
    set_name(tar, &mut header, name)?;
    header.set_cksum();
    if metadata.is_dir() {
        tar.append(&header, io::empty())
    } else {
        tar.append(&header, fs_err::File::open(path)?)
    }
}

/// Puts the name in as it is, with GNU's long-name entry before it where it doesn't fit.
fn set_name(
    tar: &mut tar::Builder<&mut dyn Write>,
    header: &mut tar::Header,
    name: &[u8],
) -> io::Result<()> {
    let field = &mut header.as_old_mut().name;
    field.fill(0);
    if name.len() < field.len() {
        field[..name.len()].copy_from_slice(name);
        return Ok(());
    }
    let length = field.len();
    field.copy_from_slice(&name[..length]);
    long_entry(tar, tar::EntryType::GNULongName, name)
}

fn long_entry(
    tar: &mut tar::Builder<&mut dyn Write>,
    kind: tar::EntryType,
    name: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    let marker = b"././@LongLink";
    header.as_old_mut().name[..marker.len()].copy_from_slice(marker);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(kind);
    header.set_size(name.len() as u64 + 1);
    header.set_cksum();
    let content = [name, b"\0"].concat();
    tar.append(&header, content.as_slice())
}

/// A tar being written entry by entry from memory and files, with the same fixed attributes.
pub struct Writer<W: Write>(tar::Builder<W>);

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self(tar::Builder::new(out))
    }

    /// Adds a folder entry; the name should end with `/`.
    pub fn folder(&mut self, name: &str) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        self.0.append_data(&mut header, name, io::empty())
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut header = header(tar::EntryType::Regular, mode, content.len() as u64);
        self.0.append_data(&mut header, name, content)
    }

    /// Adds a file from disk.
    pub fn copy(&mut self, name: &str, mode: u32, path: &Path) -> io::Result<()> {
        let file = fs_err::File::open(path)?;
        let mut header = header(tar::EntryType::Regular, mode, file.metadata()?.len());
        self.0.append_data(&mut header, name, file)
    }

    /// Ends the archive and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        self.0.into_inner()
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    // Any fixed time will do; tar programs complain about the epoch itself.
    header.set_mtime(315_532_800);
    header.set_size(size);
    header
}

fn relative(path: &Path) -> String {
    let parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy()),
            _ => None,
        })
        .collect();
    parts.join("/")
}
