//! Servers that live exactly as long as the test process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;

/// What the names of the servers' folders in the temporary folder begin with.
const PREFIX: &str = "bosun-test-";
/// The file in such a folder that its process holds a lock on.
const IN_USE: &str = "in-use";
/// Age after which a folder that nobody has locked yet is taken for left behind.
const UNBORN: Duration = Duration::from_secs(120);

/// Runs a server with a folder of its own on a thread that never ends: a `mortal` server goes with the *thread* that
/// started it, so a test's own thread would take it down. `run` gets the folder, starts the server, tells what its
/// callers need to know about it and waits for its end.
pub(crate) fn keep<T, F, R>(kind: &str, run: R) -> anyhow::Result<T>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<()>>,
    R: FnOnce(PathBuf, SyncSender<T>) -> F + Send + 'static,
{
    sweep();
    let folder = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{kind}-"))
        .tempdir()?
        .keep();
    let lock = occupy(&folder)?;
    let (ready, started) = mpsc::sync_channel(1);
    let (failed, failure) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name(format!("test-{kind}"))
        .spawn(move || {
            let served = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(anyhow::Error::from)
                .and_then(|runtime| runtime.block_on(run(folder.clone(), ready)));
            if let Err(error) = served {
                let _ = failed.send(error);
            }
            let _ = std::fs::remove_dir_all(folder);
            drop(lock);
        })?;
    started.recv().map_err(|_| {
        failure
            .recv()
            .unwrap_or_else(|_| anyhow::anyhow!("it ended at once"))
    })
}

/// Holds the lock that tells other processes that the folder is in use. The kernel lets go of it when this one ends.
fn occupy(folder: &Path) -> std::io::Result<File> {
    let (locking, locked) = (folder.join("in-use.new"), folder.join(IN_USE));
    let lock = File::create(&locking)?;
    lock.lock()?;
    std::fs::rename(locking, locked)?;
    Ok(lock)
}

/// Deletes the folders of processes that are dead: a test process can't do it for itself at its end.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let dead = match File::open(entry.path().join(IN_USE)) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(_) => entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|time| time.elapsed().ok())
                .is_some_and(|age| age > UNBORN),
        };
        if dead {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
