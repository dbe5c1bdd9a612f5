//! What a worker process may not do: the one place with `unsafe`.

use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use tokio::process::Command;

/// CPU seconds after which the kernel ends a worker that nobody watches any more.
const CPU_SECONDS: u64 = 900;

/// Limits the memory of the command to be started, and takes its network away where that is permitted.
pub(crate) fn confine(command: &mut Command, memory: u64) {
    let before_exec = move || -> io::Result<()> {
        // Refused only where a tighter limit is in force already.
        let _ = setrlimit(Resource::RLIMIT_AS, memory, memory);
        let _ = setrlimit(Resource::RLIMIT_CPU, CPU_SECONDS, CPU_SECONDS);
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        // Without the capability the network stays: templates are as trusted as their release then.
        let _ = unshare(CloneFlags::CLONE_NEWNET);
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec and makes system calls only: no allocation, no locks.
    unsafe {
        command.pre_exec(before_exec);
    }
}
