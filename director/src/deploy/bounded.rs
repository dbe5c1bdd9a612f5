//! Running many pieces of work, a few at a time.

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::error::Error;

/// Runs `work` on all items, at most `limit` at once. After the first failure nothing more is begun, what is
/// under way runs to its end, then that failure is returned (manifests-and-planning §5.7).
pub async fn at_most<T, F>(
    limit: usize,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    let mut waiting = items.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failure: Option<Error> = None;
    loop {
        while failure.is_none() && running.len() < limit.max(1) {
            match waiting.next() {
                Some(item) => running.push(work(item)),
                None => break,
            }
        }
        match running.next().await {
            None => return failure.map_or(Ok(()), Err),
            // To be interrupted outweighs a failure: the next worker finds out about the failure again.
            Some(Err(error)) if failure.is_none() || error.is_interrupted() => {
                failure = Some(error)
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn never_more_than_the_limit_at_once_and_nothing_new_after_a_failure() {
        let (now, most, begun) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        let result = at_most(3, 0..20, |n| {
            let (now, most, begun) = (&now, &most, &begun);
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                if n == 4 {
                    Err(Error::unclassified("four"))
                } else {
                    Ok(())
                }
            }
        })
        .await;
        assert_eq!(result.unwrap_err().message, "four");
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert!(begun.load(Ordering::SeqCst) <= 8, "{begun:?}");
        assert_eq!(
            now.load(Ordering::SeqCst),
            0,
            "what was under way ran to its end"
        );
    }
}
