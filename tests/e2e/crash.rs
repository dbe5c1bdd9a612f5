//! The director is killed in the middle of deploys, and each deploy ends well all the same.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use e2e::{Environment, manifest_path, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// After how many lines of the deploy's output the director is killed, and what the deploy changes.
const MOMENTS: [(usize, &[&str]); 10] = [
    (3, &["app_instances=2", "title=One"]),
    (6, &["app_instances=4", "title=One"]),
    (9, &["app_instances=1", "title=Two"]),
    (5, &["app_instances=3", "title=Three"]),
    (8, &["app_instances=3", "title=Four"]),
    (12, &["app_instances=5", "title=Five"]),
    (7, &["app_instances=2", "title=Six"]),
    (10, &["app_instances=4", "title=Seven"]),
    (14, &["app_instances=1", "title=Eight"]),
    (4, &["app_instances=2", "title=Nine"]),
];

#[test]
fn a_deploy_ends_done_whenever_the_director_is_killed() {
    let environment = Environment::ready();
    for (lines, variables) in MOMENTS {
        let task = deploy_and_kill(&environment, lines, variables);
        let state = wait_for("the end of the task", Duration::from_secs(240), || {
            let rows = environment.rows(&["tasks", "--recent", "--all"]);
            let row = rows
                .iter()
                .find(|row| row["id"] == task.as_str())
                .ok_or("the task is not listed")?;
            match row["state"].as_str().unwrap_or_default() {
                state @ ("queued" | "processing" | "cancelling") => {
                    Err(format!("task {task} is {state}"))
                }
                state => Ok(state.to_owned()),
            }
        });
        let output = environment.run(&["task", &task, "--debug"]);
        assert_eq!(
            state,
            "done",
            "killed after {lines} lines ({variables:?}): {}",
            output.text()
        );
        audit(&environment, variables);
    }
}

/// Starts a deploy, and kills the director when the command has printed so many lines. Returns the task's id.
fn deploy_and_kill(environment: &Environment, lines: usize, variables: &[&str]) -> String {
    let (manifest, file) = (manifest_path("guestbook.yml"), environment.variables());
    let (scale, title) = (
        manifest_path("ops/scale-app.yml"),
        manifest_path("ops/title.yml"),
    );
    let mut arguments = vec![
        "-d",
        "guestbook",
        "deploy",
        &manifest,
        "-l",
        &file,
        "-o",
        &scale,
        "-o",
        &title,
    ];
    for variable in variables {
        arguments.extend(["-v", variable]);
    }
    let mut child = environment
        .command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the CLI can be started");
    let output = BufReader::new(child.stdout.take().expect("stdout was asked for"));
    let mut killed = false;
    let mut task = None;
    let mut seen = 0;
    for line in output.lines().map_while(Result::ok) {
        task = task.or_else(|| {
            line.strip_prefix("Task ")
                .and_then(|rest| rest.split([' ', '.']).next())
                .map(str::to_owned)
        });
        if task.is_some() {
            seen += 1;
        }
        if seen >= lines && !killed {
            kill(Pid::from_raw(environment.pid("director")), Signal::SIGKILL)
                .expect("the director runs");
            killed = true;
        }
    }
    // The command may have lost its director; what counts is the task.
    let _ = child.wait();
    assert!(killed, "the deploy ended before line {lines} of its task");
    wait_for("the director's return", Duration::from_secs(60), || {
        let run = environment.run(&["env"]);
        if run.code == 0 {
            Ok(())
        } else {
            Err(run.text())
        }
    });
    task.expect("the deploy started a task")
}

/// Containers, disks, network pairs and rows: exactly those of the deployment.
fn audit(environment: &Environment, variables: &[&str]) {
    let apps: usize = variables[0]
        .rsplit('=')
        .next()
        .expect("it has a value")
        .parse()
        .expect("it is a number");
    let wanted = apps + 2;
    let cids = environment.vm_cids();
    assert_eq!(cids.len(), wanted, "{cids:?}");
    assert_eq!(environment.inventory().veths(), wanted);
    let folder = |name: &str| {
        let entries = std::fs::read_dir(environment.home().join("containers").join(name))
            .expect("the CPI's folder");
        entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count()
    };
    assert_eq!(folder("vms"), wanted, "containers");
    assert_eq!(folder("disks"), 1, "disks");
    assert_eq!(
        sql(environment, "select count(*) from vms"),
        wanted.to_string(),
        "rows of VMs"
    );
    assert_eq!(
        sql(environment, "select count(*) from persistent_disks"),
        "1",
        "rows of disks"
    );
    assert_eq!(
        sql(environment, "select count(*) from ip_addresses"),
        wanted.to_string(),
        "rows of addresses"
    );
    assert!(environment.rows(&["disks", "--orphaned"]).is_empty());
    let text = environment
        .curl(&[&environment.router("whoami")])
        .expect("the guestbook answers");
    assert!(text.starts_with("app/"), "{text}");
}

fn sql(environment: &Environment, query: &str) -> String {
    let output = std::process::Command::new("psql")
        .args([
            "-X", "-A", "-t", "-U", "bosun", "-d", "bosun", "-c", query, "-h",
        ])
        .arg(environment.home().join("postgres"))
        .output()
        .expect("psql is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
