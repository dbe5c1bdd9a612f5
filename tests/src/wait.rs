//! Waiting for a condition.

use std::time::{Duration, Instant};

/// Repeats a check until it gives a value. Gives up loudly after the limit, with what the last check said.
pub fn wait_for<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + limit;
    loop {
        match check() {
            Ok(value) => return value,
            Err(last) if Instant::now() > until => panic!("waited {limit:?} for {what}: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
