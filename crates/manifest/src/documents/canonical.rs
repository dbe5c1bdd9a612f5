//! Canonical DNS names (§0.2).

use super::Problem;

/// Lower case, `_` as `-`, everything outside `[a-z0-9-]` dropped.
///
/// # Errors
/// 420001 when a hyphen comes first or last.
pub fn canonical_name(text: &str) -> Result<String, Problem> {
    let name: String = text
        .to_lowercase()
        .replace('_', "-")
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
        .collect();
    for (bad, which) in [
        (name.starts_with('-'), "start"),
        (name.ends_with('-'), "end"),
    ] {
        if bad {
            return Err(Problem::new(
                420001,
                format!("Invalid DNS canonical name '{name}', cannot {which} with a hyphen"),
            ));
        }
    }
    Ok(name)
}
