//! `create-env`: a VM without a director, through a CPI that is installed from a release, and its agent over HTTPS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{Environment, Run, cached_release, program, repository, stemcell, wait_for};
use serde_json::Value;

const ADDRESS: &str = "10.99.0.5";

/// A folder with a manifest and what it names. There is no director: only the folders of an environment are used.
struct SingleVm {
    environment: Environment,
    folder: PathBuf,
}

impl SingleVm {
    fn prepare() -> SingleVm {
        let environment = Environment::prepare();
        let folder = environment.scratch();
        let single = SingleVm {
            environment,
            folder,
        };
        let fixtures = repository().join("tests/fixtures");
        let file = |name: &str| single.folder.join(name);
        fs_err::copy(fixtures.join("single-vm.yml"), file("notebook.yml")).expect("manifest");
        for name in ["guestbook", "os-conf"] {
            let tarball = cached_release(&single.environment, name, "1");
            fs_err::rename(tarball, file(&format!("{name}.tgz"))).expect("release");
        }
        std::os::unix::fs::symlink(stemcell(), file("stemcell.tgz")).expect("stemcell");
        single.make_cpi_release(&fixtures.join("local-cpi-release"));
        single.set(7071, 64);
        single
    }

    /// The CPI's program goes into the release's sources first.
    fn make_cpi_release(&self, fixture: &Path) {
        let copy = self.folder.join("local-cpi-release");
        let copied = Command::new("cp")
            .arg("-a")
            .arg(fixture)
            .arg(&copy)
            .status();
        assert!(copied.expect("cp is there").success());
        fs_err::create_dir_all(copy.join("src")).expect("folder");
        let cpi = program("bosun-cpi-local");
        fs_err::copy(cpi, copy.join("src/bosun-cpi-local")).expect("the CPI is built");
        let tarball = self.folder.join("local-cpi.tgz");
        let (copy, tarball) = (copy.display().to_string(), tarball.display().to_string());
        self.environment.ok(&[
            "create-release",
            "--force",
            "--version",
            "1",
            "--dir",
            &copy,
            "--tarball",
            &tarball,
        ]);
    }

    fn set(&self, port: u16, disk_size: u32) {
        let store = self.environment.home().join("containers");
        let variables = format!(
            "ip: {ADDRESS}\nrange: 10.99.0.0/24\ngateway: 10.99.0.1\nbridge: bosun-test\n\
             port: {port}\ndisk_size: {disk_size}\nstore_dir: {}\n",
            store.display()
        );
        fs_err::write(self.folder.join("vars.yml"), variables).expect("variables");
    }

    fn command(&self, command: &str) -> Command {
        let file = |name: &str| self.folder.join(name).display().to_string();
        self.environment.command(&[
            "--tty",
            command,
            &file("notebook.yml"),
            "-l",
            &file("vars.yml"),
            "--vars-store",
            &file("creds.yml"),
        ])
    }

    fn run(&self, command: &str) -> Run {
        let output = self.command(command).output().expect("the CLI runs");
        Run {
            command: command.to_owned(),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn ok(&self, command: &str) -> String {
        let run = self.run(command);
        assert_eq!(run.code, 0, "{}", run.text());
        run.stdout
    }

    fn state(&self) -> Value {
        let text = fs_err::read(self.folder.join("notebook-state.json")).expect("state file");
        serde_json::from_slice(&text).expect("the state file is JSON")
    }

    fn entries(&self, port: u16) -> Result<String, String> {
        let url = format!("http://{ADDRESS}:{port}/entries");
        self.environment.curl(&[&url])
    }

    fn sign(&self, port: u16, entry: &str) {
        let url = format!("http://{ADDRESS}:{port}/entries");
        let signed = self.environment.curl(&["--data-binary", entry, &url]);
        signed.expect("the store takes an entry");
    }
}

#[test]
fn a_vm_without_a_director_lives_from_create_env_to_delete_env() {
    let single = SingleVm::prepare();
    let before = single.environment.inventory();

    let said = single.ok("create-env");
    for line in [
        "Started validating\n",
        "  Compiling package 'local_cpi/",
        "  Creating VM for instance 'store/0' from stemcell 'sc-",
        "  Creating disk... Finished (",
        "  Waiting for instance 'store/0' to be running... Finished (",
        "Cleaning up rendered CPI jobs... Finished (",
        "\nSucceeded\n",
    ] {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
    single.sign(7071, "first");
    let made = single.state();

    let said = single.ok("create-env");
    assert!(
        said.contains("\nNo deployment, stemcell or release changes. Skipping deploy.\n"),
        "{said}"
    );
    assert_eq!(single.state(), made);

    // Another property: another VM with the same disk.
    single.set(7072, 64);
    single.ok("create-env");
    let entries = single
        .entries(7072)
        .expect("the store listens on its new port");
    assert!(entries.contains("first\n"), "{entries}");
    let changed = single.state();
    assert_ne!(changed["current_vm_cid"], made["current_vm_cid"]);
    assert_eq!(changed["disks"], made["disks"]);

    // Another size: the content moves to another disk.
    single.set(7072, 96);
    let said = single.ok("create-env");
    assert!(said.contains("  Migrating disk content from '"), "{said}");
    let entries = single.entries(7072).expect("the store runs");
    assert!(entries.contains("first\n"), "{entries}");
    assert_eq!(single.environment.cpi_objects("disks").len(), 1);

    single.ok("stop-env");
    single.entries(7072).expect_err("the store was stopped");
    let said = single.ok("start-env");
    assert!(
        said.contains("  Starting the agent 'unknown/0'... Finished ("),
        "{said}"
    );
    single.entries(7072).expect("the store was started");

    single.ok("delete-env");
    leaves_nothing(&single);
    let after = single.environment.inventory();
    assert_eq!(after.mounts, before.mounts);
    assert_eq!(after.loops, before.loops);
    assert_eq!(after.processes, before.processes);
    let said = single.ok("delete-env");
    assert!(
        said.contains("\nNo deployment state file found.\n"),
        "{said}"
    );
}

#[test]
fn a_killed_create_env_is_finished_by_the_next_one() {
    let single = SingleVm::prepare();
    // Killed while the CPI makes a VM whose id nobody knows yet.
    kill_when(&single, "a VM is being made", |state| {
        let installation = state["installation_id"].as_str()?;
        let calls = single
            .environment
            .home()
            .parent()?
            .join("user/.bosh/installations")
            .join(installation)
            .join("calls");
        let mut calls = fs_err::read_dir(calls).ok()?.flatten();
        calls
            .any(|call| call.file_name().to_string_lossy().starts_with("create_vm-"))
            .then_some(())
    });
    // And again while the disk is there and the jobs are not.
    kill_when(&single, "the disk is recorded", |state| {
        state["disks"]
            .as_array()
            .filter(|disks| !disks.is_empty())
            .map(drop)
    });
    single.ok("create-env");
    single.sign(7071, "after all");
    assert_eq!(single.environment.cpi_objects("vms").len(), 1);
    assert_eq!(single.environment.cpi_objects("disks").len(), 1);
    assert_eq!(single.environment.cpi_objects("stemcells").len(), 1);
    single.ok("delete-env");
    leaves_nothing(&single);
}

fn kill_when(single: &SingleVm, what: &str, moment: impl Fn(&Value) -> Option<()>) {
    let mut child = single
        .command("create-env")
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the CLI starts");
    let file = single.folder.join("notebook-state.json");
    wait_for(what, Duration::from_secs(120), || {
        let text = fs_err::read(&file).map_err(|error| error.to_string())?;
        let state = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        moment(&state).ok_or_else(|| format!("the state is {state}"))
    });
    child.kill().expect("the CLI still runs");
    child.wait().expect("the CLI ends");
}

fn leaves_nothing(single: &SingleVm) {
    for kind in ["vms", "disks", "stemcells"] {
        let left = single.environment.cpi_objects(kind);
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
    assert!(!single.folder.join("notebook-state.json").exists());
}
