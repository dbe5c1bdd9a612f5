//! Parts of a running environment die, one by one and all at once, and what was there is there again.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::Duration;

use e2e::{Environment, manifest_path, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PARTS: [&str; 4] = ["supervisor", "director", "nats", "postgres"];

#[test]
fn what_dies_comes_back_with_its_data_and_a_deploy_goes_on() {
    let environment = Environment::ready();
    let deploy = environment.deploy(&[]);
    assert_eq!(deploy.code, 0, "{}", deploy.text());
    let entry = "an entry that must not be lost";
    let entries = environment.router("entries");
    environment
        .curl(&["--data", entry, &entries])
        .expect("the guestbook takes an entry");

    // The message bus and the database die under a deploy.
    let (title, file) = (manifest_path("ops/title.yml"), environment.variables());
    let manifest = manifest_path("guestbook.yml");
    let mut arguments = vec!["-d", "guestbook", "deploy", &manifest, "-l", &file];
    arguments.extend(["-o", &title, "-v", "title=Again"]);
    let child = environment
        .command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the CLI can be started");
    for part in ["nats", "postgres"] {
        wait_for("the deploy", Duration::from_secs(60), || {
            let rows = environment.rows(&["tasks"]);
            rows.iter()
                .any(|row| row["state"] == "processing")
                .then_some(())
                .ok_or_else(|| format!("{rows:?}"))
        });
        kill_part(&environment, part);
    }
    let output = child.wait_with_output().expect("the CLI ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");

    // Everything dies, as when the machine's memory runs out.
    let before = environment.vm_cids();
    kill_all(&environment);
    environment.ok(&["up"]);
    all_back(&environment, &before, entry);

    // The machine starts again: no process, mount or link is left.
    kill_all(&environment);
    unplug(&environment);
    environment.ok(&["up"]);
    all_back(&environment, &before, entry);
    let deploy = environment.deploy(&[]);
    assert_eq!(deploy.code, 0, "{}", deploy.text());
}

/// Waits for every instance to run in the VM that it had, with the data that it had.
fn all_back(environment: &Environment, before: &[(String, String)], entry: &str) {
    wait_for("all instances", Duration::from_secs(120), || {
        let states = environment.column(&["-d", "guestbook", "vms"], "process_state");
        let all = states.len() == before.len() && states.iter().all(|(_, is)| is == "running");
        all.then_some(()).ok_or_else(|| format!("{states:?}"))
    });
    assert_eq!(environment.vm_cids(), before);
    let entries = environment.router("entries");
    let text = wait_for("the guestbook", Duration::from_secs(60), || {
        environment.curl(&[&entries])
    });
    assert!(text.contains(entry), "{text}");
}

fn kill_part(environment: &Environment, part: &str) {
    // One that is dead already is on its way back.
    let _ = kill(Pid::from_raw(environment.pid(part)), Signal::SIGKILL);
}

fn kill_all(environment: &Environment) {
    for part in PARTS {
        kill_part(environment, part);
    }
    wait_for("the end of all containers", Duration::from_secs(30), || {
        let left = contained(environment);
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
}

/// Processes of this environment's containers: in another mount namespace, where a mount comes from its folder.
fn contained(environment: &Environment) -> BTreeSet<i32> {
    let folder = environment.home().join("containers").display().to_string();
    let namespace = |pid: &str| {
        std::fs::metadata(format!("/proc/{pid}/ns/mnt"))
            .map(|about| about.ino())
            .ok()
    };
    let own = namespace("self");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<i32>() else {
            continue;
        };
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        if mounts.contains(&folder) && namespace(&name).is_some_and(|of| Some(of) != own) {
            found.insert(pid);
        }
    }
    found
}

/// Takes away the mounts below the environment's folder and all links of this network namespace but loopback.
fn unplug(environment: &Environment) {
    let script = r#"
        set -eu
        awk '{print $2}' /proc/self/mounts | grep "^$1/" | tac | xargs -r -n1 umount -l
        ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1 | grep -v '^lo$' |
            while read -r link; do ip link delete "$link" 2>/dev/null || true; done
    "#;
    let status = std::process::Command::new("bash")
        .args(["-c", script, "unplug"])
        .arg(environment.home())
        .status()
        .expect("bash is there");
    assert!(status.success());
    let left = environment.inventory();
    assert!(left.mounts.is_empty(), "{:?}", left.mounts);
    assert_eq!(left.veths(), 0, "{:?}", left.links);
}
