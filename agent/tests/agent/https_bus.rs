//! The agent without a director: its own HTTPS server, driven by `create-env`'s client.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent_protocol::{AgentClient, HttpsAgentClient, Patience, Reply, Target};
use domain::{AgentId, Digest};
use pki::{Ca, Request, Subject, Usage};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{DEADLINE, MOMENT, archive};

struct World {
    dir: TempDir,
    agent: Child,
    ca: String,
    url: String,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

fn target() -> Target {
    Target {
        agent: AgentId::new("any"),
        instance: "store/0".into(),
    }
}

impl World {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = TempDir::with_prefix("bosun-agent-").expect("temporary directory");
        let (ca, _) = Ca::generate(Subject::common_name("test CA")).expect("CA");
        let mut request = Request::new(Subject::common_name("127.0.0.1"), &[Usage::Server]);
        request.alternative_names = vec!["127.0.0.1".into()];
        let pair = ca.issue(&request).expect("certificate");
        let port = services::free_port("127.0.0.1").expect("port");
        let url = format!("https://mbus:p%40ss@127.0.0.1:{port}");
        let cert = json!({"ca": ca.certificate(), "certificate": pair.certificate, "private_key": pair.private_key});
        let settings = json!({
            "agent_id": "single",
            "vm": {"name": "vm-1"},
            "mbus": url,
            "networks": {"private": {"type": "manual", "ip": "127.0.0.1", "preconfigured": true}},
            "disks": {"persistent": {}},
            "blobstore": {"provider": "local", "options": {"blobstore_path": "/var/vcap/micro_bosh/data/cache"}},
            "env": {"bosh": {"mbus": {"cert": cert}}},
        });
        let file = |name: &str, content: Value| {
            let path = dir.path().join(name);
            fs_err::write(&path, content.to_string()).expect("file");
            path
        };
        let path = file("settings.json", settings);
        let source = json!({"Type": "File", "SettingsPath": path});
        let config = json!({"Infrastructure": {"Settings": {"Sources": [source]}}});
        let config = file("agent.json", config);
        let log = fs_err::File::create(dir.path().join("agent.log")).expect("log");
        let agent = Command::new(env!("CARGO_BIN_EXE_bosun-agent"))
            .args(["-P", "dummy", "-b"])
            .arg(dir.path().join("vcap"))
            .arg("-C")
            .arg(config)
            .stdin(Stdio::null())
            .stderr(log.into_parts().0)
            .spawn()
            .expect("agent starts");
        let world = World {
            dir,
            agent,
            ca: ca.certificate().to_owned(),
            url,
        };
        let client = world.client();
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while let Err(error) = client.ping(&target(), Duration::from_secs(5)).await {
            let log = fs_err::read_to_string(world.dir.path().join("agent.log"));
            assert!(
                tokio::time::Instant::now() < deadline,
                "{error:?}\n{}",
                log.unwrap_or_default()
            );
            tokio::time::sleep(MOMENT).await;
        }
        world
    }

    fn client(&self) -> HttpsAgentClient {
        HttpsAgentClient::new(&self.url, Some(&self.ca), "director").expect("client")
    }

    /// A request of another client; status and body.
    async fn request(&self, method: &str, path: &str, password: &str, body: &str) -> (u16, String) {
        let ca = reqwest::Certificate::from_pem(self.ca.as_bytes()).expect("CA");
        let client = reqwest::Client::builder().tls_certs_only([ca]).build();
        let address = self.url.split_once('@').expect("password").1;
        let response = client
            .expect("client")
            .request(
                method.parse().expect("method"),
                format!("https://{address}{path}"),
            )
            .basic_auth("mbus", Some(password))
            .body(body.to_owned())
            .send()
            .await
            .expect("the agent answers");
        let status = response.status().as_u16();
        (status, response.text().await.expect("body"))
    }
}

#[tokio::test]
async fn create_env_compiles_applies_and_runs_over_https() {
    let world = World::start().await;
    let client = world.client();
    let put = async |content: &[u8]| {
        let file = world.dir.path().join("upload");
        fs_err::write(&file, content).expect("file");
        let id = format!("blob-{}", content.len());
        client.put_blob(&id, &file).await.expect("upload");
        json!({"blobstore_id": id, "sha1": Digest::sha1(content).to_string()})
    };
    let package = archive(&[(
        "packaging",
        "echo made > $BOSH_INSTALL_TARGET/made\n".to_owned(),
    )]);
    let source = put(&package).await;
    let arguments = vec![
        source["blobstore_id"].clone(),
        source["sha1"].clone(),
        json!("tool"),
        json!("v1"),
        json!({}),
    ];
    let compiled = client
        .call(&target(), "compile_package", arguments)
        .await
        .expect("compiled")["result"]
        .take();
    // What is compiled is where create-env finds it.
    let blob = compiled["blobstore_id"].as_str().expect("id");
    let (status, _) = world
        .request("GET", &format!("/blobs/{blob}"), "p@ss", "")
        .await;
    assert_eq!(status, 200);

    let templates = put(&archive(&[(
        "banner/bin/hello",
        "#!/bin/bash\n".to_owned(),
    )]))
    .await;
    let spec = |jobs: Value, packages: Value, archive: &Value| {
        json!({
            "deployment": "notebook", "name": "store", "index": 0, "id": "0", "az": "unknown",
            "packages": packages, "networks": {"private": {"type": "manual", "ip": "127.0.0.1"}},
            "job": {"name": "store", "templates": jobs},
            "rendered_templates_archive": archive,
            "configuration_hash": "unused-configuration-hash",
        })
    };
    // As create-env begins: no jobs, an archive without a name.
    let empty = spec(
        json!([]),
        json!({}),
        &json!({"blobstore_id": "", "sha1": ""}),
    );
    client
        .call(&target(), "apply", vec![empty])
        .await
        .expect("the empty spec is applied");
    let state = client.get_state(&target(), false).await.expect("state");
    assert_eq!(state.networks()["private"]["ip"], "127.0.0.1");

    let jobs = json!([{"name": "banner", "version": "v1", "sha1": "", "blobstore_id": ""}]);
    let packages = json!({"tool": {
        "name": "tool", "version": "v1", "sha1": compiled["sha1"], "blobstore_id": compiled["blobstore_id"],
    }});
    let full = spec(jobs, packages, &templates);
    client
        .call(&target(), "stop", vec![])
        .await
        .expect("stopped");
    client
        .call(&target(), "apply", vec![full])
        .await
        .expect("applied");
    let started = client
        .call(&target(), "start", vec![])
        .await
        .expect("started");
    assert_eq!(started, "started");
    let base = world.dir.path().join("vcap");
    let made = fs_err::read_to_string(base.join("packages/tool/made")).expect("package");
    assert_eq!(made, "made\n");
    assert!(base.join("jobs/banner/bin/hello").exists());
    // Without a protocol, listing disks is no task.
    let patience = Patience::for_method("list_disk");
    let listed = client
        .exchange(&target(), "list_disk", vec![], patience)
        .await;
    assert!(matches!(listed, Ok(Reply::Done(_))));
}

#[tokio::test]
async fn only_who_knows_the_password_gets_anything() {
    let world = World::start().await;
    let ping = r#"{"method":"ping","arguments":[],"reply_to":"x"}"#;
    for (method, path, password, body, status, answer) in [
        ("POST", "/agent", "p@ss", ping, 200, r#"{"value":"pong"}"#),
        ("POST", "/agent", "wrong", ping, 401, ""),
        ("PUT", "/blobs/a", "wrong", "x", 401, ""),
        ("GET", "/agent", "p@ss", "", 404, ""),
        ("POST", "/other", "p@ss", ping, 404, ""),
        ("PUT", "/blobs/a", "p@ss", "content", 201, ""),
        ("GET", "/blobs/a", "p@ss", "", 200, "content"),
        ("GET", "/blobs/b", "p@ss", "", 404, ""),
        (
            "GET",
            "/blobs/../../bosh/settings.json",
            "p@ss",
            "",
            404,
            "",
        ),
        ("DELETE", "/blobs/a", "p@ss", "", 404, ""),
    ] {
        let got = world.request(method, path, password, body).await;
        assert_eq!(
            got,
            (status, answer.to_owned()),
            "{method} {path} {password}"
        );
    }
    let (status, _) = world.request("POST", "/agent", "p@ss", "no JSON").await;
    assert_eq!(status, 500);
    let stranger = HttpsAgentClient::new(&world.url, None, "director").expect("client");
    let refused = stranger.ping(&target(), Duration::from_secs(5)).await;
    let refused = refused.expect_err("another authority's certificate is refused");
    assert!(
        agent_protocol::is_certificate_refused(&refused),
        "{refused:?}"
    );
}
