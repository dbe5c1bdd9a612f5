//! `interpolate` against the recordings of the original command line, with the built program.
//!
//! Exit code and standard output are exact. Standard error may be worded better, but what the original names in single
//! quotes must be in it, and its last line is the same.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;
use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

/// Where the recordings are in the repository.
const VECTORS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/vectors/interpolate.json"
);

fn cases() -> Vec<Json> {
    let text = std::fs::read_to_string(VECTORS).expect("the vectors are in the repository");
    let mut vectors: Json = serde_json::from_str(&text).expect("the vectors are JSON");
    match vectors["cases"].take() {
        Json::Array(cases) => cases,
        other => panic!("the vectors have no list of cases: {other}"),
    }
}

fn text<'a>(case: &'a Json, key: &str) -> &'a str {
    case[key].as_str().unwrap_or("")
}

/// Runs the program as a case says, in `folder`.
fn run(case: &Json, folder: &Path, home: &Path) -> Output {
    let args = case["args"].as_array().expect("a case has arguments");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bosun"));
    command
        .args(
            args.iter()
                .map(|arg| arg.as_str().expect("an argument is a text")),
        )
        .current_dir(folder)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in case["env"].as_object().into_iter().flatten() {
        command.env(name, value.as_str().expect("a variable is a text"));
    }
    let mut child = command.spawn().expect("the program starts");
    // A program that fails early doesn't read; that is no failure of the test.
    let _ = child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(text(case, "stdin").as_bytes());
    child.wait_with_output().expect("the program ends")
}

/// What differs from the recording, if anything does.
fn differences(case: &Json, output: &Output, folder: &Path, stdout: Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let place = |text: &str| text.replace("$CWD", &folder.display().to_string());
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    if output.status.code().map(i64::from) != case["exit_code"].as_i64() {
        wrong.push(format!(
            "exit code {:?}, stderr {err:?}",
            output.status.code()
        ));
    }
    let expected = stdout.or_else(|| case["stdout"].as_str().map(place));
    if let Some(expected) = expected.filter(|expected| *expected != out) {
        wrong.push(format!("stdout {out:?}, expected {expected:?}"));
    }
    let expected = place(text(case, "stderr"));
    if err != expected {
        let named = Regex::new(r"(?:^|[\s(])'([^'\n]+)'").expect("the pattern is a constant");
        for name in named.captures_iter(&expected) {
            if !err.contains(&name[1]) {
                wrong.push(format!("stderr {err:?} does not name {:?}", &name[1]));
            }
        }
        if err.lines().last() != expected.lines().last() {
            wrong.push(format!("stderr {err:?}, expected the end of {expected:?}"));
        }
    }
    wrong
}

#[test]
fn every_recorded_case_gives_the_original_output() {
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases().iter().filter(|case| case["cwd"].is_null()) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().canonicalize().expect("the folder is there");
        for (name, content) in case["files"].as_object().into_iter().flatten() {
            let path = place.join(name);
            std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder");
            std::fs::write(path, content.as_str().expect("a file is a text")).expect("a file");
        }
        let output = run(case, &place, home.path());
        let mut wrong = differences(case, &output, &place, None);
        for (name, content) in case["files_after"].as_object().into_iter().flatten() {
            let found = std::fs::read_to_string(place.join(name)).ok();
            if found.as_deref() != content.as_str() {
                wrong.push(format!("file {name} is {found:?}, expected {content}"));
            }
        }
        if case["checks"].is_object() {
            let out = String::from_utf8_lossy(&output.stdout);
            wrong.extend(check_generated(&case["checks"], &out, &place));
        }
        count += 1;
        failures.extend(
            wrong
                .into_iter()
                .map(|wrong| format!("{}: {wrong}", text(case, "name"))),
        );
    }
    assert_eq!(count, 307, "the repository has all small cases");
    assert!(
        failures.is_empty(),
        "{} of {count}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// The large cases use public manifests that are not part of the repository: `BOSUN_VECTOR_MANIFESTS` names the folder
/// that holds them.
#[test]
fn public_manifests_give_the_original_output() {
    let Some(manifests) = std::env::var_os("BOSUN_VECTOR_MANIFESTS").map(PathBuf::from) else {
        eprintln!("not run: set BOSUN_VECTOR_MANIFESTS to the folder with the public manifests");
        return;
    };
    let vectors = manifests.parent().expect("the folder has a parent");
    let mut failures = Vec::new();
    let home = tempfile::tempdir().expect("a temporary folder");
    for case in cases().iter().filter(|case| case["cwd"].is_string()) {
        let expected = std::fs::read_to_string(vectors.join(text(case, "stdout_file")))
            .expect("the expected output is beside the manifests");
        let folder = vectors.join(text(case, "cwd"));
        let output = run(case, &folder, home.path());
        for wrong in differences(case, &output, &folder, Some(expected)) {
            failures.push(format!(
                "{}: {}",
                text(case, "name"),
                &wrong[..wrong.len().min(3000)]
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// What holds for values that are different on each run.
fn check_generated(checks: &Json, out: &str, folder: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let list = |key: &str| checks[key].as_array().cloned().unwrap_or_default();
    let entries = |key: &str| checks[key].as_object().cloned().unwrap_or_default();
    let matches = |pattern: &Json, text: &str| {
        let pattern = pattern.as_str().expect("a pattern is a text");
        Regex::new(pattern)
            .expect("the vectors' patterns are valid")
            .is_match(text)
    };
    for pattern in list("stdout_lines_regex") {
        if !out.lines().any(|line| matches(&pattern, line)) {
            wrong.push(format!("no line of {out:?} matches {pattern}"));
        }
    }
    let printed: Yaml = serde_yaml::from_str(out).unwrap_or_default();
    for pair in list("same_values") {
        let at = |i: usize| find(&printed, &pair[i].as_str().unwrap_or("")[1..], '/');
        if at(0).is_none() || at(0) != at(1) {
            wrong.push(format!("{pair} differ"));
        }
    }
    let store = folder.join(text(checks, "store_file"));
    let store: Yaml = serde_yaml::from_str(&std::fs::read_to_string(store).unwrap_or_default())
        .unwrap_or_default();
    let stored = |path: &str| {
        find(&store, path, '.')
            .and_then(Yaml::as_str)
            .unwrap_or_default()
    };
    for (name, keys) in entries("store_keys") {
        let map = find(&store, &name, '.')
            .and_then(Yaml::as_mapping)
            .cloned()
            .unwrap_or_default();
        let found: Vec<_> = map.keys().filter_map(Yaml::as_str).collect();
        if serde_json::json!(found) != keys {
            wrong.push(format!("{name} has {found:?}, expected {keys}"));
        }
    }
    for (path, pattern) in entries("store_regex") {
        if !matches(&pattern, stored(&path)) {
            wrong.push(format!("{path} does not match {pattern}"));
        }
    }
    for pair in list("equal") {
        let at = |i: usize| stored(pair[i].as_str().unwrap_or(""));
        if at(0).is_empty() || at(0) != at(1) {
            wrong.push(format!("{pair} differ"));
        }
    }
    for (path, bits) in entries("key_bits") {
        // The length of PKCS#1 documents tells the modulus apart: 2048 bits take about 1190 bytes.
        let pem = x509_parser::pem::parse_x509_pem(stored(&path).as_bytes());
        let length = pem.map(|(_, pem)| pem.contents.len()).unwrap_or_default();
        if bits != 2048 || !(1180..1200).contains(&length) {
            wrong.push(format!("{path} has {length} bytes"));
        }
    }
    for (path, properties) in entries("x509") {
        wrong.extend(check_certificate(&path, stored(&path), &properties));
    }
    wrong
}

fn find<'a>(value: &'a Yaml, path: &str, separator: char) -> Option<&'a Yaml> {
    path.split(separator)
        .try_fold(value, |value, key| value.get(key))
}

fn check_certificate(path: &str, pem: &str, properties: &Json) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(pem.as_bytes()) else {
        return vec![format!("{path} is no PEM")];
    };
    let certificate = pem.parse_x509().expect("it is a certificate");
    let validity = certificate.validity();
    let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86400;
    let key = certificate
        .public_key()
        .parsed()
        .expect("the key can be read");
    let mut found = serde_json::json!({
        "is_ca": certificate.is_ca(),
        "subject": certificate.subject().to_string(),
        "bits": key.key_size(),
        "days": days,
    });
    let usage = certificate
        .key_usage()
        .ok()
        .flatten()
        .map(|usage| usage.value.to_string());
    let usage = usage
        .unwrap_or_default()
        .replace("Key Cert Sign", "Certificate Sign");
    found["key_usage"] = usage.split(", ").collect();
    if let Ok(Some(usage)) = certificate.extended_key_usage() {
        let usages = [
            (usage.value.client_auth, "clientAuth"),
            (usage.value.server_auth, "serverAuth"),
        ];
        found["ext_key_usage"] = usages.iter().filter(|u| u.0).map(|u| u.1).collect();
    }
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        let names = names.value.general_names.iter().map(|name| match name {
            GeneralName::DNSName(name) => format!("DNS:{name}"),
            GeneralName::IPAddress(bytes) => {
                let bytes: Vec<_> = bytes.iter().map(u8::to_string).collect();
                format!("IP:{}", bytes.join("."))
            }
            other => other.to_string(),
        });
        found["san"] = names.collect();
    }
    let expected = properties
        .as_object()
        .cloned()
        .unwrap_or_default()
        .into_iter();
    expected
        .filter(|(name, value)| found[name] != *value)
        .map(|(name, value)| format!("{path}: {name} is {}, expected {value}", found[&name]))
        .collect()
}
