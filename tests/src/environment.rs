//! An environment in a temporary folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Inventory, wait_for};

/// The folder of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the repository")
        .to_owned()
}

/// The path of a file in manifests/.
pub fn manifest_path(name: &str) -> String {
    repository()
        .join("manifests")
        .join(name)
        .display()
        .to_string()
}

/// A program of bosun's, from the target folder of this build.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/e2e-… → target/debug
    let folder = own
        .ancestors()
        .nth(2)
        .expect("a test is in the target folder");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built; run: cargo build --workspace --bins",
        path.display()
    );
    path
}

/// The stemcell under test.
pub fn stemcell() -> PathBuf {
    let path = std::env::var_os("BOSUN_TEST_STEMCELL")
        .expect("BOSUN_TEST_STEMCELL is not set: scripts/test builds a stemcell and sets it");
    PathBuf::from(path)
}

/// The same stemcell under another version.
pub fn stemcell_version(version: &str, folder: &Path) -> PathBuf {
    let source = stemcell();
    let script = r#"
        set -eu
        tar -xzf "$1" -C "$2"
        sed -i "s/^version: .*/version: '$3'/" "$2/stemcell.MF"
        cd "$2" && tar -cf - stemcell.MF image* | gzip -1
    "#;
    let work = folder.join(format!("stemcell-{version}"));
    fs_err::create_dir_all(&work).expect("a temporary folder can be written");
    let target = folder.join(format!("stemcell-{version}.tgz"));
    let output = fs_err::File::create(&target).expect("a temporary folder can be written");
    let status = Command::new("bash")
        .args(["-c", script, "repack"])
        .args([source.as_os_str(), work.as_os_str(), OsStr::new(version)])
        .stdout(output.into_file())
        .status()
        .expect("bash is there");
    assert!(status.success(), "the stemcell could not be packed again");
    fs_err::remove_dir_all(work).expect("a temporary folder can be removed");
    target
}

/// A tarball of one of the releases in releases/, made by `bosun create-release`.
pub fn cached_release(environment: &Environment, name: &str, version: &str) -> PathBuf {
    let target = environment.scratch().join(format!("{name}-{version}.tgz"));
    let folder = environment.scratch().join(format!("release-{name}"));
    if !folder.exists() {
        // A copy: building leaves traces in the folder.
        let status = Command::new("cp")
            .arg("-a")
            .arg(repository().join("releases").join(name))
            .arg(&folder)
            .status()
            .expect("cp is there");
        assert!(status.success());
    }
    environment.ok(&[
        "create-release",
        "--force",
        "--name",
        name,
        "--version",
        version,
        "--dir",
        &folder.to_string_lossy(),
        "--tarball",
        &target.to_string_lossy(),
    ]);
    target
}

/// What a command said.
#[derive(Debug)]
pub struct Run {
    /// The words of the command.
    pub command: String,
    /// Exit status.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Both outputs.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// An environment made by `bosun up`, taken down when dropped.
pub struct Environment {
    root: TempDir,
    wrapper: Vec<String>,
    up: bool,
}

impl Environment {
    /// A folder for an environment; nothing runs yet.
    pub fn prepare() -> Environment {
        Environment::prepare_under(&[])
    }

    /// The same with a command that runs `bosun up`, like `setpriv …`.
    pub fn prepare_under(wrapper: &[&str]) -> Environment {
        let root = tempfile::Builder::new()
            .prefix("bosun-e2e-")
            .tempdir_in("/tmp")
            .expect("/tmp can be written");
        // The database's user passes through.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(root.path(), mode).expect("an own folder can be changed");
        fs_err::create_dir_all(root.path().join("user")).expect("an own folder can be written");
        fs_err::create_dir_all(root.path().join("scratch")).expect("an own folder can be written");
        Environment {
            root,
            wrapper: wrapper.iter().map(|word| (*word).to_owned()).collect(),
            up: false,
        }
    }

    /// A running environment.
    pub fn up() -> Environment {
        let mut environment = Environment::prepare();
        environment.start();
        environment
    }

    /// A running environment with stemcell, releases and configs, ready for `deploy`.
    pub fn ready() -> Environment {
        let environment = Environment::up();
        environment.fill();
        environment
    }

    /// Runs `bosun up`.
    pub fn start(&mut self) -> String {
        self.up = true;
        self.ok(&["up"])
    }

    /// Uploads stemcell and releases, sets the configs.
    pub fn fill(&self) {
        self.ok(&["upload-stemcell", &stemcell().to_string_lossy()]);
        for (name, version) in [("os-conf", "3"), ("guestbook", "1")] {
            let tarball = cached_release(self, name, version);
            self.ok(&["upload-release", &tarball.to_string_lossy()]);
        }
        let variables = self.variables();
        self.ok(&[
            "update-cloud-config",
            &manifest_path("cloud-configs/local.yml"),
            "-l",
            &variables,
        ]);
        self.ok(&[
            "update-runtime-config",
            &manifest_path("runtime-configs/login-banner.yml"),
        ]);
    }

    /// Deploys the guestbook with more arguments.
    pub fn deploy(&self, more: &[&str]) -> Run {
        let (manifest, variables) = (manifest_path("guestbook.yml"), self.variables());
        let mut arguments = vec![
            "-d",
            "guestbook",
            "deploy",
            manifest.as_str(),
            "-l",
            variables.as_str(),
        ];
        arguments.extend(more);
        self.run(&arguments)
    }

    /// The folder of the environment.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// A folder for files of the test.
    pub fn scratch(&self) -> PathBuf {
        self.root.path().join("scratch")
    }

    /// The variables file that `bosun up` wrote.
    pub fn variables(&self) -> String {
        self.home().join("vars.yml").display().to_string()
    }

    /// The first two numbers of the addresses.
    pub fn network_prefix(&self) -> String {
        let text = fs_err::read_to_string(self.variables()).expect("bosun up writes the variables");
        text.lines()
            .find_map(|line| line.strip_prefix("network_prefix:"))
            .map(|value| value.trim().trim_matches('"').to_owned())
            .expect("the variables hold network_prefix")
    }

    /// The process id that `bosun up` wrote for one of its processes.
    pub fn pid(&self, process: &str) -> i32 {
        let file = self.home().join("run").join(format!("{process}.pid"));
        // A process that is just being started again has none for a moment.
        wait_for(process, Duration::from_secs(10), || {
            let text = fs_err::read_to_string(&file).map_err(|error| error.to_string())?;
            text.trim()
                .parse()
                .map_err(|_| format!("its pid file holds '{text}'"))
        })
    }

    /// One value from the director's database.
    pub fn sql(&self, query: &str) -> String {
        let output = Command::new("psql")
            .args([
                "-X", "-A", "-t", "-U", "bosun", "-d", "bosun", "-c", query, "-h",
            ])
            .arg(self.home().join("postgres"))
            .output()
            .expect("psql is installed");
        assert!(
            output.status.success(),
            "{query}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Folders that the container CPI has for a kind of its objects: `vms`, `disks`, `stemcells`.
    pub fn cpi_objects(&self, kind: &str) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(self.home().join("containers").join(kind)) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Changes the text of the director's settings; the supervisor starts the director again with them.
    pub fn reconfigure(&self, change: impl Fn(String) -> String) {
        let file = self.home().join("director/director.yml");
        let text = fs_err::read_to_string(&file).expect("bosun up writes the director's settings");
        fs_err::write(&file, change(text)).expect("an own file can be written");
        let before = self.pid("director");
        kill(Pid::from_raw(before), Signal::SIGTERM).expect("the director runs");
        wait_for("the director's return", Duration::from_secs(60), || {
            if self.pid("director") == before {
                return Err("the old one still runs".to_owned());
            }
            match self.run(&["env"]) {
                run if run.code == 0 => Ok(()),
                run => Err(run.text()),
            }
        });
    }

    /// What this environment has on the machine now.
    pub fn inventory(&self) -> Inventory {
        Inventory::take(&self.home())
    }

    /// A command of the CLI, ready to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let bosun = program("bosun");
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(bosun);
                command
            }
            None => Command::new(bosun),
        };
        command
            .args(arguments)
            .env("BOSUN_HOME", self.home())
            .env("HOME", self.root.path().join("user"))
            .env("BOSH_NON_INTERACTIVE", "true")
            .stdin(Stdio::null());
        for name in [
            "BOSH_ENVIRONMENT",
            "BOSH_CLIENT",
            "BOSH_CLIENT_SECRET",
            "BOSH_CA_CERT",
            "BOSH_DEPLOYMENT",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command of the CLI.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let Output {
            status,
            stdout,
            stderr,
        } = self
            .command(arguments)
            .output()
            .expect("the CLI can be started");
        Run {
            command: arguments.join(" "),
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed; returns its output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        if run.code != 0 {
            let log =
                fs_err::read_to_string(self.home().join("logs/director.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            panic!(
                "bosun {} ended with {}:\n{}\nthe director's log:\n{}",
                run.command,
                run.code,
                run.text(),
                tail.join("\n")
            );
        }
        run.stdout
    }

    /// The rows of the first table of a command with `--json`.
    pub fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let text = self.ok(&with_json);
        let document: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {text}"));
        document["Tables"][0]["Rows"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// One column of a table, by instance (`app/uuid`).
    pub fn column(&self, arguments: &[&str], column: &str) -> Vec<(String, String)> {
        self.rows(arguments)
            .iter()
            .map(|row| {
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                (text("instance"), text(column))
            })
            .collect()
    }

    /// The VM CIDs of the guestbook by instance.
    pub fn vm_cids(&self) -> Vec<(String, String)> {
        let mut cids = self.column(&["-d", "guestbook", "vms"], "vm_cid");
        cids.sort();
        cids
    }

    /// An HTTP request to an address of the guestbook; the body of the answer.
    pub fn curl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("curl")
            .args(["-sS", "--fail", "--max-time", "10"])
            .args(arguments)
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A page of the guestbook through its router.
    pub fn router(&self, path: &str) -> String {
        format!("http://{}.0.10:8080/{path}", self.network_prefix())
    }

    /// Takes the environment down, its data too.
    pub fn down(&mut self) -> String {
        let text = self.ok(&["down", "--delete-data"]);
        self.up = false;
        text
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if self.up {
            if std::thread::panicking() && std::env::var_os("BOSUN_TEST_KEEP").is_some() {
                let kept = self.root.path().to_owned();
                self.root.disable_cleanup(true);
                eprintln!("the environment is kept in {}", kept.display());
                return;
            }
            let run = self.run(&["down", "--delete-data"]);
            if run.code != 0 {
                eprintln!("bosun down failed: {}", run.text());
            }
        }
    }
}
