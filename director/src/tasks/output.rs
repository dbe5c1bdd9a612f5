//! The writer of a running task's output.
//!
//! Anything in the task may append, from many async tasks at once, without waiting; one background writer
//! puts what has come together into chunks in Postgres, in order, under the worker's lease.
//! [`Output::flush`] waits until everything appended so far is readable.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::store::tasks::Fence;

/// A kind of output (director-api.md §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Event,
    Result,
    Debug,
    Cpi,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Event, Kind::Result, Kind::Debug, Kind::Cpi];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Event => "event",
            Kind::Result => "result",
            Kind::Debug => "debug",
            Kind::Cpi => "cpi",
        }
    }
}

enum Message {
    Append(Kind, Vec<u8>),
    Flush(oneshot::Sender<()>),
}

/// Handle to a task's output writer. Cheap to clone; the writer ends when all handles are gone.
#[derive(Clone)]
pub struct Output {
    sender: mpsc::UnboundedSender<Message>,
}

/// A chunk is written once it has this many bytes, or when nothing more is waiting.
const CHUNK: usize = 256 * 1024;

impl Output {
    /// Starts the writer. `lost` is cancelled when a write finds that the lease is no longer ours.
    pub fn start(store: Store, fence: Fence, lost: CancellationToken) -> Output {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(write_all(store, fence, lost, receiver));
        Output { sender }
    }

    pub fn append(&self, kind: Kind, bytes: impl Into<Vec<u8>>) {
        // The writer only ends early when the lease is lost; then nothing may be written anyway.
        let _ = self.sender.send(Message::Append(kind, bytes.into()));
    }

    /// Returns when everything appended before is in the database (or the lease is lost).
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).is_ok() {
            let _ = wait.await;
        }
    }
}

async fn write_all(
    store: Store,
    fence: Fence,
    lost: CancellationToken,
    mut receiver: mpsc::UnboundedReceiver<Message>,
) {
    let mut batch = Vec::new();
    // recv_many takes all that is waiting: under load chunks grow by themselves, a single line is written at once.
    while receiver.recv_many(&mut batch, 1024).await > 0 {
        let mut pending: [Vec<u8>; 4] = Default::default();
        let mut waiters = Vec::new();
        for message in batch.drain(..) {
            match message {
                Message::Append(kind, bytes) => {
                    let buffer = &mut pending[kind as usize];
                    buffer.extend_from_slice(&bytes);
                    if buffer.len() >= CHUNK {
                        let full = std::mem::take(buffer);
                        if !write(&store, fence, &lost, kind, &full).await {
                            return;
                        }
                    }
                }
                Message::Flush(done) => waiters.push(done),
            }
        }
        for kind in Kind::ALL {
            let buffer = std::mem::take(&mut pending[kind as usize]);
            if !buffer.is_empty() && !write(&store, fence, &lost, kind, &buffer).await {
                return;
            }
        }
        for done in waiters {
            let _ = done.send(());
        }
    }
}

/// Writes one chunk, trying again while the database is away. `false`: the lease is lost, stop.
async fn write(
    store: &Store,
    fence: Fence,
    lost: &CancellationToken,
    kind: Kind,
    bytes: &[u8],
) -> bool {
    let mut pause = Duration::from_millis(50);
    loop {
        match store.append_output(fence, kind.name(), bytes).await {
            Ok(true) => return true,
            Ok(false) => {
                lost.cancel();
                return false;
            }
            Err(error) => {
                tracing::warn!(task = fence.task, kind = kind.name(), %error, "task output not written, trying again");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = lost.cancelled() => return false,
                }
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
}
