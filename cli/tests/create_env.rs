//! Manifests that `create-env` and its kin refuse, against recordings of the original command line: output and errors are
//! exact. What needs a VM is in the end-to-end suite.

use serde_json::Value;
use std::process::Command;

const VECTORS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/vectors/create-env.json"
);

#[test]
fn bad_manifests_are_refused_in_the_originals_words() {
    let text = std::fs::read_to_string(VECTORS).expect("the recordings are in the repository");
    let vectors: Value = serde_json::from_str(&text).expect("they are JSON");
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = |name: &str, content: &str| {
        std::fs::write(dir.path().join(name), content).expect("file");
    };
    file("good.yml", vectors["manifest"].as_str().expect("manifest"));
    let cases = vectors["cases"].as_array().expect("cases");
    assert!(cases.len() >= 15);
    let took = regex::Regex::new(r"\(00:00:\d\d\)").expect("pattern");
    for case in cases {
        let name = &case["name"];
        file("ops.yml", &case["ops"].to_string());
        file("good-state.json", r#"{"director_id":"x"}"#);
        let output = Command::new(env!("CARGO_BIN_EXE_bosun"))
            .args(["--tty", "stop-env", "good.yml", "-o", "ops.yml"])
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .output()
            .expect("the program runs");
        let folder = dir.path().display().to_string();
        // Steps take a moment longer on a busy machine.
        let said = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(&folder, "DIR");
            took.replace_all(&text, "(00:00:00)").into_owned()
        };
        assert_eq!(
            said(&output.stdout),
            case["stdout"].as_str().expect("text"),
            "{name}"
        );
        assert_eq!(
            said(&output.stderr),
            case["stderr"].as_str().expect("text"),
            "{name}"
        );
        assert_eq!(output.status.code(), Some(1), "{name}");
    }
}

#[test]
fn without_a_state_file_there_is_nothing_to_delete() {
    let dir = tempfile::tempdir().expect("temporary directory");
    std::fs::write(dir.path().join("env.yml"), "name: n\n").expect("manifest");
    for command in ["delete-env", "stop-env", "start-env"] {
        let output = Command::new(env!("CARGO_BIN_EXE_bosun"))
            .args(["--tty", command, "env.yml", "--state", "other.json"])
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let manifest = dir.path().join("env.yml");
        assert_eq!(
            said,
            format!(
                "Deployment manifest: '{}'\nDeployment state: 'other.json'\nNo deployment state file found.\n\nSucceeded\n",
                manifest.display()
            )
        );
        assert!(output.status.success());
    }
    assert!(!dir.path().join("other.json").exists());
}
