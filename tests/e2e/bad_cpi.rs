//! A CPI that says no, talks nonsense or never answers, and an agent that never reports: what the operator is told,
//! that nothing stays behind, and that the next deploy goes through.
//!
//! The director's CPI is a small program in front of the real one, which misbehaves as a file tells it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use e2e::{Environment, Inventory, program};

use crate::faulty::{MANIFEST, changed, complaints, deploy, left_overs, prepare};

/// Seconds: long enough for a busy machine to start a container, short enough to be waited for.
const CPI_TIMEOUT: u32 = 10;
const AGENT_TIMEOUT: u32 = 12;

const FRONT: &str = r#"#!/bin/sh
# Passes calls on; a file named after the method says what to do instead.
request=$(cat)
method=$(printf '%s' "$request" | sed -n 's/.*"method":"\([a-z_]*\)".*/\1/p')
case $(cat "FOLDER/$method" 2>/dev/null) in
refuse)
  echo "quota looked up" >&2
  printf '%s' '{"result":null,"error":{"type":"Bosh::Clouds::VMCreationFailed","message":"no room in rack 7","ok_to_retry":false},"log":""}'
  exit 0 ;;
fault)
  printf '%s' '{"result":null,"error":{"type":"Bosh::Clouds::CloudError","message":"the API said 503","ok_to_retry":false},"log":""}'
  exit 0 ;;
garbage)
  printf '%s' "$request" | REAL >/dev/null
  echo "Traceback (most recent call last):"
  exit 1 ;;
hang)
  printf '%s' "$request" | REAL >/dev/null
  echo "waiting for the infrastructure" >&2
  sleep 1000 ;;
deaf-agent)
  request=$(printf '%s' "$request" | sed 's#nats://[^"]*#nats://127.0.0.1:1#g') ;;
esac
printf '%s' "$request" | exec REAL
"#;

struct Row {
    what: &'static str,
    /// The call that goes wrong, and how.
    method: &'static str,
    how: &'static str,
    /// All of these are in the output of the deploy.
    told: &'static [&'static str],
    /// What the task's CPI output has of it.
    cpi_output: &'static str,
    /// Containers that are there until the next deploy has asked after them: their calls never told.
    unknown: usize,
}

const ROWS: &[Row] = &[
    Row {
        what: "a VM that the CPI refuses",
        method: "create_vm",
        how: "refuse",
        told: &[
            "CPI error 'Bosh::Clouds::VMCreationFailed' with message 'no room in rack 7' in 'create_vm' CPI method \
             (CPI request ID: 'cpi-",
            "The VM of 'group/",
            "--cpi",
        ],
        cpi_output: "quota looked up",
        unknown: 0,
    },
    Row {
        what: "metadata that the CPI can't set",
        method: "set_vm_metadata",
        how: "fault",
        told: &[
            "CPI error 'Bosh::Clouds::CloudError' with message 'the API said 503' in 'set_vm_metadata' CPI method",
        ],
        cpi_output: "",
        unknown: 0,
    },
    Row {
        what: "a CPI that makes the VM and then prints something else",
        method: "create_vm",
        how: "garbage",
        told: &[
            "Invalid CPI response",
            "'create_vm' CPI method, exit status 1",
            "The VM of 'group/",
        ],
        cpi_output: "",
        unknown: 1,
    },
    Row {
        what: "a CPI that makes the VM and then hangs",
        method: "create_vm",
        how: "hang",
        told: &[
            "did not answer 'create_vm' within 10 seconds and was stopped",
            "The VM of 'group/",
            "raise cpi.timeout",
        ],
        cpi_output: "waiting for the infrastructure",
        unknown: 1,
    },
    Row {
        what: "an agent that never answers",
        method: "create_vm",
        how: "deaf-agent",
        told: &[
            "Timed out pinging VM '",
            " after 12 seconds",
            "message server",
        ],
        cpi_output: "",
        unknown: 0,
    },
];

#[test]
fn a_cpi_or_an_agent_that_fails_ends_the_deploy_and_the_next_one_goes_through() {
    let environment = Environment::up();
    prepare(&environment);
    let orders = put_in_front(&environment);
    let mut wrong = Vec::new();
    for row in ROWS {
        fs_err::write(orders.join(row.method), row.how).expect("an own file can be written");
        let run = deploy(&environment, MANIFEST);
        fs_err::remove_file(orders.join(row.method)).expect("an own file can be removed");
        wrong.extend(complaints(row.what, &run, row.told));
        let containers = environment.cpi_objects("vms").len();
        if containers != row.unknown {
            wrong.push(format!("{}: {containers} containers stay", row.what));
        }
        if !cpi_output(&environment).contains(row.cpi_output) {
            wrong.push(format!("{}: the CPI's messages are missing", row.what));
        }
        let front = environment.scratch().join("cpi-front");
        let left = Inventory::take(&front).processes;
        if !left.is_empty() {
            wrong.push(format!("{}: still running: {left:?}", row.what));
        }
        // The next deploy needs nothing to be corrected: it asks after what it doesn't know, and has a VM.
        let run = deploy(&environment, MANIFEST);
        if run.code != 0 {
            wrong.push(format!("after {}: {}", row.what, run.text()));
        }
        let left = left_overs(&environment, 1);
        if !left.is_empty() {
            wrong.push(format!("after {}: {}", row.what, left.join("; ")));
        }
        environment.ok(&["-d", "faulty", "delete-deployment"]);
        let left = left_overs(&environment, 0);
        if !left.is_empty() {
            wrong.push(format!(
                "after {} and the deletion: {}",
                row.what,
                left.join("; ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n----\n"));
    a_compilation_without_a_vm(&environment, &orders);
    assert_eq!(environment.sql("select count(*) from ip_addresses"), "0");
}

/// The same on the way to a compilation VM.
fn a_compilation_without_a_vm(environment: &Environment, orders: &std::path::Path) {
    let manifest = changed(
        "a package to compile",
        &[(
            "  - name: never-up\n    release: faulty\n    properties:\n      never_up:\n        fixed: true\n",
            "  - name: uncompilable\n    release: faulty\n",
        )],
    );
    fs_err::write(orders.join("create_vm"), "refuse").expect("an own file can be written");
    let run = deploy(environment, &manifest);
    fs_err::remove_file(orders.join("create_vm")).expect("an own file can be removed");
    let wrong = complaints("a compilation VM", &run, &["no room in rack 7"]);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(left_overs(environment, 0).is_empty());
    environment.ok(&["-d", "faulty", "delete-deployment"]);
}

/// Makes the program that stands in front of the CPI the director's; returns the folder for what it shall do.
fn put_in_front(environment: &Environment) -> PathBuf {
    let real = program("bosun-cpi-local").display().to_string();
    let orders = environment.scratch().join("orders");
    fs_err::create_dir_all(&orders).expect("an own folder can be written");
    let front = environment.scratch().join("cpi-front");
    let text = FRONT
        .replace("FOLDER", &orders.display().to_string())
        .replace("REAL", &real);
    fs_err::write(&front, text).expect("an own file can be written");
    fs_err::set_permissions(&front, PermissionsExt::from_mode(0o755))
        .expect("an own file can be changed");
    environment.reconfigure(|settings| {
        assert!(settings.contains(&real), "{settings}");
        settings
            .replace(&real, &front.display().to_string())
            .replace(
                "\ncpi:\n",
                &format!("\nagent_wait_timeout: {AGENT_TIMEOUT}\ncpi:\n  timeout: {CPI_TIMEOUT}\n"),
            )
    });
    orders
}

/// The CPI output of the last deploy.
fn cpi_output(environment: &Environment) -> String {
    let id = environment.sql("select max(id) from tasks where type = 'update_deployment'");
    environment.run(&["task", &id, "--cpi"]).stdout
}
