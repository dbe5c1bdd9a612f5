//! Holds the parser to what the original's was recorded to do (`tests/vectors/cli-parser.json`).

use std::collections::BTreeMap;

use super::*;

/// Commands that take more instances than in the original.
const LISTS: &[&str] = &[
    "instances",
    "is",
    "vms",
    "logs",
    "start",
    "stop",
    "restart",
    "recreate",
];

/// Flags whose values are read with the template: `interpolate` has recordings of its own of what they are told then.
const LATER: &[&str] = &[
    "-v, --var",
    "--var-file",
    "-l, --vars-file",
    "--vars-env",
    "--vars-store",
    "-o, --ops-file",
    "--path",
];

/// Flags for VMs of `create-env`, whose agents are asked without a director: not there.
const ABSENT: &[&str] = &["--director", "--agent-endpoint", "--agent-certificate"];

/// Where the outcome here is another than the recorded one: why, and what it is.
fn departure(words: &[&str], recorded: Option<&str>) -> Option<(&'static str, Option<String>)> {
    let command = *words.first()?;
    let told = recorded.unwrap_or_default();
    if LISTS.contains(&command) && told.contains("does not support extra arguments") {
        let named = words.last()?;
        let text = match (command, *named) {
            ("vms" | "instances", "a/") => Some(format!(
                "Expected instance '{named}' to specify non-empty ID or index"
            )),
            ("vms" | "instances", "/b") => Some(format!(
                "Expected pool or instance '{named}' to specify non-empty name"
            )),
            ("vms" | "instances", "/nonexistent/a/1" | "a/b/c") => Some(format!(
                "Expected pool or instance '{named}' to be in format 'name' or 'name/id-or-index'"
            )),
            _ => None,
        };
        return Some(("several instances may be named", text));
    }
    let later = |flag: &str| told.starts_with(&format!("invalid argument for flag `{flag}'"));
    if LATER.iter().any(|flag| later(flag)) && !told.ends_with(": invalid syntax") {
        let required = "the required flags `--name' and `--type' were not specified";
        let text = (command == "update-config").then(|| required.to_owned());
        return Some(("the value is read with the template", text));
    }
    let absent = |word: &&&str| ABSENT.iter().any(|flag| word.starts_with(flag));
    if let Some(word) = words.iter().find(absent) {
        let flag = word.trim_start_matches('-').split('=').next()?;
        let text = format!("unknown flag `{flag}'");
        return Some(("there is no such flag", Some(text)));
    }
    if words.len() > 2 || words.iter().any(|word| word.starts_with('-')) {
        return None;
    }
    match command {
        "sha1ify-release" | "sha2ify-release" => {
            let text = match words.len() {
                1 => "the required arguments `PATH` and `DESTINATION` were not provided",
                _ => "the required argument `DESTINATION` was not provided",
            };
            let why = "the original begins without a path and fails then";
            Some((why, Some(text.to_owned())))
        }
        _ => None,
    }
}

fn parsed(words: &[&str]) -> Result<Parsed, Error> {
    parse(
        std::iter::once("bosun")
            .chain(words.iter().copied())
            .map(OsString::from),
    )
}

fn problem(words: &[&str]) -> String {
    match parsed(words) {
        Err(error) => error.render(),
        Ok(_) => panic!("expected a problem"),
    }
}

/// What is recorded of an outcome.
fn outcome(words: &[&str]) -> Option<String> {
    match parsed(words) {
        Ok(Parsed::Run(_)) => None,
        Ok(Parsed::Show(text)) if text.starts_with("version ") => Some("VERSION".to_owned()),
        Ok(Parsed::Show(_)) => Some("HELP".to_owned()),
        Err(error) => Some(error.render()),
    }
}

/// Without what differs on purpose: hints below the original's text, and the list of all commands.
fn comparable(text: &str) -> String {
    let text = text.split("\nDid you mean ").next().unwrap_or_default();
    let text = text.split("\nSee 'bosun ").next().unwrap_or_default();
    match text.split_once("one command of: ") {
        Some((before, _)) => before.to_owned(),
        None => text.to_owned(),
    }
}

#[test]
fn every_recorded_command_line_is_read_as_by_the_original() {
    let text = include_str!("../../../../tests/vectors/cli-parser.json");
    let vectors: serde_json::Value = serde_json::from_str(text).expect("valid vectors");
    let cwd = std::env::current_dir().expect("a folder");
    let mut differing = Vec::new();
    let mut compared = 0;
    let mut departures: BTreeMap<&str, usize> = BTreeMap::new();
    for case in vectors["cases"].as_array().expect("cases") {
        let words: Vec<&str> = case[0]
            .as_array()
            .expect("words")
            .iter()
            .map(|word| word.as_str().expect("a word"))
            .collect();
        let mut expected = case[1]
            .as_str()
            .map(|text| comparable(&text.replace("${CWD}", &cwd.display().to_string())));
        if let Some((why, here)) = departure(&words, expected.as_deref()) {
            *departures.entry(why).or_default() += 1;
            expected = here;
        }
        let found = outcome(&words).map(|text| comparable(&text));
        compared += 1;
        if found != expected {
            differing.push(format!(
                "{words:?}\n  expected: {expected:?}\n  here:     {found:?}"
            ));
        }
    }
    assert!(
        differing.is_empty(),
        "{} of {compared} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
    assert_eq!(
        (compared, departures),
        (
            3990,
            BTreeMap::from([
                ("several instances may be named", 34),
                ("the original begins without a path and fails then", 12),
                ("the value is read with the template", 262),
                ("there is no such flag", 63),
            ])
        )
    );
}

#[test]
fn hints_stand_below_the_originals_words() {
    assert_eq!(
        problem(&["vms", "--vitls"]),
        "unknown flag `vitls'\nDid you mean `--vitals'?"
    );
    let text = problem(&["upload"]);
    let hint = text.rsplit('\n').next().unwrap_or_default();
    assert!(hint.starts_with("Did you mean one of `upload-"), "{text}");
    assert!(hint.contains("`upload-release'"), "{text}");
}

#[test]
fn a_number_may_be_any_word() {
    for word in ["", "é", "-"] {
        let text = problem(&["vms", "--parallel", word]);
        assert!(
            text.starts_with("invalid argument for flag `--parallel' (expected int): "),
            "{text}"
        );
    }
}

#[test]
fn global_flags_may_stand_anywhere() {
    let Ok(Parsed::Run(cli)) = parsed(&["-d", "x", "stop", "web/0", "-n", "--tty"]) else {
        panic!("expected a command");
    };
    assert_eq!(cli.globals.deployment.as_deref(), Some("x"));
    assert!(cli.globals.non_interactive && cli.globals.tty);
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}
