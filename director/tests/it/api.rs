//! The API by HTTP, the director as a process.

use serde_json::json;

use crate::support::{Environment, wait_for};

const YAML: (&str, &str) = ("content-type", "text/yaml");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn rights_and_refusals_have_the_recorded_shapes() -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let director = environment.director().await?;
    let info = director.get("", "/info").await?.json();
    assert_eq!(
        (&info["uuid"], &info["user"], &info["cpi"]),
        (&json!("deadbeef"), &json!(null), &json!("test-cpi"))
    );
    assert_eq!(
        director.get("reader", "/info").await?.json()["user"],
        "reader"
    );
    assert_eq!(
        director.get("test:wrong", "/info").await?.json()["user"],
        json!(null)
    );

    let admin = "{\"code\":600000,\"description\":\"Require one of the scopes: bosh.admin, bosh.deadbeef.admin\"}";
    let read = "{\"code\":600000,\"description\":\"Require one of the scopes: bosh.admin, bosh.deadbeef.admin, bosh.read, bosh.deadbeef.read\"}";
    for (user, method, path, header, body, status, answer) in [
        (
            "",
            "GET",
            "/deployments",
            None,
            "",
            401,
            "Not authorized: '/deployments'\n",
        ),
        (
            "test:wrong",
            "GET",
            "/deployments",
            None,
            "",
            401,
            "Not authorized: '/deployments'\n",
        ),
        (
            "",
            "POST",
            "/deployments",
            Some(YAML),
            "name: x\n",
            401,
            "Not authorized: '/deployments'\n",
        ),
        ("test", "GET", "/", None, "", 404, "Not Found: /"),
        (
            "test",
            "GET",
            "/nothing",
            None,
            "",
            404,
            "Not Found: /nothing",
        ),
        ("test", "GET", "/users", None, "", 404, "Not Found: /users"),
        (
            "test",
            "GET",
            "/vms",
            None,
            "",
            404,
            "Endpoint '/vms' not found.",
        ),
        (
            "test",
            "POST",
            "/deployments/solo",
            None,
            "",
            404,
            "Endpoint '/deployments/solo' not found.",
        ),
        (
            "test",
            "GET",
            "/deployments/none",
            None,
            "",
            404,
            "{\"code\":70000,\"description\":\"Deployment 'none' doesn't exist\"}",
        ),
        (
            "test",
            "DELETE",
            "/deployments/none",
            None,
            "",
            404,
            "{\"code\":70000,\"description\":\"Deployment 'none' doesn't exist\"}",
        ),
        (
            "test",
            "DELETE",
            "/releases/none",
            None,
            "",
            404,
            "{\"code\":30005,\"description\":\"Release 'none' doesn't exist\"}",
        ),
        (
            "test",
            "GET",
            "/releases/none?version=1",
            None,
            "",
            404,
            "{\"code\":30005,\"description\":\"Release 'none' doesn't exist\"}",
        ),
        (
            "test",
            "GET",
            "/networks",
            None,
            "",
            500,
            "listing active networks is not implemented",
        ),
        (
            "test",
            "GET",
            "/networks?orphaned=true",
            None,
            "",
            200,
            "[]",
        ),
        (
            "test",
            "GET",
            "/resurrection",
            None,
            "",
            200,
            "{\"resurrection\":true}",
        ),
        (
            "test",
            "GET",
            "/deployed_variables/a%2Fb",
            None,
            "",
            200,
            "{\"deployments\":[]}",
        ),
        (
            "test",
            "GET",
            "/tasks/9999",
            None,
            "",
            404,
            "{\"code\":10000,\"description\":\"Task 9999 not found\"}",
        ),
        (
            "test",
            "GET",
            "/tasks/9999/output?type=event",
            None,
            "",
            404,
            "{\"code\":10000,\"description\":\"Task 9999 not found\"}",
        ),
        ("test", "GET", "/deployments?", None, "", 200, "[]"),
        ("alice", "GET", "/deployments", None, "", 200, "[]"),
        ("alice", "GET", "/locks", None, "", 401, read),
        ("alice", "GET", "/releases", None, "", 200, "[]"),
        ("reader", "GET", "/locks", None, "", 200, "[]"),
        ("reader", "GET", "/disks", None, "", 401, admin),
        ("reader", "GET", "/resurrection", None, "", 401, admin),
        (
            "reader",
            "POST",
            "/cloud_configs/diff?name=",
            Some(YAML),
            "azs: []\n",
            401,
            admin,
        ),
        ("uploader", "GET", "/releases", None, "", 401, read),
        ("uploader", "GET", "/stemcells", None, "", 401, read),
        ("uploader", "GET", "/events", None, "", 401, read),
        (
            "test",
            "POST",
            "/stemcell_uploads",
            Some(JSON),
            "{\"stemcell\":{\"name\":\"demo\",\"version\":\"1\"}}",
            200,
            "{\"needed\":true}",
        ),
        (
            "test",
            "POST",
            "/stemcell_uploads",
            Some(JSON),
            "{}",
            400,
            "{\"code\":40001,\"description\":\"Missing 'stemcell' field\"}",
        ),
        (
            "test",
            "POST",
            "/stemcell_uploads",
            Some(JSON),
            "{\"stemcell\":{\"name\":\"a\"}}",
            400,
            "{\"code\":40001,\"description\":\"Missing 'version' field\"}",
        ),
        (
            "test",
            "POST",
            "/packages/matches",
            Some(YAML),
            "--- {}\n",
            400,
            "{\"code\":440001,\"description\":\"Manifest doesn't have a usable packages section\"}",
        ),
        (
            "test",
            "POST",
            "/packages/matches",
            Some(YAML),
            "packages: []\n",
            200,
            "[]",
        ),
        (
            "test",
            "POST",
            "/releases",
            Some(("content-type", "text/plain")),
            "x",
            404,
            "Endpoint '/releases' not found.",
        ),
        ("test", "POST", "/tasks/cancel", Some(JSON), "{}", 204, ""),
        (
            "test",
            "POST",
            "/tasks/cancel",
            Some(JSON),
            "{\"states\":[\"odd\"]}",
            400,
            "odd is not one of the cancellable states: queued, processing",
        ),
        (
            "test",
            "POST",
            "/deployments",
            Some(YAML),
            "",
            400,
            "{\"code\":440001,\"description\":\"Manifest should not be empty\"}",
        ),
        (
            "test",
            "POST",
            "/deployments",
            Some(YAML),
            "a: 1\n",
            400,
            "{\"code\":40001,\"description\":\"Deployment manifest must have a 'name' key\"}",
        ),
        (
            "test",
            "POST",
            "/deployments?context=%7B%22cloud_config_ids%22%3A%5B999%5D%7D",
            Some(YAML),
            "name: x\n",
            400,
            "{\"code\":190025,\"description\":\"Context includes invalid config ID\"}",
        ),
        (
            "test",
            "GET",
            "/resources/none",
            None,
            "",
            404,
            "{\"code\":100002,\"description\":\"Resource 'none' not found in the blobstore\"}",
        ),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let got = director.send(user, method, path, &headers, body).await?;
        assert_eq!(
            (got.status, got.body.as_str()),
            (status, answer),
            "{user} {method} {path}"
        );
        assert_eq!(
            got.headers.contains_key("www-authenticate"),
            !answer.starts_with("Not Found: "),
            "{user} {method} {path}"
        );
    }
    let long = "c".repeat(65);
    let headers = [YAML, ("x-bosh-context-id", long.as_str())];
    let got = director
        .send("test", "POST", "/deployments", &headers, "name: x\n")
        .await?;
    assert_eq!(
        got.body,
        "{\"code\":70010,\"description\":\"X-Bosh-Context-Id cannot be more than 64 characters in length\"}"
    );
    // An upload that is refused after its body leaves no file.
    let headers = [
        ("content-type", "application/x-compressed"),
        ("x-bosh-context-id", long.as_str()),
    ];
    let got = director
        .send("test", "POST", "/releases", &headers, "no archive")
        .await?;
    assert_eq!(got.status, 400, "{}", got.body);
    let uploads = std::fs::read_dir(environment.path("data/uploads"))?.count();
    assert_eq!(uploads, 0, "files of refused uploads");
    // A zero byte is the caller's mistake.
    for path in ["/deployments/a%00b", "/tasks?state=%00"] {
        let got = director.get("test", path).await?;
        assert_eq!(got.status, 400, "{path}: {}", got.body);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_started_followed_by_ranges_and_survives_sigkill_of_the_director()
-> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let mut director = environment.director().await?;
    let started = director
        .send(
            "test",
            "POST",
            "/releases?",
            &[("content-type", "application/x-compressed")],
            "no archive",
        )
        .await?;
    assert_eq!((started.status, started.body.as_str()), (302, ""));
    let location = started.headers["location"].to_str()?.to_owned();
    assert_eq!(location, format!("{}/tasks/1", director.base));
    let task = || async { Ok::<_, anyhow::Error>(director.get("test", "/tasks/1").await?.json()) };
    wait_for("the task ends", || async {
        task().await.is_ok_and(|task| task["state"] == "error")
    })
    .await?;
    let ended = task().await?;
    assert_eq!(
        (&ended["description"], &ended["user"]),
        (&json!("create release"), &json!("test"))
    );
    let events = director.get("test", "/tasks/1/output?type=event").await?;
    assert!(events.body.ends_with('\n'));
    let last: serde_json::Value =
        serde_json::from_str(events.body.lines().last().unwrap_or_default())?;
    assert_eq!(
        last["error"]["message"], ended["result"],
        "the last line is the error"
    );
    let size = events.body.len();
    let range = |range: String| {
        let director = &director;
        async move {
            director
                .send(
                    "test",
                    "GET",
                    "/tasks/1/output?type=event",
                    &[("range", &range)],
                    "",
                )
                .await
        }
    };
    let part = range("bytes=5-".into()).await?;
    assert_eq!((part.status, part.body.as_str()), (206, &events.body[5..]));
    assert_eq!(
        part.headers["content-range"],
        format!("bytes 5-{}/{size}", size - 1)
    );
    let beyond = range(format!("bytes={size}-")).await?;
    assert_eq!(
        (beyond.status, beyond.body.as_str()),
        (416, "Byte range unsatisfiable")
    );
    assert_eq!(beyond.headers["content-range"], format!("bytes */{size}"));
    assert_eq!(
        director
            .get("test", "/tasks/1/output?type=cpi")
            .await?
            .status,
        204
    );
    assert_eq!(
        director.get("test", "/tasks/1/output?type=odd").await?.body,
        "{\"code\":600000,\"description\":\"Unknown type odd\"}"
    );
    let refused = director.send("test", "DELETE", "/task/1", &[], "").await?;
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (400, "Cannot cancel task 1: invalid state (error)")
    );

    director.process.start_kill()?;
    director.process.wait().await?;
    let director = environment.director().await?;
    let again = director.get("test", "/tasks?limit=1").await?.json();
    assert_eq!(again[0], ended, "another process serves the same task");
    assert_eq!(
        director
            .get("test", "/tasks/1/output?type=event")
            .await?
            .body,
        events.body
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_urls_let_an_agent_read_and_write_one_blob_without_a_password() -> anyhow::Result<()>
{
    use blobstore::signed::{SigningKey, url};
    let environment = Environment::new().await?;
    let director = environment.director().await?;
    let id = domain::BlobId::new("11111111-2222-4333-8444-555555555555");
    let link = |method, secret: &str| {
        let full = url(
            &director.base,
            &SigningKey::new(secret),
            method,
            &id,
            std::time::Duration::from_secs(60),
        );
        full[director.base.len()..].to_owned()
    };
    let key = "key-of-signed-urls";
    let put = director
        .send("", "PUT", &link(blobstore::Method::Put, key), &[], "a blob")
        .await?;
    assert_eq!(put.status, 201, "{put:?}");
    let got = director
        .send("", "GET", &link(blobstore::Method::Get, key), &[], "")
        .await?;
    assert_eq!((got.status, got.body.as_str()), (200, "a blob"));
    assert_eq!(
        director
            .get("", &link(blobstore::Method::Get, "other"))
            .await?
            .status,
        403
    );
    assert_eq!(
        director
            .get("", &link(blobstore::Method::Put, key))
            .await?
            .status,
        403
    );
    let resource = director.get("test", &format!("/resources/{id}")).await?;
    assert_eq!((resource.status, resource.body.as_str()), (200, "a blob"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_director_goes_down_on_sigterm_and_two_may_not_share_a_data_folder() -> anyhow::Result<()>
{
    let environment = Environment::new().await?;
    let mut director = environment.director().await?;
    let second = tokio::process::Command::new(env!("CARGO_BIN_EXE_bosun-director"))
        .arg("--config")
        .arg(environment.path("director.yml"))
        .output()
        .await?;
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("another director uses"), "{text}");
    let pid = i32::try_from(director.process.id().expect("it runs"))?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    )?;
    assert!(director.process.wait().await?.success());
    Ok(())
}

/// A file server that answers nothing to the first who asks and "not found" to all others.
async fn slow_file_server() -> anyhow::Result<(u16, std::sync::Arc<std::sync::atomic::AtomicUsize>)>
{
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                held.push(stream);
                continue;
            }
            let _ = stream
                .write_all(
                    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                )
                .await;
        }
    });
    Ok((port, asked))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_director_serves_the_same_environment_and_finishes_what_the_first_one_left()
-> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let (port, asked) = slow_file_server().await?;
    let mut first = environment.director().await?;
    let body = format!("{{\"location\":\"http://127.0.0.1:{port}/r.tgz\"}}");
    let started = first
        .send("test", "POST", "/releases", &[JSON], body)
        .await?;
    assert_eq!(started.status, 302);
    wait_for("the first director downloads", || async {
        asked.load(std::sync::atomic::Ordering::SeqCst) == 1
    })
    .await?;
    let second = environment.second_director().await?;
    assert_eq!(second.get("", "/info").await?.json()["uuid"], "deadbeef");
    assert_eq!(
        second.get("test", "/tasks/1").await?.json()["state"],
        "processing"
    );
    first.process.start_kill()?;
    first.process.wait().await?;
    wait_for("the second one finishes the task", || async {
        let task = second.get("test", "/tasks/1").await;
        task.is_ok_and(|task| task.json()["state"] == "error")
    })
    .await?;
    let task = second.get("test", "/tasks/1").await?.json();
    assert!(
        task["result"]
            .as_str()
            .unwrap_or_default()
            .starts_with(&format!(
                "No release found at 'http://127.0.0.1:{port}/r.tgz'."
            )),
        "{task}"
    );
    Ok(())
}
