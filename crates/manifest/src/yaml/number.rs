//! Numbers as text, in the shortest form that reads back as the same number.

use serde_yaml::Number;

/// `5`, `1.5`, `1e+06`, `.inf`: a float is written with an exponent from a million up and below a ten-thousandth, and
/// without a fraction when it has none.
pub fn shortest(number: &Number) -> String {
    with_exponent_from(6, number)
}

/// The same, with exponents only from 10^21 up: numbers inside of error texts.
pub fn in_text(number: &Number) -> String {
    with_exponent_from(21, number)
}

fn with_exponent_from(limit: i32, number: &Number) -> String {
    if !number.is_f64() {
        return number.to_string();
    }
    let float = number.as_f64().unwrap_or_default();
    if let Some(word) = not_finite(float) {
        return word.to_owned();
    }
    let (mantissa, exponent) = scientific(float);
    if !(-4..limit).contains(&exponent) {
        return format!("{mantissa}{}", exponent_text(exponent));
    }
    format!("{float}")
}

/// A float as Ruby writes it: always with a fraction, with an exponent from 10^16 up and below 10^-4.
pub(super) fn ruby(float: f64) -> String {
    if let Some(word) = not_finite(float) {
        return word.to_owned();
    }
    let (mantissa, exponent) = scientific(float);
    let fraction = |text: String| {
        if text.contains('.') {
            text
        } else {
            format!("{text}.0")
        }
    };
    if float != 0.0 && !(-4..16).contains(&exponent) {
        return format!("{}{}", fraction(mantissa), exponent_text(exponent));
    }
    fraction(format!("{float}"))
}

/// Shortest mantissa and exponent: `1.5`, `-7`.
fn scientific(float: f64) -> (String, i32) {
    let text = format!("{float:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or(0))
}

fn exponent_text(exponent: i32) -> String {
    format!(
        "e{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    )
}

fn not_finite(float: f64) -> Option<&'static str> {
    if float.is_nan() {
        Some(".nan")
    } else if float.is_infinite() {
        Some(if float > 0.0 { ".inf" } else { "-.inf" })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_in_the_shortest_form_with_exponents_at_the_original_limits() {
        let text = |f: f64| shortest(&Number::from(f));
        for (float, expected) in [
            (1.0, "1"),
            (1000.0, "1000"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456_789.123, "1.23456789123e+08"),
            (184_467_440_737_095_516_150.0, "1.844674407370955e+20"),
            (-0.5, "-0.5"),
            (f64::NEG_INFINITY, "-.inf"),
        ] {
            assert_eq!(text(float), expected);
        }
        assert_eq!(ruby(1.0), "1.0");
        assert_eq!(ruby(1e16), "1.0e+16");
        assert_eq!(ruby(0.00001), "1.0e-05");
    }
}
