//! Ctrl-C on a terminal: the program ends at once, as without this module, but says first how to get back to the task
//! that it was following, which goes on without it. Commands that clean up after themselves, such as `ssh`, say so
//! with [`Own`] while they do.

use domain::TaskId;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// The task that is followed; 0 for none.
static FOLLOWED: AtomicI64 = AtomicI64::new(0);
/// How many [`Own`] there are.
static OWN: AtomicUsize = AtomicUsize::new(0);

/// While it lives, somebody else sees to Ctrl-C.
pub struct Own(());

impl Own {
    pub fn begin() -> Self {
        OWN.fetch_add(1, Ordering::SeqCst);
        Own(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        OWN.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Remembers the task that is followed now.
pub fn follow(id: TaskId) {
    FOLLOWED.store(id.get(), Ordering::SeqCst);
}

/// Forgets it: it ended.
pub fn unfollow() {
    FOLLOWED.store(0, Ordering::SeqCst);
}

/// Starts to watch for Ctrl-C, on a thread of its own: the main one may be waiting for an answer to a question.
pub fn watch() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let Ok(runtime) = runtime else { return };
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut interrupts) = signal(SignalKind::interrupt()) else {
                return;
            };
            while interrupts.recv().await.is_some() {
                if OWN.load(Ordering::SeqCst) == 0 {
                    end();
                }
            }
        });
    });
}

/// Ends the program with the code that shells give to one that the signal ended.
fn end() {
    let id = FOLLOWED.load(Ordering::SeqCst);
    if id != 0 {
        eprintln!(
            "\nTask {id} goes on. Follow it again with 'bosun task {id}', or stop it with 'bosun cancel-task {id}'"
        );
    }
    std::process::exit(130);
}
