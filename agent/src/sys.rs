//! The system calls that need `unsafe`, and nothing else.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;

/// Makes the command a session of its own, so that what it starts outlives the agent and gets none of its signals.
pub fn own_session(command: &mut Command) {
    // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
}

/// Makes the command a process group of its own that dies with the agent: a script whose task will be run again must
/// not go on beside its second run.
pub fn own_group_bound_to_agent(command: &mut Command, niceness: i32) {
    command.process_group(0);
    // SAFETY: between fork and exec only prctl(2) and setpriority(2) are called; both are plain system calls that
    // allocate nothing.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            if niceness != 0 {
                // Best effort: a script that can't be niced runs all the same.
                let _ = rustix::process::nice(niceness);
            }
            Ok(())
        });
    }
}

/// Waits for a descriptor, such as a pidfd, to become readable.
pub fn when_readable(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the `Arc` moved into the `AsyncFd` keeps the descriptor open and the same until that is dropped.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}
