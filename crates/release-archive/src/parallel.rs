//! Several things at once, with their events on the caller's thread.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use crate::problem::Problem;
use crate::progress::{Event, Progress};

/// Does `work` for all items, `count` at once; results come in the items' order. A worker that met a problem takes
/// nothing more, the others go on.
pub(crate) fn each<T: Send, R: Send>(
    items: impl IntoIterator<Item = T>,
    count: usize,
    progress: &mut dyn Progress,
    work: impl Fn(T, &mut dyn Progress) -> Result<R, Problem> + Sync,
) -> Result<Vec<R>, Vec<Problem>> {
    let queue: Mutex<VecDeque<(usize, T)>> = Mutex::new(items.into_iter().enumerate().collect());
    let count = count.clamp(1, locked(&queue).len().max(1));
    let done: Mutex<Vec<(usize, R)>> = Mutex::default();
    let problems: Mutex<Vec<Problem>> = Mutex::default();
    let (events, received) = mpsc::channel::<Event>();
    std::thread::scope(|scope| {
        for _ in 0..count {
            let events = events.clone();
            let (queue, done, problems, work) = (&queue, &done, &problems, &work);
            scope.spawn(move || {
                let mut tell = |event: &Event| {
                    // Nobody listening means that all is being given up.
                    let _ = events.send(event.clone());
                };
                loop {
                    let next = locked(queue).pop_front();
                    let Some((place, item)) = next else { break };
                    match work(item, &mut tell) {
                        Ok(result) => locked(done).push((place, result)),
                        Err(problem) => {
                            locked(problems).push(problem);
                            break;
                        }
                    }
                }
            });
        }
        drop(events);
        for event in received {
            progress.event(&event);
        }
    });
    let problems = problems.into_inner().unwrap_or_default();
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// As many as the machine has cores: for work that is all computing.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking worker ends everything anyway; the data is whole between its operations.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
