//! What several commands do together, with the scripted director at the other end: naming and logging in to an
//! environment, and releases on their way from a folder to a deployment.

mod support;

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use support::user::User;
use support::{Answer, Director, Request, Tls};

fn info(request: &Request) -> Answer {
    let user = if request.authorized {
        json!("admin")
    } else {
        Value::Null
    };
    let body = json!({
        "name": "lab", "uuid": "u", "version": "1", "user": user,
        "user_authentication": {"type": "basic"}, "features": {},
    });
    Answer::ok(body.to_string())
}

/// Answers of a director on which every task succeeds at once and nothing is stored.
fn empty_director(request: &Request) -> Answer {
    let path = request.target.split('?').next().unwrap_or_default();
    match (request.method.as_str(), path) {
        ("GET", "/info") => info(request),
        ("GET", "/tasks/7") => Answer::ok(r#"{"id": 7, "state": "done"}"#),
        ("GET", "/tasks/7/output") => Answer::status(204, ""),
        ("GET", "/deployments/dep") => Answer::ok(r#"{"manifest": null}"#),
        ("POST", "/packages/matches") => Answer::ok("[]"),
        ("POST", path) if path.ends_with("/diff") => {
            Answer::ok(r#"{"context": {"cloud_config_ids": [1]}, "diff": []}"#)
        }
        ("GET", _) => Answer::ok("[]"),
        _ => Answer::task(7),
    }
}

fn release_folder(user: &User) {
    user.write("rel/config/final.yml", "name: rel\n");
    user.write("rel/config/blobs.yml", "--- {}\n");
    user.write(
        "rel/jobs/web/spec",
        "name: web\ntemplates: {}\npackages: [app]\nproperties: {}\n",
    );
    user.write("rel/jobs/web/monit", "");
    user.write("rel/packages/app/spec", "name: app\nfiles: [main.c]\n");
    user.write("rel/packages/app/packaging", "set -e\n");
    user.write("rel/src/main.c", "int main() { return 0; }\n");
}

#[test]
fn an_environment_is_named_logged_in_to_and_left_again() {
    let tls = Tls::new();
    let director = Director::start(&tls, empty_director);
    let user = User::new("cwd");
    user.write("ca.pem", &tls.ca);
    user.succeed(&[
        "alias-env",
        "lab",
        "-e",
        &director.url,
        "--ca-cert",
        "ca.pem",
    ]);
    // The alias stands for the address and the CA.
    assert!(
        user.succeed(&["-e", "lab", "env"])
            .contains("(not logged in)")
    );
    assert!(
        user.succeed(&["envs"])
            .contains(&format!("{}\tlab", director.url))
    );

    let log_in = [
        "-e",
        "lab",
        "--client",
        "admin",
        "--client-secret",
        "pw",
        "log-in",
    ];
    user.succeed(&log_in);
    assert!(user.succeed(&["-e", "lab", "env"]).contains("admin"));
    let config = user.home().join(".bosh/config");
    let mode = std::fs::metadata(&config)
        .expect("a config")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "the config holds a password");

    user.succeed(&["-e", "lab", "log-out"]);
    assert!(
        user.succeed(&["-e", "lab", "env"])
            .contains("(not logged in)")
    );
    let text = std::fs::read_to_string(config).expect("a config");
    // The certificate may happen to have the two letters.
    assert!(!text.contains(": pw\n"), "{text}");
    user.succeed(&["unalias-env", "lab"]);
    assert!(
        user.fail(&["unalias-env", "lab"])
            .contains("alias lab not found")
    );
}

#[test]
fn a_certificate_of_another_ca_is_refused_at_once() {
    let director = Director::start(&Tls::new(), empty_director);
    let user = User::new("cwd");
    user.write("ca.pem", &Tls::new().ca);
    let said = user.fail(&["-e", &director.url, "--ca-cert", "ca.pem", "env"]);
    assert!(said.starts_with("Fetching info:\n"), "{said}");
    assert!(said.contains("certificate"), "{said}");
    assert!(director.requests().is_empty());
}

#[test]
fn deploy_creates_and_uploads_the_releases_of_its_manifest() {
    let tls = Tls::new();
    let uploads: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let seen = uploads.clone();
    let director = Director::start(&tls, move |request| {
        if request.method == "POST" && request.target.starts_with("/releases") {
            seen.lock().expect("no panic").push(request.body.clone());
        }
        empty_director(request)
    });
    let user = User::new("cwd");
    user.write("ca.pem", &tls.ca);
    release_folder(&user);
    user.write(
        "dep.yml",
        "name: dep\nreleases:\n- {name: rel, version: create, url: rel}\n- {name: far, version: 2, url: 'https://example.invalid/far.tgz', sha1: abc}\n",
    );
    user.succeed(&[
        "-n",
        "-e",
        &director.url,
        "--ca-cert",
        "ca.pem",
        "-d",
        "dep",
        "deploy",
        "dep.yml",
    ]);

    let requests = director.requests();
    let sent: Vec<&String> = requests
        .iter()
        .filter(|line| line.starts_with("POST"))
        .collect();
    assert!(
        sent[0].starts_with("POST /packages/matches name: rel\nversion: 0+dev."),
        "{sent:?}"
    );
    assert!(sent[1].starts_with("POST /releases "), "{sent:?}");
    assert_eq!(
        sent[2],
        r#"POST /releases {"location":"https://example.invalid/far.tgz","sha1":"abc"}"#
    );
    // What is deployed names the version that was made, and no folder.
    let manifest = sent.last().expect("a deploy");
    assert!(
        manifest.starts_with("POST /deployments?context="),
        "{manifest}"
    );
    assert!(
        manifest.contains("- name: rel\n  version: 0+dev."),
        "{manifest}"
    );
    assert!(!manifest.contains("url: rel"), "{manifest}");

    let uploads = uploads.lock().expect("no panic");
    assert_eq!(
        names(&uploads[0]),
        [
            "jobs/",
            "jobs/web.tgz",
            "packages/",
            "packages/app.tgz",
            "release.MF"
        ]
    );
}

#[test]
fn packages_that_the_director_has_are_not_sent_again() {
    let tls = Tls::new();
    let uploads: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let seen = uploads.clone();
    let director = Director::start(&tls, move |request| match request.target.as_str() {
        "/packages/matches" => {
            let text = String::from_utf8_lossy(&request.body);
            let packages = text.split("packages:").last().unwrap_or_default();
            let fingerprint = packages
                .lines()
                .find_map(|line| line.trim().strip_prefix("fingerprint: "))
                .unwrap_or_default();
            Answer::ok(json!([fingerprint]).to_string())
        }
        path if path.starts_with("/releases") && request.method == "POST" => {
            seen.lock().expect("no panic").push(request.body.clone());
            Answer::task(7)
        }
        _ => empty_director(request),
    });
    let user = User::new("cwd");
    user.write("ca.pem", &tls.ca);
    release_folder(&user);
    user.succeed(&[
        "create-release",
        "--dir",
        "rel",
        "--force",
        "--tarball",
        "rel.tgz",
    ]);
    let to = ["-e", director.url.as_str(), "--ca-cert", "ca.pem"];
    user.succeed(&[&to[..], &["upload-release", "rel.tgz"]].concat());
    user.succeed(&[&to[..], &["upload-release", "rel.tgz", "--fix"]].concat());
    let uploads = uploads.lock().expect("no panic");
    assert_eq!(names(&uploads[0]), ["jobs/", "jobs/web.tgz", "release.MF"]);
    assert_eq!(
        names(&uploads[1]).len(),
        5,
        "with --fix everything is sent: {:?}",
        names(&uploads[1])
    );
}

/// Sorted names of a gzipped tar's entries.
fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut names: Vec<String> = archive
        .entries()
        .expect("an archive")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let path = entry.path().expect("a name");
            Path::new(path.as_ref()).display().to_string()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_task_is_followed_through_an_outage_of_the_director() {
    let tls = Tls::new();
    let polls = Arc::new(Mutex::new(0));
    let count = polls.clone();
    let director = Director::start(&tls, move |request| {
        if request.target != "/tasks/7" {
            return empty_director(request);
        }
        let mut count = count.lock().expect("no panic");
        *count += 1;
        match *count {
            // The redirect and the first poll.
            1..=2 => Answer::ok(r#"{"id": 7, "state": "processing"}"#),
            // Longer than a single request is tried.
            3..=9 => Answer::gone(),
            _ => Answer::ok(r#"{"id": 7, "state": "done"}"#),
        }
    });
    let user = User::new("cwd");
    user.write("ca.pem", &tls.ca);
    let said = user.succeed(&[
        "--tty",
        "-e",
        &director.url,
        "--ca-cert",
        "ca.pem",
        "-d",
        "dep",
        "-n",
        "restart",
    ]);
    assert!(said.ends_with("Task 7. Done\n\nSucceeded\n"), "{said}");
    assert_eq!(*polls.lock().expect("no panic"), 10);
}
