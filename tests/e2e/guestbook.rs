//! The sample deployment through its whole life, as README tells it.

use std::time::Duration;

use e2e::{Environment, cached_release, manifest_path, stemcell_version, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GUESTBOOK: [&str; 2] = ["-d", "guestbook"];

#[test]
fn a_deployment_lives_from_the_first_deploy_to_the_last_trace() {
    let mut environment = Environment::prepare();
    let before = environment.inventory();
    environment.start();
    environment.fill();

    first_deploy(&environment);
    shows_the_banner_on_log_in(&environment);
    a_second_deploy_changes_nothing(&environment);
    a_changed_property_updates_only_its_group(&environment);
    scales_up_and_down(&environment);
    a_killed_job_comes_back(&environment);
    a_killed_agent_leaves_its_jobs_alone(&environment);
    runs_the_errand(&environment);
    keeps_the_disk_over_a_recreate(&environment);
    a_new_stemcell_recreates(&environment);
    survives_a_stop_of_everything(&mut environment);
    leaves_nothing_behind(&mut environment, &before);
}

fn first_deploy(environment: &Environment) {
    let run = environment.deploy(&[]);
    assert_eq!(run.code, 0, "{}", run.text());
    sign(environment, "first");
    assert!(entries(environment).contains("first\n"));

    let azs: Vec<String> = environment
        .column(&["-d", "guestbook", "instances"], "az")
        .into_iter()
        .filter(|(instance, _)| instance.starts_with("app/"))
        .map(|(_, az)| az)
        .collect();
    assert_eq!(azs.len(), 2);
    assert!(
        azs.contains(&"z1".to_owned()) && azs.contains(&"z2".to_owned()),
        "{azs:?}"
    );

    let processes = environment.rows(&["-d", "guestbook", "instances", "--ps"]);
    let running: Vec<_> = processes
        .iter()
        .filter(|row| {
            !row["process"]
                .as_str()
                .unwrap_or("")
                .trim_matches('~')
                .is_empty()
        })
        .collect();
    assert_eq!(running.len(), 4, "{processes:#?}");
    assert!(
        running.iter().all(|row| row["process_state"] == "running"),
        "{processes:#?}"
    );
}

fn shows_the_banner_on_log_in(environment: &Environment) {
    let run = environment.run(&["-d", "guestbook", "ssh", "app/0", "-c", "id -un; hostname"]);
    assert_eq!(run.code, 0, "{}", run.text());
    assert!(
        run.text()
            .contains("This computer system is for authorized use only."),
        "{}",
        run.text()
    );
    assert!(run.text().contains("bosh_"), "{}", run.text());
}

fn a_second_deploy_changes_nothing(environment: &Environment) {
    let cids = environment.vm_cids();
    let run = environment.deploy(&[]);
    assert_eq!(run.code, 0, "{}", run.text());
    assert!(!run.text().contains("Updating instance"), "{}", run.text());
    assert!(!run.text().contains("Compiling packages"), "{}", run.text());
    assert_eq!(environment.vm_cids(), cids);
}

fn a_changed_property_updates_only_its_group(environment: &Environment) {
    let cids = environment.vm_cids();
    let ops = manifest_path("ops/title.yml");
    let run = environment.deploy(&["-o", &ops, "-v", "title=Visitors"]);
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(
        run.text().matches("Updating instance app: app/").count(),
        2,
        "{}",
        run.text()
    );
    assert!(
        !run.text().contains("Updating instance store"),
        "{}",
        run.text()
    );
    assert!(
        !run.text().contains("Updating instance router"),
        "{}",
        run.text()
    );
    assert_eq!(environment.vm_cids(), cids, "updated in place");
    wait_for("the new title", Duration::from_secs(10), || {
        let page = environment.curl(&[&environment.router("")])?;
        if page.contains("<h1>Visitors</h1>") {
            Ok(())
        } else {
            Err(page)
        }
    });
}

fn scales_up_and_down(environment: &Environment) {
    let ops = manifest_path("ops/scale-app.yml");
    for count in ["5", "1", "2"] {
        let run = environment.deploy(&["-o", &ops, "-v", &format!("app_instances={count}")]);
        assert_eq!(run.code, 0, "{}", run.text());
        let apps = environment
            .vm_cids()
            .into_iter()
            .filter(|(instance, _)| instance.starts_with("app/"))
            .count();
        assert_eq!(apps.to_string(), count);
        assert_eq!(
            environment.inventory().veths(),
            apps + 2,
            "{:#?}",
            environment.inventory()
        );
        assert!(entries(environment).contains("first\n"));
    }
}

fn a_killed_job_comes_back(environment: &Environment) {
    let pid = process_on(
        environment,
        "router",
        "/var/vcap/packages/guestbook-router/bin/guestbook-router",
    );
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the process runs");
    wait_for("the router's return", Duration::from_secs(10), || {
        environment.curl(&[&environment.router("whoami")])
    });
    let run = environment.run(&[
        "-d",
        "guestbook",
        "ssh",
        "router/0",
        "-c",
        "sudo cat /var/vcap/bosh/log/current || true",
    ]);
    assert!(
        run.text().contains("guestbook-router"),
        "the agent's log tells of it: {}",
        run.text()
    );
}

fn a_killed_agent_leaves_its_jobs_alone(environment: &Environment) {
    let job = process_on(
        environment,
        "router",
        "/var/vcap/packages/guestbook-router/bin/guestbook-router",
    );
    let run = environment.run(&[
        "-d",
        "guestbook",
        "ssh",
        "router/0",
        "-c",
        "sudo pkill -9 -x bosh-agent",
    ]);
    assert_eq!(run.code, 0, "{}", run.text());
    wait_for("the agent's return", Duration::from_secs(30), || {
        let rows = environment.rows(&["-d", "guestbook", "vms"]);
        let state = rows.iter().find(|row| {
            row["instance"]
                .as_str()
                .unwrap_or("")
                .starts_with("router/")
        });
        match state.map(|row| row["process_state"].clone()) {
            Some(state) if state == "running" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let after = process_on(
        environment,
        "router",
        "/var/vcap/packages/guestbook-router/bin/guestbook-router",
    );
    assert_eq!(after, job, "the job was left alone");
}

fn runs_the_errand(environment: &Environment) {
    let text = environment.ok(&[GUESTBOOK[0], GUESTBOOK[1], "run-errand", "smoke-tests"]);
    assert!(text.contains("Smoke tests passed"), "{text}");
}

fn keeps_the_disk_over_a_recreate(environment: &Environment) {
    let before = environment.vm_cids();
    environment.ok(&["-d", "guestbook", "recreate", "store"]);
    let after = environment.vm_cids();
    let changed: Vec<_> = before.iter().filter(|row| !after.contains(row)).collect();
    assert_eq!(changed.len(), 1, "{before:?} {after:?}");
    assert!(changed[0].0.starts_with("store/"));
    assert!(entries(environment).contains("first\n"));
}

fn a_new_stemcell_recreates(environment: &Environment) {
    let before = environment.vm_cids();
    let stemcell = stemcell_version("9.9", &environment.scratch());
    environment.ok(&["upload-stemcell", &stemcell.to_string_lossy()]);
    let run = environment.deploy(&[]);
    assert_eq!(run.code, 0, "{}", run.text());
    let after = environment.vm_cids();
    assert!(
        before.iter().all(|row| !after.contains(row)),
        "every VM is new: {before:?} {after:?}"
    );
    assert!(entries(environment).contains("first\n"));
}

fn survives_a_stop_of_everything(environment: &mut Environment) {
    let cids = environment.vm_cids();
    environment.ok(&["down"]);
    environment.start();
    assert_eq!(environment.vm_cids(), cids);
    wait_for(
        "the guestbook after down and up",
        Duration::from_secs(60),
        || {
            let text = environment.curl(&[&environment.router("entries")])?;
            if text.contains("first\n") {
                Ok(())
            } else {
                Err(text)
            }
        },
    );
}

fn leaves_nothing_behind(environment: &mut Environment, before: &e2e::Inventory) {
    environment.ok(&["-d", "guestbook", "delete-deployment"]);
    assert_eq!(environment.inventory().veths(), 0);
    assert!(environment.rows(&["deployments"]).is_empty());
    environment.down();
    assert_eq!(&environment.inventory(), before);
    assert!(!environment.home().exists());
}

fn sign(environment: &Environment, entry: &str) {
    environment
        .curl(&[
            "-H",
            "Content-Type: text/plain",
            "--data-binary",
            entry,
            &environment.router("entries"),
        ])
        .expect("the guestbook takes an entry");
}

fn entries(environment: &Environment) -> String {
    wait_for("the entries", Duration::from_secs(20), || {
        environment.curl(&[&environment.router("entries")])
    })
}

/// The process id, as the host sees it, of a program that runs once on the machine.
fn process_on(environment: &Environment, group: &str, program: &str) -> i32 {
    let _ = (environment, group);
    wait_for(program, Duration::from_secs(10), || {
        let entries = std::fs::read_dir("/proc").map_err(|error| error.to_string())?;
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .find(|pid| {
                let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&command).starts_with(program)
            })
            .ok_or_else(|| "no such process".to_owned())
    })
}

#[test]
fn two_releases_of_the_repository_can_be_built_and_uploaded_twice() {
    let environment = Environment::up();
    for name in ["os-conf", "guestbook"] {
        let tarball = cached_release(&environment, name, "1");
        environment.ok(&["upload-release", &tarball.to_string_lossy()]);
        environment.ok(&["upload-release", &tarball.to_string_lossy()]);
    }
    assert_eq!(environment.rows(&["releases"]).len(), 2);
}
