//! The director is killed in the middle of deploys, and each deploy ends well all the same: the supervisor of
//! `bosun up` starts the director again, which takes over its own task; the command that follows it goes on; and what
//! is on the machine in the end is exactly what the deployment needs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use e2e::{Environment, manifest_path, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// After how many lines of the deploy's output the director is killed, and what the deploy changes.
const MOMENTS: [(usize, &[&str]); 10] = [
    (3, &["app_instances=2", "title=One"]),
    (6, &["app_instances=3", "title=One"]),
    (9, &["app_instances=1", "title=Two"]),
    (5, &["app_instances=3", "title=Three"]),
    (8, &["app_instances=3", "title=Four"]),
    (12, &["app_instances=2", "title=Five"]),
    (7, &["app_instances=1", "title=Six"]),
    (10, &["app_instances=3", "title=Seven"]),
    (14, &["app_instances=1", "title=Eight"]),
    (4, &["app_instances=2", "title=Nine"]),
];

/// Locks of tasks, as opposed to the director's own duties.
const LOCKS: &str =
    "select string_agg(name || ' ' || owner, ', ') from locks where name like 'lock:%'";

#[test]
fn a_deploy_ends_done_whenever_the_director_is_killed() {
    let environment = Environment::ready();
    for (nth, (lines, variables)) in MOMENTS.into_iter().enumerate() {
        let last = nth + 1 == MOMENTS.len();
        deploy_and_kill(&environment, lines, variables, last);
        audit(&environment, variables);
    }
}

/// Starts a deploy, and kills the director when the command has printed so many lines of the task, and with `twice` its
/// successor a few lines later. The command knows nothing of that: it follows the task to its end.
fn deploy_and_kill(environment: &Environment, lines: usize, variables: &[&str], twice: bool) {
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
    let errors = environment.scratch().join("errors");
    let mut child = environment
        .command(&arguments)
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&errors).expect("the scratch folder can be written"))
        .spawn()
        .expect("the CLI can be started");
    let output = BufReader::new(child.stdout.take().expect("stdout was asked for"));
    let mut text = String::new();
    let mut killed = Vec::new();
    let mut seen = 0;
    for line in output.lines().map_while(Result::ok) {
        text.push_str(&line);
        text.push('\n');
        if seen > 0 || line.starts_with("Task ") {
            seen += 1;
        }
        // Lines tell of the moment, whatever time the steps need on this machine. (The started director of the second
        // kill may be at any point of its start.)
        let again = twice && seen >= lines + 4 && killed.len() == 1;
        if seen >= lines && killed.is_empty() || again {
            let pid = environment.pid("director");
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the director runs");
            killed.push(pid);
        }
    }
    let status = child.wait().expect("the CLI is our child");
    let wanted = if twice { 2 } else { 1 };
    assert_eq!(killed.len(), wanted, "the deploy ended too early:\n{text}");
    let context = || {
        let errors = std::fs::read_to_string(&errors).unwrap_or_default();
        format!("killed after {lines} lines ({variables:?}):\n{text}{errors}")
    };
    assert!(status.success(), "{}", context());
    assert!(
        !killed.contains(&environment.pid("director")),
        "{}",
        context()
    );
    assert_eq!(
        environment.sql("select state from tasks order by id desc limit 1"),
        "done",
        "{}",
        context()
    );
}

/// Containers, disks, network pairs, mounts, rows and processes: exactly those of the deployment.
fn audit(environment: &Environment, variables: &[&str]) {
    let apps: usize = variables[0]
        .rsplit('=')
        .next()
        .expect("it has a value")
        .parse()
        .expect("it is a number");
    let wanted = apps + 2;
    let mut cids: Vec<String> = environment
        .vm_cids()
        .into_iter()
        .map(|(_, cid)| cid)
        .collect();
    cids.sort();
    assert_eq!(cids.len(), wanted, "{cids:?}");
    let inventory = environment.inventory();
    assert_eq!(inventory.veths(), wanted);
    let mut containers = environment.cpi_objects("vms");
    containers.sort();
    assert_eq!(containers, cids, "containers");
    let disks = environment.cpi_objects("disks");
    assert_eq!(disks.len(), 1, "{disks:?}");
    for point in &inventory.mounts {
        assert!(
            cids.iter().chain(&disks).any(|cid| point.contains(cid)),
            "a mount of nothing that is there: {point}"
        );
    }
    let count = |query: &str| environment.sql(&format!("select count(*) from {query}"));
    let wanted = wanted.to_string();
    assert_eq!(count("vms"), wanted, "rows of VMs");
    assert_eq!(count("vms where active and state = 'created'"), wanted);
    assert_eq!(
        count("instances where not compilation and group_name <> 'smoke-tests'"),
        wanted
    );
    assert_eq!(
        count("instances where compilation"),
        "0",
        "compilation VMs' rows"
    );
    assert_eq!(count("persistent_disks"), "1", "rows of disks");
    assert_eq!(
        count("ip_addresses where vm_id is not null or instance_id is not null"),
        wanted,
        "addresses"
    );
    // The lock goes just after the task's end is written.
    wait_for(
        "the locks' end",
        Duration::from_secs(5),
        || match environment.sql(LOCKS) {
            locks if locks.is_empty() => Ok(()),
            locks => Err(locks),
        },
    );
    assert!(environment.rows(&["disks", "--orphaned"]).is_empty());
    assert_eq!(count("orphan_vms"), "0");
    let strays = strays(environment);
    assert!(strays.is_empty(), "{strays:?}");
    let text = environment
        .curl(&[&environment.router("whoami")])
        .expect("the guestbook answers");
    assert!(text.starts_with("app/"), "{text}");
}

/// Helpers of a director that is gone: renderers and CPI calls of this network namespace whose parent isn't the one
/// that runs.
fn strays(environment: &Environment) -> Vec<String> {
    let director = environment.pid("director").to_string();
    let here = std::fs::read_link("/proc/self/ns/net").expect("Linux has it");
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")
        .expect("Linux has it")
        .flatten()
        .map(|entry| entry.path())
    {
        let Ok(stat) = std::fs::read_to_string(process.join("stat")) else {
            continue;
        };
        if std::fs::read_link(process.join("ns/net")).ok().as_ref() != Some(&here) {
            continue;
        }
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else {
            continue;
        };
        let name = &stat[open + 1..close];
        let parent = stat[close + 1..].split_whitespace().nth(1).unwrap_or("");
        let stray = match name {
            "ruby" => parent != director,
            "bosun-cpi-local" => true,
            _ => false,
        };
        if stray {
            found.push(stat.clone());
        }
    }
    found
}
