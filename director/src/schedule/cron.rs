//! Schedules as the original's settings write them: cron with an optional field for seconds in front and a zone
//! behind, `0 0,30 * * * * UTC`.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Deserializer};

/// Moments that repeat. Times are UTC, the only zone that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// Allowed values by bit: second, minute, hour, day of the month, month, day of the week (0 is Sunday).
    fields: [u64; 6],
    /// A restricted day of the month and a restricted day of the week: either will do.
    either_day: bool,
}

/// Name, lowest and highest value.
const FIELDS: [(&str, u32, u32); 6] = [
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("weekday", 0, 7),
];

/// No schedule is looked for further ahead than this: 30 February never comes.
const HORIZON_DAYS: i64 = 366 * 8;

impl Cron {
    /// Reads five fields, or six with seconds in front, and `UTC` behind or not.
    ///
    /// # Errors
    /// What is wrong, in words for the settings' author.
    pub fn parse(text: &str) -> Result<Cron, String> {
        let mut parts: Vec<&str> = text.split_whitespace().collect();
        if let Some(zone) = parts
            .last()
            .filter(|part| part.starts_with(|c: char| c.is_alphabetic()))
        {
            if !["UTC", "Etc/UTC", "GMT", "Z"].contains(zone) {
                return Err(format!(
                    "'{text}' is no schedule: the zone '{zone}' is not known, write UTC"
                ));
            }
            parts.pop();
        }
        if parts.len() == 5 {
            parts.insert(0, "0");
        }
        if parts.len() != 6 {
            return Err(format!(
                "'{text}' is no schedule: it needs minute, hour, day, month and weekday, with seconds in front or not"
            ));
        }
        let mut fields = [0; 6];
        for ((field, part), (name, low, high)) in fields.iter_mut().zip(&parts).zip(FIELDS) {
            *field = values(part, low, high).ok_or_else(|| {
                format!("'{text}' is no schedule: '{part}' is no {name} ({low} to {high})")
            })?;
        }
        // Sunday is 0 and 7.
        if fields[5] & 1 << 7 != 0 {
            fields[5] = fields[5] & !(1 << 7) | 1;
        }
        Ok(Cron {
            fields,
            either_day: !parts[3].starts_with('*') && !parts[5].starts_with('*'),
        })
    }

    /// A schedule that is part of the program.
    pub fn fixed(text: &'static str) -> Cron {
        Cron::parse(text).expect("the schedules of the program are valid")
    }

    /// The first moment after `time`; `None` if there is none within years.
    pub fn after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = time.with_nanosecond(0)? + TimeDelta::seconds(1);
        let end = time + TimeDelta::days(HORIZON_DAYS);
        while at < end {
            if !self.is_day(at) {
                at = (at.date_naive() + TimeDelta::days(1))
                    .and_hms_opt(0, 0, 0)?
                    .and_utc();
            } else if !self.has(2, at.hour()) {
                at = at.with_minute(0)?.with_second(0)? + TimeDelta::hours(1);
            } else if !self.has(1, at.minute()) {
                at = at.with_second(0)? + TimeDelta::minutes(1);
            } else if !self.has(0, at.second()) {
                at += TimeDelta::seconds(1);
            } else {
                return Some(at);
            }
        }
        None
    }

    fn is_day(&self, at: DateTime<Utc>) -> bool {
        let (day, weekday) = (
            self.has(3, at.day()),
            self.has(5, at.weekday().num_days_from_sunday()),
        );
        let fits = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        fits && self.has(4, at.month())
    }

    fn has(&self, field: usize, value: u32) -> bool {
        self.fields[field] & 1 << value != 0
    }
}

/// `*`, `5`, `1-5`, each with `/step`, or several by comma: as bits.
fn values(text: &str, low: u32, high: u32) -> Option<u64> {
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
            None => {
                let from = range.parse().ok()?;
                (from, if part.contains('/') { high } else { from })
            }
        };
        if from < low || to > high || from > to {
            return None;
        }
        for value in (from..=to).step_by(step) {
            bits |= 1 << value;
        }
    }
    Some(bits)
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cron, D::Error> {
        let text = String::deserialize(deserializer)?;
        Cron::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let found = Cron::parse(schedule).unwrap().after(after.parse().unwrap());
        found.map_or("never".into(), |at| at.format("%F %T").to_string())
    }

    #[test]
    fn the_schedules_of_the_original_come_due_when_they_say() {
        for (schedule, after, due) in [
            (
                "0 0,30 * * * * UTC",
                "2026-01-09T06:23:25Z",
                "2026-01-09 06:30:00",
            ),
            (
                "0 0,30 * * * * UTC",
                "2026-01-09T06:30:00Z",
                "2026-01-09 07:00:00",
            ),
            (
                "*/5 * * * * UTC",
                "2026-01-09T06:59:59.5Z",
                "2026-01-09 07:00:00",
            ),
            (
                "0 0 7 * * * UTC",
                "2026-12-31T07:00:00Z",
                "2027-01-01 07:00:00",
            ),
            (
                "0 0 0 */7 * * UTC",
                "2026-02-01T12:00:00Z",
                "2026-02-08 00:00:00",
            ),
            ("30 2 * * 7", "2026-01-09T00:00:00Z", "2026-01-11 02:30:00"),
            ("0 0 13 * 5", "2026-01-10T00:00:00Z", "2026-01-13 00:00:00"),
            ("0 0 30 2 *", "2026-01-10T00:00:00Z", "never"),
        ] {
            assert_eq!(next(schedule, after), due, "{schedule} after {after}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_part_that_is_wrong() {
        for (text, word) in [
            ("* * *", "needs"),
            ("61 * * * *", "'61' is no minute"),
            ("* * * * * Europe/Berlin", "Europe/Berlin"),
            ("*/0 * * * *", "'*/0'"),
            ("5-1 * * * *", "'5-1'"),
        ] {
            let error = Cron::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
