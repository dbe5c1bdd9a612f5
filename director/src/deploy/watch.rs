//! Watching jobs come up (manifests-and-planning §5.6).

use std::time::Duration;

use agent_protocol::JobState;

use super::last_words;
use super::work::Work;
use crate::agents;
use crate::error::{Error, code};
use crate::store::instances::Instance;

/// The waits before each look at the agent: `min` once, then steps of a ninth of the range (1 to 15 s).
pub fn schedule(min_ms: u64, max_ms: u64) -> Vec<Duration> {
    let range = max_ms.saturating_sub(min_ms);
    let step = (range / 9).clamp(1000, 15_000);
    let mut waits = vec![Duration::from_millis(min_ms)];
    waits.extend((0..range / step).map(|_| Duration::from_millis(step)));
    waits
}

/// Waits until the agent reports its jobs as running.
///
/// # Errors
/// 400007 with the original's text when the time is over; the hint has the processes' last log lines.
pub async fn until_running(
    work: &Work,
    row: &Instance,
    min_ms: u64,
    max_ms: u64,
) -> Result<(), Error> {
    let (vm, to) = work.agent(row).await?;
    let mut last = None;
    for wait in schedule(min_ms, max_ms) {
        work.ctx.until_cancelled(tokio::time::sleep(wait)).await?;
        let state = work
            .agents()
            .get_state(&to, false)
            .await
            .map_err(agents::failed)?;
        if state.job_state() == JobState::Running {
            return Ok(());
        }
        last = Some(state);
    }
    let processes = last.map(|state| state.processes()).unwrap_or_default();
    let failed: Vec<&str> = processes
        .iter()
        .filter(|process| process.state != JobState::Running)
        .map(|process| process.name.as_str())
        .collect();
    let mut text = format!("'{}' is not running after update.", row.name());
    if !failed.is_empty() {
        text.push_str(&format!(
            " Review logs for failed jobs: {}",
            failed.join(", ")
        ));
    }
    let lines = work
        .ctx
        .until_cancelled(last_words::of(work, row, &vm, &failed))
        .await?;
    let advice = format!(
        "Look with `bosh -d {} logs {}`, correct the manifest or the job, and deploy again.",
        work.deployment.name,
        row.slug()
    );
    let hint = match lines {
        Some(lines) => format!("\n{lines}{advice}"),
        None => advice,
    };
    Err(Error::new(code::AGENT_JOB_NOT_RUNNING, text).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_min_then_ninths_of_the_range_within_one_and_fifteen_seconds() {
        let millis = |min, max| -> Vec<u64> {
            schedule(min, max)
                .iter()
                .map(|wait| u64::try_from(wait.as_millis()).unwrap())
                .collect()
        };
        assert_eq!(millis(1000, 1000), [1000]);
        assert_eq!(millis(200, 3000), [200, 1000, 1000]);
        assert_eq!(millis(1000, 30_000).len(), 10);
        assert_eq!(millis(0, 300_000)[1], 15_000);
    }
}
