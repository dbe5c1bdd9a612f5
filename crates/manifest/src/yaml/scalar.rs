//! What a plain scalar means, in each dialect.
//!
//! The director's table is that of Ruby's Psych 4 (a test compares it with the real one); the command line's that of
//! its YAML library, in the words of `docs/spec/cli.md` §7.4.

use std::sync::LazyLock;

use regex::Regex;
use serde_yaml::Value;

use super::Dialect;

/// A scalar that safe loading refuses, by the class that it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusedClass(pub &'static str);

/// Resolves an untagged plain scalar.
pub(super) fn resolve(text: &str, dialect: Dialect) -> Result<Value, RefusedClass> {
    match dialect {
        Dialect::Director => director(text),
        Dialect::Cli => Ok(cli(text).unwrap_or_else(|| Value::String(text.to_owned()))),
    }
}

/// Whether the text, written plain, reads back as this very string.
pub(super) fn is_string(text: &str, dialect: Dialect) -> bool {
    match dialect {
        // What only looks like a number (`0x`) makes Ruby's reader fail.
        Dialect::Director => {
            matches!(director(text), Ok(Value::String(_)))
                && !is_symbol(text)
                && !INTEGER.is_match(text)
                && !FLOAT.is_match(text)
        }
        // The command line also quotes what other readers take for numbers and dates.
        Dialect::Cli => cli(text).is_none() && !is_cli_timestamp(text) && !BASE_60.is_match(text),
    }
}

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($text).expect("the pattern is a constant"));
    };
}

// Psych's patterns.
pattern!(
    TIME,
    r"^-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d(?:\.\d*)?(?:\s*(?:Z|[-+]\d{1,2}:?(?:\d\d)?))?$"
);
pattern!(DATE, r"^\d{4}-(?:1[012]|0\d|\d)-(?:[12]\d|3[01]|0\d|\d)$");
pattern!(SEXAGESIMAL, r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}$");
pattern!(
    SEXAGESIMAL_FLOAT,
    r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}\.[0-9_]*$"
);
pattern!(
    FLOAT,
    r"^[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][-+][0-9]+)?$"
);
pattern!(
    INTEGER,
    r"^[-+]?(?:0b[01_,]+|0[0-7_,]+|0|[1-9](?:[0-9]|,[0-9]|_[0-9])*|0x[0-9a-fA-F_,]+)$"
);

fn is_symbol(text: &str) -> bool {
    text.len() > 1 && text.starts_with(':')
}

fn director(text: &str) -> Result<Value, RefusedClass> {
    let string = || Value::String(text.to_owned());
    let Some(first) = text.chars().next() else {
        return Ok(Value::Null);
    };
    if first.is_alphabetic() || matches!(first, '~' | '_') {
        return Ok(match text.to_ascii_lowercase().as_str() {
            // Only the tilde itself and the words in any case.
            "~" | "null" => Value::Null,
            "yes" | "true" | "on" => Value::Bool(true),
            "no" | "false" | "off" => Value::Bool(false),
            _ => string(),
        });
    }
    if !(first.is_ascii_digit() || matches!(first, '.' | ':' | '-' | '+')) || text.contains('\n') {
        return Ok(string());
    }
    if TIME.is_match(text) {
        return Err(RefusedClass("Time"));
    }
    if DATE.is_match(text) {
        return Err(RefusedClass("Date"));
    }
    match text.to_ascii_lowercase().as_str() {
        ".inf" | "+.inf" => return Ok(Value::from(f64::INFINITY)),
        "-.inf" => return Ok(Value::from(f64::NEG_INFINITY)),
        ".nan" => return Ok(Value::from(f64::NAN)),
        _ => {}
    }
    // A Symbol (`:x`) has no counterpart outside Ruby: it stays the text with its colon.
    let number = if SEXAGESIMAL.is_match(text) {
        sexagesimal(
            text,
            |part| part.parse::<i64>().ok(),
            |a, b| a.checked_mul(b),
            |a, b| a.checked_add(b),
            [3600, 60, 1],
        )
        .map(Value::from)
    } else if SEXAGESIMAL_FLOAT.is_match(text) {
        let float = |part: &str| part.trim_end_matches('.').parse::<f64>().ok();
        sexagesimal(
            text,
            float,
            |a, b| Some(a * b),
            |a, b| Some(a + b),
            [3600.0, 60.0, 1.0],
        )
        .map(Value::from)
    } else if FLOAT.is_match(text) {
        let digits: String = text.chars().filter(|c| !matches!(c, ',' | '_')).collect();
        // `1.` and `1.e+3` are numbers, a lone dot is none.
        digits
            .parse::<f64>()
            .ok()
            .filter(|_| digits.contains(|c: char| c.is_ascii_digit()))
            .map(Value::from)
    } else if INTEGER.is_match(text) {
        let digits: String = text.chars().filter(|c| !matches!(c, ',' | '_')).collect();
        // Beyond 64 bits the digits are kept as text rather than rounded.
        integer(&digits)
    } else {
        None
    };
    Ok(number.unwrap_or_else(string))
}

/// Adds up `hours:minutes[:seconds]`; with two parts the first still counts 3600.
fn sexagesimal<T: Copy + Default>(
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
    multiply: impl Fn(T, T) -> Option<T>,
    add: impl Fn(T, T) -> Option<T>,
    weights: [T; 3],
) -> Option<T> {
    let mut sum = T::default();
    for (part, weight) in text.split(':').zip(weights) {
        let part = part.replace('_', "");
        let part = part.strip_prefix('+').unwrap_or(&part);
        sum = add(sum, multiply(parse(part)?, weight)?)?;
    }
    Some(sum)
}

/// An integer with an optional sign and a prefix `0x`, `0b`, `0o` or `0` (octal), if it fits into 64 bits.
fn integer(text: &str) -> Option<Value> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = rest.to_ascii_lowercase();
    let (digits, radix) = if let Some(hex) = lower.strip_prefix("0x") {
        (hex, 16)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (binary, 2)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (octal, 8)
    } else if let Some(octal) = lower.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (octal, 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(Value::from(magnitude));
    }
    0i64.checked_sub_unsigned(magnitude).map(Value::from)
}

// The command line's patterns.
pattern!(
    CLI_FLOAT,
    r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
);
pattern!(
    BASE_60,
    r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$"
);
pattern!(
    CLI_TIMESTAMP,
    r"^(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?(?:Z|[-+](\d\d):(\d\d)))|(?: (\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?))?$"
);

/// The value of a plain scalar that is no string.
fn cli(text: &str) -> Option<Value> {
    let first = *text.as_bytes().first().unwrap_or(&b'~');
    match first {
        b'~' | b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => match text {
            "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                Some(Value::Bool(true))
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off"
            | "OFF" => Some(Value::Bool(false)),
            _ => None,
        },
        b'.' => match text {
            ".inf" | ".Inf" | ".INF" => Some(Value::from(f64::INFINITY)),
            ".nan" | ".NaN" | ".NAN" => Some(Value::from(f64::NAN)),
            _ => CLI_FLOAT
                .is_match(text)
                .then(|| text.parse::<f64>().ok().map(Value::from))?,
        },
        b'+' | b'-' | b'0'..=b'9' => match text {
            "+.inf" | "+.Inf" | "+.INF" => Some(Value::from(f64::INFINITY)),
            "-.inf" | "-.Inf" | "-.INF" => Some(Value::from(f64::NEG_INFINITY)),
            _ => {
                let plain = text.replace('_', "");
                integer(&plain).or_else(|| {
                    let float = CLI_FLOAT
                        .is_match(&plain)
                        .then(|| plain.parse::<f64>().ok())?;
                    float.map(Value::from)
                })
            }
        },
        _ => None,
    }
}

/// Whether other readers of the command line's kind take the text for a date or time.
fn is_cli_timestamp(text: &str) -> bool {
    let Some(parts) = CLI_TIMESTAMP.captures(text) else {
        return false;
    };
    let number = |i: usize| parts.get(i).and_then(|m| m.as_str().parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (number(1), number(2), number(3)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return false,
    };
    let below = |groups: [usize; 2], limit| {
        groups
            .into_iter()
            .filter_map(number)
            .all(|value| value < limit)
    };
    (1..=days).contains(&day)
        && below([4, 9], 24)
        && below([5, 10], 60)
        && below([6, 11], 60)
        && below([7, 7], 25)
        && below([8, 8], 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_reads_numbers_of_all_bases_and_keeps_what_is_no_number() {
        let number = |text: &str| cli(text).unwrap_or(Value::String("string".into()));
        assert_eq!(number("012"), Value::from(10));
        assert_eq!(number("0o14"), Value::from(12));
        assert_eq!(number("-0b101"), Value::from(-5));
        assert_eq!(number("1_000"), Value::from(1000));
        assert_eq!(number("18446744073709551615"), Value::from(u64::MAX));
        assert_eq!(number("-9223372036854775808"), Value::from(i64::MIN));
        assert_eq!(number("08"), Value::from(8.0));
        assert_eq!(number("1e3"), Value::from(1000.0));
        for text in [
            "-",
            "+",
            ".",
            "0x",
            "1.2.3",
            "12:30",
            "2024-01-02",
            "1-2",
            "--1",
            "-+1",
        ] {
            assert_eq!(cli(text), None, "{text}");
        }
    }

    #[test]
    fn the_command_line_quotes_real_dates_only() {
        assert!(!is_string("2024-02-29", Dialect::Cli));
        assert!(!is_string("2001-12-14t21:59:43.10-05:00", Dialect::Cli));
        assert!(!is_string("12:30:45", Dialect::Cli));
        assert!(is_string("2023-02-29", Dialect::Cli));
        assert!(is_string("2024-1-2 1:2", Dialect::Cli));
    }
}
