//! The one place with `unsafe`: what must happen between fork and exec.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

/// Gives the program all signals: a blocked one stays blocked over fork and exec, and everything that a VM's agent
/// starts would inherit that.
pub fn unblock_signals(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; sigprocmask is one, and nothing here
    // allocates or takes a lock.
    unsafe {
        command.pre_exec(|| {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
                .map_err(std::io::Error::from)
        });
    }
}
