//! Times, durations and sizes as the original writes them (spec cli §4.2).

use chrono::DateTime;

/// `Tue Nov 14 22:13:20 UTC 2023`.
pub fn time(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map(|at| at.format("%a %b %e %H:%M:%S UTC %Y").to_string())
        .unwrap_or_default()
}

/// `HH:MM:SS`; hours are not limited.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `1.2 GiB`.
pub fn kib_bytes(bytes: u64) -> String {
    scaled(
        bytes,
        1024.0,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
    )
}

/// `124 MB`.
pub fn decimal_bytes(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

fn scaled(bytes: u64, base: f64, units: &[&str]) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let tenths = (value * 10.0 + 0.5).floor() / 10.0;
    if tenths < 10.0 {
        format!("{tenths:.1} {}", units[unit])
    } else {
        format!("{tenths:.0} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_the_original() {
        assert_eq!(kib_bytes(0), "0 B");
        assert_eq!(kib_bytes(5), "5 B");
        assert_eq!(kib_bytes(1024 * 1024), "1.0 MiB");
        assert_eq!(kib_bytes(77 * 1024 * 1024), "77 MiB");
        assert_eq!(decimal_bytes(123_456_000), "124 MB");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_700_000_000), "Tue Nov 14 22:13:20 UTC 2023");
        assert_eq!(duration(3700), "01:01:40");
        assert_eq!(duration(360_000), "100:00:00");
    }
}
