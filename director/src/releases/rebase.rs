//! `--rebase`: the next version after the newest with the same base (releases-and-templates.md §12.3).

use domain::version::Version;

use crate::error::Error;

/// The version that an upload gets in place of its own. `existing`: all versions of the release.
pub(super) fn next(uploaded: &str, existing: &[String]) -> Result<String, Error> {
    let invalid = || Error::unclassified(format!("Failed to Rebase - Invalid Version: {uploaded}"));
    let parsed = Version::parse(uploaded).map_err(|_| invalid())?;
    let Some((base, _)) = uploaded.split_once('+') else {
        return Err(invalid().hint("Only a development version (like 1+dev.1) can be rebased."));
    };
    let newest = existing
        .iter()
        .filter(|version| version.split('+').next() == Some(base))
        .filter_map(|version| Version::parse(version).ok())
        .max();
    let next = match newest {
        Some(newest) => newest.increment_post_release(),
        None => parsed.with_post_release("dev.1"),
    };
    next.map(|version| version.as_str().to_owned())
        .map_err(|error| invalid().caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_development_version_of_the_same_base_is_taken() {
        let existing: Vec<_> = ["1", "1+dev.3", "1+dev.10", "2+dev.1"]
            .map(str::to_owned)
            .into();
        assert_eq!(next("1+dev.1", &existing).unwrap(), "1+dev.11");
        assert_eq!(next("3+dev.7", &existing).unwrap(), "3+dev.1");
        assert!(
            next("1", &existing)
                .unwrap_err()
                .message
                .starts_with("Failed to Rebase - Invalid Version")
        );
    }
}
