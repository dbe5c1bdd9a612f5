//! How flags read numbers, files and such, with the original's names of types and its words for a bad value: scripts
//! may match on the whole line (spec cli §1, §9.5).

use super::slugs::BadArgument;
use clap::{Arg, Command};
use std::time::Duration;

/// The original's name of a flag's type, as it stands in `(expected …)`.
pub(super) fn go_type(command: Option<&Command>, flag: &Arg) -> &'static str {
    let command = command.map(Command::get_name).unwrap_or_default();
    match (command, flag.get_long().unwrap_or_default()) {
        (_, "ops-file") => "[]opts.OpsFileArg",
        (_, "var") => "[]template.VarKV",
        (_, "var-file") => "[]template.VarFileArg",
        (_, "vars-file") => "[]template.VarsFileArg",
        (_, "vars-env") => "[]template.VarsEnvArg",
        (_, "vars-store") => "opts.VarsFSStore",
        ("interpolate", "path") => "patch.Pointer",
        ("deploy", "skip-drain") => "[]director.SkipDrain",
        ("run-errand", "instance") => "[]director.InstanceGroupOrInstanceSlug",
        ("upload-release", "stemcell") => "director.OSVersionSlug",
        (_, "recreate-vms-created-before" | "vms-created-before") => "opts.TimeArg",
        (_, "header") => "[]opts.CurlHeader",
        (_, "column") => "[]opts.ColumnOpt",
        (_, "ca-cert") => "opts.CACertArg",
        (_, "body" | "from-content" | "to-content") => "opts.FileBytesArg",
        ("ssh" | "scp", "private-key") => "opts.FileBytesWithPathArg",
        (_, "dir" | "logs-dir") => "opts.DirOrCWDArg",
        (_, "tarball") => "opts.FileArg",
        (
            "upload-stemcell" | "upload-release" | "create-release" | "finalize-release",
            "version",
        ) => "opts.VersionArg",
        ("ssh", "opts") => "opts.TrimmedSpaceArgs",
        ("tasks", "recent") | ("run-errand", "with-heartbeat") => "*int",
        (_, "parallel" | "recent" | "num") => "int",
        ("pcap", "snaplen") => "uint32",
        ("pcap", "stop-timeout") => "time.Duration",
        ("cancel-tasks", "type" | "state")
        | ("logs", "job" | "only")
        | ("cloud-check", "resolution")
        | ("export-release", "job")
        | ("repack-stemcell", "format")
        | ("ssh", "command") => "[]string",
        _ => "string",
    }
}

/// Whether a negative number may follow the flag as a word of its own.
pub(super) fn is_signed(flag: &Arg) -> bool {
    matches!(
        flag.get_long().unwrap_or_default(),
        "parallel" | "recent" | "num" | "with-heartbeat" | "stop-timeout"
    )
}

/// A whole number.
pub fn int(text: &str) -> Result<i64, BadArgument> {
    text.parse()
        .map_err(|error| not_a_number("ParseInt", text, &error))
}

/// A whole number from 0 to 4294967295.
pub fn uint32(text: &str) -> Result<u32, BadArgument> {
    text.parse()
        .map_err(|error| not_a_number("ParseUint", text, &error))
}

fn not_a_number(function: &str, text: &str, error: &std::num::ParseIntError) -> BadArgument {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let what = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    BadArgument::new(format!("strconv.{function}: parsing \"{text}\": {what}"))
}

/// A span of time like `1m30s` or `500ms`.
pub fn duration(text: &str) -> Result<Duration, BadArgument> {
    let bad = || BadArgument::new(format!("time: invalid duration \"{text}\""));
    if text.is_empty() {
        return Err(bad());
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .filter(|length| *length > 0)
            .ok_or_else(|| match rest.parse::<f64>() {
                Ok(_) => BadArgument::new(format!("time: missing unit in duration \"{text}\"")),
                Err(_) => bad(),
            })?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                other => {
                    return Err(BadArgument::new(format!(
                        "time: unknown unit \"{other}\" in duration \"{text}\""
                    )));
                }
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| bad())
}

/// The path of a file to read, or `-` for standard input. It is looked for when flags are read, as in the original, so
/// that a wrong path is told before anything is asked of a director; it is read later, because a pipe can be read once.
pub fn input_file(text: &str) -> Result<String, BadArgument> {
    if text == "-" {
        return Ok(text.to_owned());
    }
    existing_file(text)
}

/// The path of a file to read.
pub fn existing_file(text: &str) -> Result<String, BadArgument> {
    if text.is_empty() {
        return Err(BadArgument::new("Expected file path to be non-empty"));
    }
    let path = crate::config::expand(text)
        .and_then(|path| Ok(std::path::absolute(path)?))
        .map_err(|error| BadArgument::new(error.to_string()))?;
    // Without a slash at the end, as the original shows it.
    let path: std::path::PathBuf = path.components().collect();
    let metadata = fs_err::metadata(&path);
    let opened = match metadata {
        // Opening a pipe would disturb who writes to it.
        Ok(metadata) if metadata.is_file() => fs_err::File::open(&path).map(drop),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match opened {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(BadArgument::new(format!(
            "Opening file {}:\n  {}",
            path.display(),
            release_archive::Problem::io("open", &path, &error)
        ))),
    }
}

/// A CA certificate: the path of a file, or the text itself.
pub fn ca_cert(text: &str) -> Result<String, BadArgument> {
    if text.is_empty() {
        return Err(BadArgument::new("Expected CA cert to be non-empty"));
    }
    if text.contains("BEGIN") {
        return Ok(text.to_owned());
    }
    existing_file(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(
            duration("5").unwrap_err().to_string(),
            "time: missing unit in duration \"5\""
        );
        assert_eq!(
            duration("x").unwrap_err().to_string(),
            "time: invalid duration \"x\""
        );
    }

    #[test]
    fn bad_numbers_are_told_in_gos_words() {
        assert_eq!(
            int("x").unwrap_err().to_string(),
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            uint32("99999999999").unwrap_err().to_string(),
            "strconv.ParseUint: parsing \"99999999999\": value out of range"
        );
    }
}
