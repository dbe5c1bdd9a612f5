//! The order in which the command line prints a map's keys: `docs/spec/cli.md` §7.5.

use std::cmp::Ordering;

use serde_yaml::{Mapping, Value};

/// The entries in printing order.
///
/// The order is no total one (digit runs can form a cycle), so this inserts one by one rather than trust a sort that
/// may insist on it.
pub(super) fn sorted(map: &Mapping) -> Vec<(&Value, &Value)> {
    let mut entries: Vec<(&Value, &Value)> = Vec::with_capacity(map.len());
    for entry in map {
        let at = entries.partition_point(|other| !is_before(entry.0, other.0));
        entries.insert(at, entry);
    }
    entries
}

fn is_before(a: &Value, b: &Value) -> bool {
    compare(a, b) == Ordering::Less
}

fn compare(a: &Value, b: &Value) -> Ordering {
    if let (Some(x), Some(y)) = (number(a), number(b)) {
        return x
            .partial_cmp(&y)
            .unwrap_or(Ordering::Equal)
            .then(kind(a).cmp(&kind(b)));
    }
    match (a, b) {
        (Value::String(a), Value::String(b)) => compare_texts(a, b),
        _ => kind(a).cmp(&kind(b)),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::Number(n) => n.as_f64(),
        _ => None,
    }
}

/// Booleans, integers, floats, null, strings.
fn kind(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Number(n) if !n.is_f64() => 1,
        Value::Number(_) => 2,
        Value::Null => 3,
        _ => 4,
    }
}

/// Letters by code point, digit runs by value, other characters before letters.
fn compare_texts(a: &str, b: &str) -> Ordering {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => a[at].cmp(&b[at]),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            // A zero that follows a longer number is one of its digits, not a leading zero.
            let inside = (a[at] == '0' || b[at] == '0') && ends_in_number(&a[..at]);
            let start = i64::from(inside);
            let (x, x_length) = digit_run(&a[at..], start);
            let (y, y_length) = digit_run(&b[at..], start);
            x.cmp(&y)
                .then(x_length.cmp(&y_length))
                .then(a[at].cmp(&b[at]))
        }
    }
}

/// Whether the digits at the end have one that isn't zero.
fn ends_in_number(text: &[char]) -> bool {
    text.iter()
        .rev()
        .take_while(|c| c.is_numeric())
        .any(|c| *c != '0')
}

fn digit_run(text: &[char], start: i64) -> (i64, usize) {
    let run = text.iter().take_while(|c| c.is_ascii_digit());
    run.fold((start, 0), |(value, length), c| {
        let digit = i64::from(c.to_digit(10).unwrap_or(0));
        (value.wrapping_mul(10).wrapping_add(digit), length + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_the_original_order() {
        let order = [
            "_x", "1vm", "2", "02", "VM1", "v", "vm-1", "vm.1", "vm_1", "vm2", "vm10",
        ];
        let mut map = Mapping::new();
        for key in order.iter().rev() {
            map.insert(Value::from(*key), Value::Null);
        }
        let keys: Vec<_> = sorted(&map)
            .into_iter()
            .filter_map(|(key, _)| key.as_str())
            .collect();
        assert_eq!(keys, order);
    }
}
