//! From the words of the command line to a [`Cli`], with the original parser's wording of mistakes
//! (spec cli §1) and a nearest name where there is one.

use super::Cli;
use crate::error::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, Parser};
use std::ffi::OsString;

/// What the command line asks for.
pub enum Parsed {
    Run(Box<Cli>),
    /// Text for standard output, and success.
    Show(String),
}

/// Parses the program's arguments, its name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let mut words: Vec<OsString> = arguments.into_iter().collect();
    let root = Cli::command();
    let command = command_word(&root, &words);
    match command.as_ref().and_then(|at| words[*at].to_str()) {
        // `help`, `help COMMAND` are the flag of that name.
        Some("help") => {
            let at = command.unwrap_or_default();
            words.remove(at);
            words.push("--help".into());
        }
        None if words
            .iter()
            .skip(1)
            .any(|word| word == "-v" || word == "--version") =>
        {
            return Ok(Parsed::Show(version()));
        }
        _ => {}
    }
    match Cli::try_parse_from(&words) {
        Ok(cli) => Ok(Parsed::Run(Box::new(cli))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Parsed::Show(error.render().to_string()))
            }
            _ => {
                let active = command
                    .and_then(|at| words[at].to_str())
                    .and_then(|name| root.find_subcommand(name));
                Err(Error::message(reword(&root, active, &error)))
            }
        },
    }
}

/// `version <label>`.
fn version() -> String {
    let label = option_env!("BOSUN_VERSION").unwrap_or("[DEV BUILD]");
    format!("version {label}\n")
}

/// Where the command's name stands: the first word that is neither a global flag nor its value.
fn command_word(root: &clap::Command, words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        if !word.starts_with('-') {
            return Some(at);
        }
        let takes_value = !word.contains('=')
            && root.get_arguments().any(|arg| {
                arg.get_action().takes_values()
                    && (arg
                        .get_long()
                        .is_some_and(|long| word == format!("--{long}"))
                        || arg
                            .get_short()
                            .is_some_and(|short| word == format!("-{short}")))
            });
        at += if takes_value { 2 } else { 1 };
    }
    None
}

fn reword(root: &clap::Command, active: Option<&clap::Command>, error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(list)) => list.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand);
            let nearest = nearest(&name, &command_names(root)).unwrap_or_default();
            format!("Unknown command `{name}', did you mean `{nearest}'?")
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let mut names = command_names(root);
            let last = names.pop().unwrap_or_default();
            format!(
                "Please specify one command of: {} or {last}",
                names.join(", ")
            )
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            unknown_flag(root, active, &argument)
        }
        ErrorKind::UnknownArgument => {
            let name = active.map(clap::Command::get_name).unwrap_or_default();
            format!(
                "Command '*opts.{}Opts' does not support extra arguments: {argument}",
                camel(name)
            )
        }
        ErrorKind::MissingRequiredArgument => missing(error),
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error)
                .map(|source| source.to_string())
                .unwrap_or_else(|| first_line(error));
            match find_flag(root, active, &argument) {
                Some(flag) => format!(
                    "invalid argument for flag `{}' (expected {}): {cause}",
                    flag_name(flag),
                    go_type(flag)
                ),
                None => cause,
            }
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues => {
            match find_flag(root, active, &argument) {
                Some(flag) => format!("expected argument for flag `{}'", flag_name(flag)),
                None => first_line(error),
            }
        }
        _ => first_line(error),
    }
}

fn unknown_flag(root: &clap::Command, active: Option<&clap::Command>, argument: &str) -> String {
    let name = argument
        .trim_start_matches('-')
        .split('=')
        .next()
        .unwrap_or_default();
    let longs: Vec<String> = root
        .get_arguments()
        .chain(active.into_iter().flat_map(clap::Command::get_arguments))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    let close = nearest(name, &longs)
        .filter(|found| name.len() > 1 && distance(name, found) <= name.len().div_ceil(3));
    match close {
        Some(found) => format!("unknown flag `{name}', did you mean `--{found}'?"),
        None => format!("unknown flag `{name}'"),
    }
}

fn missing(error: &clap::Error) -> String {
    let list = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(list)) => list.clone(),
        _ => return first_line(error),
    };
    let (flags, positionals): (Vec<String>, Vec<String>) =
        list.into_iter().partition(|text| text.starts_with('-'));
    let quoted = |names: Vec<String>| {
        let names: Vec<String> = names.into_iter().map(|name| format!("`{name}'")).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => names.concat(),
        }
    };
    if !flags.is_empty() {
        let names: Vec<String> = flags
            .iter()
            .map(|text| text.split([' ', '=']).next().unwrap_or(text).to_owned())
            .collect();
        return if names.len() == 1 {
            format!("the required flag {} was not specified", quoted(names))
        } else {
            format!("the required flags {} were not specified", quoted(names))
        };
    }
    let names: Vec<String> = positionals
        .iter()
        .map(|text| text.trim_matches(['<', '>', '.', '[', ']']).to_owned())
        .collect();
    if names.len() == 1 {
        format!(
            "the required argument {} was not provided",
            quoted(names).replace('\'', "`")
        )
    } else {
        format!(
            "the required arguments {} were not provided",
            quoted(names).replace('\'', "`")
        )
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// The flag that clap names as `--long <VALUE>`; positional arguments are none.
fn find_flag<'a>(
    root: &'a clap::Command,
    active: Option<&'a clap::Command>,
    text: &str,
) -> Option<&'a Arg> {
    let long = text.strip_prefix("--")?;
    let long = long.split([' ', '=', '[']).next()?;
    active
        .into_iter()
        .flat_map(clap::Command::get_arguments)
        .chain(root.get_arguments())
        .find(|arg| arg.get_long() == Some(long))
}

fn flag_name(flag: &Arg) -> String {
    let long = flag.get_long().unwrap_or_default();
    match flag.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

/// The original's name of a flag's type (spec cli §9.5): scripts may match on the whole line.
fn go_type(flag: &Arg) -> &'static str {
    match flag.get_long().unwrap_or_default() {
        "ops-file" => "[]opts.OpsFileArg",
        "var" => "[]template.VarKV",
        "var-file" => "[]template.VarFileArg",
        "vars-file" => "[]template.VarsFileArg",
        "vars-env" => "[]template.VarsEnvArg",
        "vars-store" => "opts.VarsFSStore",
        "path" => "patch.Pointer",
        "skip-drain" => "[]boshdir.SkipDrain",
        "instance" => "[]boshdir.InstanceGroupOrInstanceSlug",
        "stemcell" => "boshdir.OSVersionSlug",
        "recreate-vms-created-before" | "vms-created-before" => "opts.TimestampArg",
        "header" => "[]opts.CurlHeader",
        "version" => "opts.VersionArg",
        "tarball" => "opts.FileArg",
        "parallel" | "recent" | "num" => "int",
        _ => "string",
    }
}

/// All names that can be typed, aliases left out, sorted.
fn command_names(root: &clap::Command) -> Vec<String> {
    let mut names: Vec<String> = root
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    names.sort();
    names
}

/// `attach-disk` as `AttachDisk`.
fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            match letters.next() {
                Some(first) => first.to_uppercase().chain(letters).collect::<String>(),
                None => String::new(),
            }
        })
        .collect()
}

fn nearest(name: &str, candidates: &[String]) -> Option<String> {
    candidates
        .iter()
        .min_by_key(|candidate| distance(name, candidate))
        .cloned()
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
mod tests {
    use super::*;

    fn problem(words: &[&str]) -> String {
        let words = std::iter::once("bosun").chain(words.iter().copied());
        match parse(words.map(OsString::from)) {
            Err(error) => error.render(),
            Ok(_) => panic!("expected a problem"),
        }
    }

    #[test]
    fn mistakes_are_told_in_the_originals_words() {
        assert_eq!(
            problem(&["instancs"]),
            "Unknown command `instancs', did you mean `instances'?"
        );
        assert_eq!(
            problem(&["deploy"]),
            "the required argument `PATH` was not provided"
        );
        assert_eq!(
            problem(&["attach-disk"]),
            "the required arguments `GROUP/ID` and `CID` were not provided"
        );
        assert_eq!(
            problem(&["configs", "--type", "cloud"]),
            "Command '*opts.ConfigsOpts' does not support extra arguments: cloud"
        );
        assert_eq!(
            problem(&["vms", "--vitls"]),
            "unknown flag `vitls', did you mean `--vitals'?"
        );
        assert_eq!(problem(&["vms", "--zzzzzz"]), "unknown flag `zzzzzz'");
        assert_eq!(
            problem(&["vms", "-d"]),
            "expected argument for flag `-d, --deployment'"
        );
        assert!(problem(&["-n"]).starts_with("Please specify one command of: add-blob, "));
    }

    #[test]
    fn global_flags_may_stand_anywhere() {
        let words = ["bosun", "-d", "x", "stop", "web/0", "-n", "--tty"];
        let Ok(Parsed::Run(cli)) = parse(words.map(OsString::from)) else {
            panic!("expected a command");
        };
        assert_eq!(cli.globals.deployment.as_deref(), Some("x"));
        assert!(cli.globals.non_interactive && cli.globals.tty);
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
