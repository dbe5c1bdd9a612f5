//! What can be made to go wrong.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::Call;

/// How a call ends that was told to.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// No effect, this error. For a CPI method with this type (`Bosh::Clouds::…`).
    Error {
        kind: cpi::FaultKind,
        message: String,
        ok_to_retry: bool,
    },
    /// The effect happens, the answer is lost: the caller sees a time-out.
    LostReply,
    /// No effect and no answer, ever.
    Hang,
}

/// When the world stops at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    BeforeEffect,
    AfterEffect,
}

/// The faults in force.
#[derive(Default)]
pub struct Faults {
    by_method: BTreeMap<String, (usize, Fault)>,
    crash: Option<(usize, Crash, oneshot::Sender<Call>)>,
}

impl Faults {
    pub(super) fn add(&mut self, method: &str, times: usize, fault: Fault) {
        self.by_method.insert(method.to_owned(), (times, fault));
    }

    pub(super) fn remove(&mut self, method: &str) {
        self.by_method.remove(method);
    }

    pub(super) fn crash_at(&mut self, n: usize, when: Crash) -> oneshot::Receiver<Call> {
        let (sender, receiver) = oneshot::channel();
        self.crash = Some((n, when, sender));
        receiver
    }

    /// The fault of a call that comes in now, used up by asking.
    pub(super) fn of(&mut self, method: &str) -> Option<Fault> {
        let (times, fault) = self.by_method.get_mut(method)?;
        let fault = fault.clone();
        *times = times.saturating_sub(1);
        if *times == 0 {
            self.by_method.remove(method);
        }
        Some(fault)
    }

    /// Counts a call; says whether the world stops at it. The waiting test is told at once.
    pub(super) fn stops_at(&mut self, call: &Call) -> Option<Crash> {
        let (left, when, _) = self.crash.as_mut()?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return None;
        }
        let when = *when;
        if let Some((_, _, sender)) = self.crash.take() {
            let _ = sender.send(call.clone());
        }
        Some(when)
    }
}
