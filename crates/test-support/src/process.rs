//! Child processes that live exactly as long as the test process.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;

use anyhow::Context;

/// Starts `command` from a thread that never ends and waits for it there. The parent-death signal that the
/// command asks for (`setpriv --pdeathsig`) is tied to the *thread* that started it, so a test's own thread
/// would take the server down with it. `folders` are deleted when the child ends.
pub(crate) fn run_for_ever(mut command: Command, folders: Vec<PathBuf>) -> anyhow::Result<u32> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("test-server".into())
        .spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => {
                    let _ = sender.send(Ok(child.id()));
                    child
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            let _ = child.wait();
            for folder in folders {
                let _ = std::fs::remove_dir_all(folder);
            }
        })?;
    receiver.recv()?.context("starting a server for the tests")
}
