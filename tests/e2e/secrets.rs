//! Whatever an environment does, what is secret shows up in nothing that people read.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use e2e::{Environment, manifest_path};

/// A value of a deployment's property, as a password would be.
const PROPERTY: &str = "SuperSecretValue";

#[test]
fn no_secret_shows_in_outputs_logs_processes_or_open_files() {
    let environment = Environment::ready();
    let title = manifest_path("ops/title.yml");
    let secret = format!("title={PROPERTY}");
    let deploy = environment.deploy(&["-o", &title, "-v", &secret]);
    assert_eq!(deploy.code, 0, "{}", deploy.text());
    environment.ok(&["-d", "guestbook", "ssh", "app/0", "-c", "true"]);
    let folder = environment.scratch().display().to_string();
    environment.ok(&["-d", "guestbook", "logs", "--dir", &folder]);
    // What goes wrong may quote what it went wrong with.
    let wrong = environment.scratch().join("wrong.yml");
    let good = fs_err::read_to_string(manifest_path("guestbook.yml")).expect("it is there");
    let bad = good
        .replace("title: Guestbook", &format!("title: {PROPERTY}"))
        .replace("azs: [z1, z2]", "azs: [z1, nowhere]");
    fs_err::write(&wrong, bad).expect("an own folder can be written");
    let (wrong, variables) = (wrong.display().to_string(), environment.variables());
    let refused = environment.run(&["-d", "guestbook", "deploy", &wrong, "-l", &variables]);
    assert!(
        refused.text().contains("availability zone"),
        "{}",
        refused.text()
    );
    let refused = environment.run(&["upload-release", "https://u:SuperSecretValue@127.0.0.1:1/x"]);
    assert_ne!(refused.code, 0);

    let secrets = Secrets::of(&environment);
    let mut leaks = Vec::new();
    let tasks = environment.rows(&["tasks", "--recent=100", "--all"]);
    assert!(tasks.len() >= 6, "{tasks:?}");
    for task in &tasks {
        let id = task["id"].as_str().expect("a task has an id");
        for kind in ["--debug", "--cpi", "--event", "--result"] {
            let run = environment.run(&["task", id, kind]);
            secrets.look(
                &format!("task {id} {kind}"),
                run.text().as_bytes(),
                &mut leaks,
            );
        }
    }
    secrets.look("events", environment.ok(&["events"]).as_bytes(), &mut leaks);
    secrets.look("the deploy", deploy.text().as_bytes(), &mut leaks);
    for file in logs(&environment) {
        let content = fs_err::read(&file).expect("a log can be read");
        secrets.look(&file.display().to_string(), &content, &mut leaks);
    }
    let home = environment.home();
    for process in own_processes(&home) {
        secrets.look(&process.0, &process.1, &mut leaks);
    }
    open_files(&home, &secrets, &mut leaks);
    let calls = home.join("director/data/cpi-calls");
    let left = std::fs::read_dir(calls).map_or(0, |files| files.count());
    assert_eq!(left, 0, "requests to the CPI are left in files");
    assert!(leaks.is_empty(), "secrets are shown:\n{}", leaks.join("\n"));
}

/// Texts that must not be seen, by what they are.
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn of(environment: &Environment) -> Secrets {
        let home = environment.home();
        let mut secrets = BTreeMap::new();
        let mut add = |name: String, value: &str| secrets.insert(name, value.to_owned());
        add("property".into(), PROPERTY);
        add("signature of a URL".into(), "?st=");
        let credentials =
            fs_err::read_to_string(home.join("creds.yml")).expect("bosun up wrote it");
        for line in credentials.lines() {
            if let Some((name, value)) = line.split_once(": ") {
                let value = value.trim().trim_matches(['"', '\'']);
                if value.len() > 8 {
                    add(name.to_owned(), value);
                }
            }
        }
        let mut keys: Vec<PathBuf> = files(&home.join("certs"));
        keys.extend(
            files(&home.join("containers/vms"))
                .into_iter()
                .filter(|path| path.ends_with("var/vcap/bosh/settings.json")),
        );
        let mut found = 0;
        for path in keys {
            let text = fs_err::read_to_string(&path).unwrap_or_default();
            if let Some((_, key)) = text.split_once("PRIVATE KEY-----") {
                let key = key.replace("\\n", "\n");
                // The second line: the first is the same in all keys of a kind.
                let line = key.lines().nth(2).expect("a key has lines");
                add(path.display().to_string(), line);
                found += 1;
            }
        }
        assert!(found >= 9, "only {found} private keys are known");
        assert!(secrets.len() > found + 3, "the credentials are not known");
        Secrets(secrets)
    }

    fn look(&self, place: &str, content: &[u8], leaks: &mut Vec<String>) {
        for (name, value) in &self.0 {
            let mut windows = content.windows(value.len());
            if windows.any(|window| window == value.as_bytes()) {
                leaks.push(format!("{place}: {name}"));
            }
        }
    }
}

/// The files below a folder, links not followed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            // The system of a container, which is the stemcell's: only what bosun puts into it matters.
            if entry.file_name() != "usr" {
                found.extend(files(&entry.path()));
            }
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

/// Logs of the environment's processes and of the agents.
fn logs(environment: &Environment) -> Vec<PathBuf> {
    let home = environment.home();
    let mut found = files(&home.join("logs"));
    found.push(home.join("nats/nats.log"));
    let agents = files(&home.join("containers/vms"))
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/var/vcap/bosh/log/"));
    let before = found.len();
    found.extend(agents);
    assert!(found.len() > before, "no log of an agent is found");
    found
}

/// Command lines and environments of bosun's own processes.
fn own_processes(home: &Path) -> Vec<(String, Vec<u8>)> {
    let folder = home.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&command).replace('\0', " ");
        if !text.contains(&folder) {
            continue;
        }
        let variables = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        found.push((format!("arguments of {text}"), command));
        found.push((format!("environment of {text}"), variables));
    }
    assert!(found.len() >= 6, "the processes are not found");
    found
}

/// Files that hold a secret are for their owner, unless a folder above is.
fn open_files(home: &Path, secrets: &Secrets, leaks: &mut Vec<String>) {
    let reachable = |path: &Path| {
        let passable = path
            .ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(home))
            .all(|folder| mode(folder) & 0o001 != 0);
        passable && mode(path) & 0o004 != 0
    };
    for path in files(home) {
        let size = std::fs::symlink_metadata(&path).map_or(0, |about| about.len());
        if reachable(&path) && size < 1 << 20 {
            let content = std::fs::read(&path).unwrap_or_default();
            secrets.look(&format!("open file {}", path.display()), &content, leaks);
        }
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).map_or(0, |about| about.permissions().mode())
}
