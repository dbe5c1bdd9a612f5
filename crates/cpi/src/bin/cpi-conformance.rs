//! `cpi-conformance EXECUTABLE PROFILE.json`: checks a CPI executable, prints a line per check, and ends with status 1 if one
//! failed. See `docs/cpi-author.md`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [executable, profile] = arguments.as_slice() else {
        eprintln!("usage: cpi-conformance EXECUTABLE PROFILE.json");
        return ExitCode::from(2);
    };
    let profile = fs_err::read(profile)
        .map_err(|e| e.to_string())
        .and_then(|text| {
            serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", profile.display()))
        });
    let profile: cpi::conformance::Profile = match profile {
        Ok(profile) => profile,
        Err(why) => {
            eprintln!("cpi-conformance: {why}");
            return ExitCode::from(2);
        }
    };
    let report = cpi::conformance::run(executable, &profile);
    print!("{report}");
    if report.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
