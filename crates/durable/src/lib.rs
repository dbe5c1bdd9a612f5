//! Replacing a file at once and for good.
//!
//! Everything that keeps state in a file (the agent, the CPI `local`, the CLI, release folders, the permissions of the
//! message server) writes it through [`replace`]: whoever reads, also after a crash at any moment, finds the old content
//! or the new one, never a part.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;

/// The permission bits of the new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// These, whatever was there.
    Is(u32),
    /// Those of the file that is replaced; these if there is none.
    KeepOr(u32),
}

/// Writes `content` beside `path`, makes it durable and renames it there. Folders that are missing are made. A symbolic
/// link is replaced, not followed.
pub fn replace(path: &Path, content: &[u8], mode: Mode) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs_err::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    let mut new = open_alone(&beside)?;
    new.set_len(0)?;
    new.write_all(content)?;
    let mode = match mode {
        Mode::Is(mode) => mode,
        Mode::KeepOr(mode) => {
            fs_err::metadata(path).map_or(mode, |old| old.permissions().mode() & 0o7777)
        }
    };
    new.set_permissions(Permissions::from_mode(mode))?;
    new.sync_all()?;
    if let Err(error) = fs_err::rename(&beside, path) {
        let _ = fs_err::remove_file(&beside);
        return Err(error);
    }
    // The rename itself is durable once the folder is.
    fs_err::File::open(folder)?.sync_all()
}

/// The file for the new content, for the caller alone. Its name is fixed so that what a killed writer left is used up by
/// the next one; writers of the same file wait for each other.
fn open_alone(beside: &Path) -> io::Result<File> {
    loop {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(beside)?
            .into_file();
        file.lock()?;
        // While this one waited, the other has renamed the file.
        let opened = file.metadata()?;
        match fs_err::symlink_metadata(beside) {
            Ok(there) if (there.dev(), there.ino()) == (opened.dev(), opened.ino()) => {
                return Ok(file);
            }
            Ok(there) if there.is_symlink() => fs_err::remove_file(beside)?,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_gets_the_new_content_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        replace(&path, b"one", Mode::KeepOr(0o640)).unwrap();
        assert_eq!(mode(&path), 0o640);
        replace(&path, b"two", Mode::KeepOr(0o600)).unwrap();
        assert_eq!(mode(&path), 0o640);
        replace(&path, b"three", Mode::Is(0o600)).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs_err::read(&path).unwrap(), b"three");
        assert_eq!(fs_err::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_can_t_be_replaced_stays_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs_err::create_dir(&path).unwrap();
        let error = replace(&path, b"x", Mode::Is(0o600))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_is_used_up_and_writers_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs_err::write(folder.path().join(".state.new"), "a half, and much longer").unwrap();
        std::thread::scope(|scope| {
            for letter in [b'a', b'b', b'c', b'd'] {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        replace(path, &[letter; 4000], Mode::Is(0o600)).unwrap();
                    }
                });
            }
        });
        let content = fs_err::read(&path).unwrap();
        assert_eq!(content, vec![content[0]; 4000]);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }
}
