//! Uploads of a stemcell and of releases by a real director, compared with traffic recorded from the original; then
//! what is in use is not deleted, and what is deleted leaves nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bosun_director::store::{self, Store};
use serde_json::{Value, json};

use crate::recorded_uploads::{Assets, Recording, lines, masked};
use crate::support::{Director, Environment, wait_for};

/// A CPI of one format that keeps its stemcells as files.
fn cpi(environment: &mut Environment) -> anyhow::Result<PathBuf> {
    let cloud = environment.path("cloud");
    std::fs::create_dir(&cloud)?;
    let script = format!(
        r#"#!/bin/sh
call=$(cat)
answer() {{ printf '{{"result":%s,"error":null,"log":""}}' "$1"; }}
case "$call" in
*'"info"'*) answer '{{"stemcell_formats":["dummy"],"api_version":2}}' ;;
*'"create_stemcell"'*) id=$(cat /proc/sys/kernel/random/uuid); : > {cloud}/$id; answer "\"$id\"" ;;
*'"delete_stemcell"'*) id=$(printf %s "$call" | sed 's/.*"arguments":\["\([^"]*\)".*/\1/'); rm -f {cloud}/$id; answer null ;;
esac
"#,
        cloud = cloud.display()
    );
    let path = environment.path("cpi");
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    environment.cpi = path;
    Ok(cloud)
}

struct Scenario {
    director: Director,
    recording: Recording,
}

impl Scenario {
    /// Queues a task and waits for its end; its object and its event lines.
    async fn run(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<(Value, Vec<Value>)> {
        let headers = if kind.is_empty() {
            vec![]
        } else {
            vec![("content-type", kind)]
        };
        let answer = self
            .director
            .send("test", method, path, &headers, body)
            .await?;
        anyhow::ensure!(answer.status == 302, "{method} {path}: {answer:?}");
        let location = answer.headers["location"].to_str()?;
        let id = location.rsplit('/').next().unwrap_or_default().to_owned();
        wait_for("the task ends", || async {
            let task = self
                .director
                .get("test", &format!("/tasks/{id}"))
                .await
                .unwrap()
                .json();
            !["queued", "processing"].contains(&task["state"].as_str().unwrap())
        })
        .await?;
        let task = self
            .director
            .get("test", &format!("/tasks/{id}"))
            .await?
            .json();
        let events = self
            .director
            .get("test", &format!("/tasks/{id}/output?type=event"))
            .await?
            .body;
        Ok((task, lines(&events)))
    }

    /// Runs an upload and compares all that a client sees of it with the recorded task of the same number.
    async fn upload(
        &self,
        number: u64,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<()> {
        let (task, events) = self.run("POST", path, kind, body).await?;
        let (wanted, wanted_events) = self.recording.task(number);
        assert_eq!(events, wanted_events, "task {number}: {task}");
        let (mut got, mut wanted) = (masked(task), masked(wanted.clone()));
        // The original cuts long results.
        for task in [&mut got, &mut wanted] {
            let result: String = task["result"]
                .as_str()
                .unwrap_or_default()
                .chars()
                .take(80)
                .collect();
            task["result"] = json!(result.split("Invalid Version").next());
        }
        assert_eq!(got, wanted, "task {number}");
        Ok(())
    }

    async fn compare(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
        which: usize,
    ) -> anyhow::Result<()> {
        let headers = if kind.is_empty() {
            vec![]
        } else {
            vec![("content-type", kind)]
        };
        let got = self
            .director
            .send("test", method, path, &headers, body.to_owned())
            .await?;
        let wanted = self.recording.answers(method, path, body);
        let wanted = wanted
            .get(which)
            .unwrap_or_else(|| panic!("{method} {path} {body} is recorded"));
        assert_eq!(
            u64::from(got.status),
            wanted["status"],
            "{method} {path} {body}: {got:?}"
        );
        let text = wanted["body"].as_str().unwrap_or_default();
        match serde_json::from_str(text) {
            Ok(wanted) => assert_eq!(masked(got.json()), masked(wanted), "{method} {path}"),
            Err(_) => assert_eq!(got.body, text, "{method} {path}"),
        }
        Ok(())
    }
}

const TARBALL: &str = "application/x-compressed";
const JSON: &str = "application/json";

#[tokio::test(flavor = "multi_thread")]
async fn uploads_answer_as_the_original_did_and_deletions_leave_nothing() -> anyhow::Result<()> {
    let mut environment = Environment::new().await?;
    let cloud = cpi(&mut environment)?;
    let assets = Assets::build().await?;
    let scenario = Scenario {
        director: environment.director().await?,
        recording: Recording::load()?,
    };
    let remote = |name: &str, digest: Option<&str>| -> Vec<u8> {
        let mut body = json!({"location": format!("{}/{name}", assets.url)});
        if let Some(digest) = digest {
            body["sha1"] = json!(digest);
        }
        body.to_string().into()
    };

    let needed = r#"{"stemcell":{"name":"demo-stemcell","version":"1"}}"#;
    scenario.compare("GET", "/stemcells", "", "", 0).await?;
    scenario.compare("GET", "/releases", "", "", 0).await?;
    scenario
        .compare("POST", "/stemcell_uploads", JSON, needed, 0)
        .await?;
    scenario
        .upload(
            1,
            "/stemcells?",
            TARBALL,
            assets.read("demo-stemcell-1.tgz")?,
        )
        .await?;
    scenario
        .compare("POST", "/stemcell_uploads", JSON, needed, 1)
        .await?;
    scenario
        .upload(
            2,
            "/stemcells?fix=true",
            TARBALL,
            assets.read("demo-stemcell-1.tgz")?,
        )
        .await?;
    scenario.compare("GET", "/stemcells", "", "", 1).await?;

    let manifest = assets.manifest("wire-demo-1.tgz")?;
    let matches = |yaml: String| {
        scenario.director.send(
            "test",
            "POST",
            "/packages/matches",
            &[("content-type", "text/yaml")],
            yaml,
        )
    };
    assert_eq!(matches(manifest.clone()).await?.body, "[]");
    scenario
        .upload(3, "/releases?", TARBALL, assets.read("wire-demo-1.tgz")?)
        .await?;
    assert_eq!(
        matches(manifest).await?.json().as_array().map(Vec::len),
        Some(4)
    );
    scenario
        .upload(
            4,
            "/releases?",
            TARBALL,
            assets.without_packages("wire-demo-1.tgz")?,
        )
        .await?;
    scenario
        .upload(
            5,
            "/releases?fix=true",
            TARBALL,
            assets.read("wire-demo-1.tgz")?,
        )
        .await?;
    scenario
        .upload(
            6,
            "/releases?rebase=true",
            TARBALL,
            assets.without_packages("wire-demo-1.tgz")?,
        )
        .await?;
    scenario.compare("GET", "/releases", "", "", 2).await?;

    let zeros = "0".repeat(40);
    scenario
        .upload(
            7,
            "/releases?",
            JSON,
            remote("wire-demo-2.tgz", Some(&zeros)),
        )
        .await?;
    scenario
        .upload(8, "/releases?", JSON, remote("none.tgz", None))
        .await?;
    let digest = assets.digest("wire-demo-2.tgz")?;
    scenario
        .upload(
            9,
            "/releases?",
            JSON,
            remote("wire-demo-2.tgz", Some(&digest)),
        )
        .await?;
    let wrong = format!("sha256:{}", "0".repeat(64));
    scenario
        .upload(
            10,
            "/stemcells?",
            JSON,
            remote("demo-stemcell-2.tgz", Some(&wrong)),
        )
        .await?;
    let digest = assets.digest("demo-stemcell-2.tgz")?;
    scenario
        .upload(
            11,
            "/stemcells?",
            JSON,
            remote("demo-stemcell-2.tgz", Some(&digest)),
        )
        .await?;
    scenario
        .upload(12, "/releases", TARBALL, b"not an archive at a".to_vec())
        .await?;
    scenario
        .upload(13, "/stemcells", TARBALL, b"not an archive at a".to_vec())
        .await?;
    scenario
        .upload(
            14,
            "/releases",
            JSON,
            br#"{"location":"http://127.0.0.1:1/x.tgz"}"#.to_vec(),
        )
        .await?;

    for (path, which) in [
        ("/releases/wire-demo?version=1", 0),
        ("/releases/wire-demo", 0),
        ("/releases/wire-demo?version=77", 0),
        ("/releases/none?version=1", 0),
    ] {
        scenario.compare("GET", path, "", "", which).await?;
    }
    for body in [
        "{}",
        r#"{"stemcell":{"name":"a"}}"#,
        r#"{"stemcell":{"name":"demo-stemcell","version":"9"}}"#,
    ] {
        scenario
            .compare("POST", "/stemcell_uploads", JSON, body, 0)
            .await?;
    }
    scenario
        .compare("POST", "/packages/matches", "text/yaml", "--- {}\n", 0)
        .await?;
    assert_eq!(
        std::fs::read_dir(environment.path("data/uploads"))?.count(),
        0
    );
    assert_eq!(std::fs::read_dir(environment.path("data/tmp"))?.count(), 0);

    deletions(&environment, &scenario, &cloud).await
}

/// In use: refused with the deployment's name. Free: gone from rows, blobstore and cloud.
async fn deletions(
    environment: &Environment,
    scenario: &Scenario,
    cloud: &Path,
) -> anyhow::Result<()> {
    let store = Store::open(
        environment.database.url(),
        2,
        std::time::Duration::from_secs(10),
    )
    .await?;
    let db = store.pool();
    let deployment = store::deployments::ensure(db, "shop", "shop", &[]).await?;
    let version = store::releases::find_version(db, "wire-demo", &["1".into()])
        .await?
        .unwrap();
    let stemcell = store::stemcells::find(db, "demo-stemcell", "1", "")
        .await?
        .unwrap();
    store::deployments::bind(db, deployment.id, &[version.id], &[stemcell.id]).await?;

    let delete = async |path: &str| scenario.run("DELETE", path, "", Vec::new()).await;
    let last = |events: &[Value]| {
        events
            .last()
            .map(|line| line["error"].clone())
            .unwrap_or_default()
    };
    let (_, events) = delete("/releases/wire-demo?force=true&version=1").await?;
    let text = "ReleaseVersion 'wire-demo/1' is still in use by: shop";
    assert_eq!(last(&events), json!({"code": 30008, "message": text}));
    let (_, events) = delete("/releases/wire-demo?").await?;
    let text = "Release 'wire-demo' is still in use by: shop";
    assert_eq!(last(&events), json!({"code": 30007, "message": text}));
    let (_, events) = delete("/stemcells/demo-stemcell/1?").await?;
    let text = "Stemcell 'demo-stemcell/1' is still in use by: shop";
    assert_eq!(last(&events), json!({"code": 50004, "message": text}));
    let (_, events) = delete("/stemcells/demo-stemcell/77?").await?;
    let text = "Stemcell 'demo-stemcell/77' doesn't exist";
    assert_eq!(last(&events), json!({"code": 50003, "message": text}));

    let (task, events) = delete("/releases/wire-demo?version=2").await?;
    assert_eq!(task["result"], "/release/wire-demo");
    let stages: Vec<_> = events
        .iter()
        .map(|line| (line["stage"].clone(), line["total"].clone()))
        .collect();
    assert_eq!(stages[0], (json!("Deleting packages"), json!(1)));
    assert_eq!(stages[2], (json!("Deleting jobs"), json!(1)));
    assert_eq!(stages.len(), 4);
    assert_eq!(
        std::fs::read_dir(environment.path("data/blobs"))?.count(),
        11
    );

    store::deployments::unbind_releases(db, deployment.id).await?;
    store::deployments::unbind_stemcells(db, deployment.id).await?;
    delete("/releases/wire-demo?").await?;
    for version in ["1", "2"] {
        delete(&format!("/stemcells/demo-stemcell/{version}?")).await?;
    }
    for path in ["/releases", "/stemcells"] {
        assert_eq!(scenario.director.get("test", path).await?.body, "[]");
    }
    assert_eq!(
        std::fs::read_dir(environment.path("data/blobs"))?.count(),
        0
    );
    // `--fix` made a second one of version 1, which the original forgets too.
    assert_eq!(std::fs::read_dir(cloud)?.count(), 1);
    let missing = scenario
        .director
        .send("test", "DELETE", "/releases/wire-demo?", &[], "")
        .await?;
    assert_eq!(missing.json()["code"], 30005);
    Ok(())
}
