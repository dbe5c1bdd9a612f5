//! Holds the parser to what the original's was recorded to do (`tests/vectors/cli-parser.json`).

use super::*;

/// Commands that take more instances than in the original, so that its "extra arguments" are none here.
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

/// Flags whose values are read later than the others.
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

/// Commands whose missing arguments are told otherwise, and why.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "sha1ify-release",
        "the original begins without a path and fails then",
    ),
    (
        "sha2ify-release",
        "the original begins without a path and fails then",
    ),
    (
        "vendor-package",
        "the source folder has the default that the original announces",
    ),
];

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
    for case in vectors["cases"].as_array().expect("cases") {
        let words: Vec<&str> = case[0]
            .as_array()
            .expect("words")
            .iter()
            .filter_map(serde_json::Value::as_str)
            .collect();
        let expected = case[1]
            .as_str()
            .map(|text| comparable(&text.replace("${CWD}", &cwd.display().to_string())));
        let command = words.first().copied().unwrap_or_default();
        // Variables and operations are read with the template: `interpolate` has its own recordings.
        let later = expected.as_ref().is_some_and(|text| {
            LATER
                .iter()
                .any(|flag| text.starts_with(&format!("invalid argument for flag `{flag}'")))
                && !text.ends_with(": invalid syntax")
        });
        if later {
            continue;
        }
        if words
            .iter()
            .any(|word| ABSENT.iter().any(|flag| word.starts_with(flag)))
        {
            continue;
        }
        let short = words.iter().all(|word| !word.starts_with('-')) && words.len() < 3;
        if short && OTHERWISE.iter().any(|(name, _)| *name == command) {
            continue;
        }
        let found = outcome(&words).map(|text| comparable(&text));
        let longer = LISTS.contains(&command)
            && expected
                .as_ref()
                .is_some_and(|text| text.contains("does not support extra arguments"));
        compared += 1;
        if found != expected && !longer {
            differing.push(format!(
                "{words:?}\n  original: {expected:?}\n  here:     {found:?}"
            ));
        }
    }
    assert!(compared > 1000);
    assert!(
        differing.is_empty(),
        "{} of {compared} differ:\n{}",
        differing.len(),
        differing.join("\n")
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
