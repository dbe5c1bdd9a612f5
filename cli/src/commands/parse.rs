//! From the words of the command line to a [`Cli`], with the original parser's wording of mistakes
//! (spec cli §1) and, below it, the nearest name where the original has none.

use super::words::{self, Reading, Stop, flag_name};
use super::{Cli, types};
use crate::config;
use crate::error::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser};
use std::ffi::OsString;

/// What the command line asks for.
pub enum Parsed {
    Run(Box<Cli>),
    /// Text for standard output, and success.
    Show(String),
}

/// Parses the program's arguments, its name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let root = Cli::command();
    let given: Vec<String> = arguments
        .into_iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let reading = words::read(&root, &given);
    if matches!(reading.stop, Some(Stop::Version)) {
        return Ok(Parsed::Show(version()));
    }
    if matches!(reading.stop, Some(Stop::Help)) {
        return Ok(Parsed::Show(help(&root, reading.command)));
    }
    // Values are converted as they come, so a bad one is told before what is wrong further on or missing.
    let parsed = root
        .clone()
        .try_get_matches_from(&reading.words)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    if let Err(error) = &parsed
        && let Some(text) = bad_value(&root, &reading, error)
    {
        return Err(Error::message(text));
    }
    match &reading.stop {
        Some(Stop::UnknownFlag(name)) => return Err(unknown_flag(&root, &reading, name)),
        Some(Stop::Mistake(text)) => return Err(Error::message(text.clone())),
        _ => {}
    }
    check_variables(&reading)?;
    if let Some(text) = reading
        .command
        .and_then(|command| missing(command, &reading))
    {
        return Err(Error::message(text));
    }
    let Some(command) = reading.command else {
        return Err(no_command(&root, reading.extra.first()));
    };
    let name = command.get_name();
    if !reading.extra.is_empty() {
        return Err(Error::message(format!(
            "Command '*opts.{}Opts' does not support extra arguments: {}",
            opts_name(name),
            reading.extra.join(", ")
        )));
    }
    if name == "help" {
        return Ok(Parsed::Show(help(&root, None)));
    }
    match parsed {
        Ok(cli) => Ok(Parsed::Run(Box::new(cli))),
        Err(error) => Err(Error::message(first_line(&error))),
    }
}

/// `version <label>`.
fn version() -> String {
    let label = option_env!("BOSUN_VERSION").unwrap_or("[DEV BUILD]");
    format!("version {label}\n")
}

fn help(root: &Command, command: Option<&Command>) -> String {
    let mut words = vec![root.get_name(), "--help"];
    if let Some(command) = command {
        words.insert(1, command.get_name());
    }
    match Cli::try_parse_from(words) {
        Err(error) => error.render().to_string(),
        Ok(_) => String::new(),
    }
}

/// The text about a value that could not be converted.
fn bad_value(root: &Command, reading: &Reading<'_>, error: &clap::Error) -> Option<String> {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return None;
    }
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let cause = std::error::Error::source(error)
        .map(|source| source.to_string())
        .unwrap_or_else(|| first_line(error));
    Some(match find_flag(root, reading.command, &argument) {
        Some(flag) => format!(
            "invalid argument for flag `{}' (expected {}): {}",
            flag_name(flag),
            types::go_type(reading.command, flag),
            cause.replace(":\n  ", ": ")
        ),
        None => cause,
    })
}

/// compat: variables of all commands are read, whatever the command, and the last bad one is told.
fn check_variables(reading: &Reading<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    if !reading.has("ca-cert")
        && let Some(text) = config::given("BOSH_CA_CERT")
        && let Err(error) = types::ca_cert(&text)
    {
        let cause = error.to_string().replace(":\n  ", ": ");
        result = Err(Error::message(format!(
            "invalid argument for flag `--ca-cert' (expected opts.CACertArg): {cause}"
        )));
    }
    for (long, name, flag) in [
        ("sha2", "BOSH_SHA2", "--sha2"),
        ("tty", "BOSH_TTY", "--tty"),
        (
            "non-interactive",
            "BOSH_NON_INTERACTIVE",
            "-n, --non-interactive",
        ),
        ("gw-disable", "BOSH_GW_DISABLE", "--gw-disable"),
    ] {
        if !reading.has(long)
            && let Err(error) = config::boolean(name, flag)
        {
            result = Err(error);
        }
    }
    result
}

/// What must be given and was not: flags before arguments.
fn missing(command: &Command, reading: &Reading<'_>) -> Option<String> {
    let mut flags: Vec<String> = command
        .get_arguments()
        .filter(|arg| arg.is_required_set() && !arg.is_positional())
        .filter(|arg| !reading.has(arg.get_long().unwrap_or_default()))
        .map(|arg| format!("`{}'", flag_name(arg)))
        .collect();
    flags.sort();
    if !flags.is_empty() {
        return Some(match flags.len() {
            1 => format!("the required flag {} was not specified", flags[0]),
            _ => format!("the required flags {} were not specified", joined(&flags)),
        });
    }
    let arguments: Vec<String> = command
        .get_positionals()
        .skip(reading.positionals)
        .filter(|arg| arg.is_required_set())
        .map(|arg| {
            let names = arg.get_value_names().unwrap_or_default();
            format!(
                "`{}`",
                names.first().map(|name| name.as_str()).unwrap_or_default()
            )
        })
        .collect();
    match arguments.len() {
        0 => None,
        1 => Some(format!(
            "the required argument {} was not provided",
            arguments[0]
        )),
        _ => Some(format!(
            "the required arguments {} were not provided",
            joined(&arguments)
        )),
    }
}

/// `a, b and c`.
fn joined(names: &[String]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// No command, or one that nobody knows.
fn no_command(root: &Command, typed: Option<&String>) -> Error {
    let names = command_names(root);
    let list = match names.split_last() {
        Some((last, rest)) => format!(
            "Please specify one command of: {} or {last}",
            rest.join(", ")
        ),
        None => String::new(),
    };
    let Some(typed) = typed else {
        return Error::message(list);
    };
    // compat: replacing all letters never costs more than there are.
    let cost = |name: &String| distance(typed, name).min(typed.len());
    let Some(nearest) = names.iter().min_by_key(|name| cost(name)) else {
        return Error::message(list);
    };
    let unknown = format!("Unknown command `{typed}'");
    if cost(nearest) * 2 < nearest.len() {
        return Error::message(format!("{unknown}, did you mean `{nearest}'?"));
    }
    let text = format!("{unknown}. {list}");
    let alike: Vec<String> = names
        .iter()
        .filter(|name| name.split('-').any(|part| part == typed) || name.starts_with(typed))
        .map(|name| format!("`{name}'"))
        .collect();
    Error::message(match joined(&alike) {
        alike if alike.is_empty() => text,
        alike => format!("{text}\nDid you mean one of {alike}?"),
    })
}

fn unknown_flag(root: &Command, reading: &Reading<'_>, name: &str) -> Error {
    let longs: Vec<&str> = root
        .get_arguments()
        .chain(reading.command.into_iter().flat_map(Command::get_arguments))
        .filter_map(Arg::get_long)
        .collect();
    let close = longs
        .into_iter()
        .min_by_key(|long| distance(name, long))
        .filter(|long| name.len() > 1 && distance(name, long) <= name.len().div_ceil(3));
    let text = format!("unknown flag `{name}'");
    Error::message(match (close, reading.command) {
        (Some(found), _) => format!("{text}\nDid you mean `--{found}'?"),
        (None, Some(command)) => format!(
            "{text}\nSee 'bosun {} --help' for the flags it takes",
            command.get_name()
        ),
        (None, None) => text,
    })
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// The flag that clap names as `--long <VALUE>`; positional arguments are none.
fn find_flag<'a>(root: &'a Command, active: Option<&'a Command>, text: &str) -> Option<&'a Arg> {
    let long = text
        .split("--")
        .nth(1)?
        .split([' ', '=', '['])
        .next()
        .filter(|long| !long.is_empty())?;
    active
        .into_iter()
        .flat_map(Command::get_arguments)
        .chain(root.get_arguments())
        .find(|arg| arg.get_long() == Some(long))
}

/// All names that can be typed, aliases left out, sorted.
fn command_names(root: &Command) -> Vec<String> {
    let mut names: Vec<String> = root
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| command.get_name().to_owned())
        .collect();
    names.sort();
    names
}

/// `attach-disk` as `AttachDisk`, as the original names the type of its options.
fn opts_name(name: &str) -> String {
    if name == "inspect-local-stemcell" {
        return "InspectStemcellTarball".to_owned();
    }
    name.split('-')
        .map(|word| match word {
            "vm" | "cpi" | "ssh" | "scp" => word.to_uppercase(),
            "vms" => "VMs".to_owned(),
            _ => {
                let mut letters = word.chars();
                match letters.next() {
                    Some(first) => first.to_uppercase().chain(letters).collect(),
                    None => String::new(),
                }
            }
        })
        .collect()
}

/// Edits from one word to another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
