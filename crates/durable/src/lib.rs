//! Replacing a file at once and for good.
//!
//! Everything that keeps state in a file (the agent, the CPI `local`, the CLI, release folders, the permissions of the
//! message server) writes it through [`replace`]: whoever reads, also after a crash at any moment, finds the old content
//! or the new one, never a part.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

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
    // Removed when dropped, so a failure leaves nothing.
    let mut new = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)?;
    new.write_all(content)?;
    let mode = match mode {
        Mode::Is(mode) => mode,
        Mode::KeepOr(mode) => {
            fs_err::metadata(path).map_or(mode, |old| old.permissions().mode() & 0o7777)
        }
    };
    new.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| {
        io::Error::new(
            error.error.kind(),
            format!("{} can't be replaced: {}", path.display(), error.error),
        )
    })?;
    // The rename itself is durable once the folder is.
    fs_err::File::open(folder)?.sync_all()
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
}
