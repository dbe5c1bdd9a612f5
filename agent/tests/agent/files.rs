//! Logs, ssh users, DNS records and blobs that come in a message.

use agent_protocol::{AgentClient, BundleLogs, UploadBlob};
use base64::Engine as _;
use domain::Digest;
use flate2::read::GzDecoder;
use serde_json::json;

use super::harness::{DEADLINE, World, archive};

fn names(content: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(GzDecoder::new(content));
    let entries = archive.entries().expect("archive");
    entries
        .map(|entry| {
            entry
                .expect("entry")
                .path()
                .expect("path")
                .display()
                .to_string()
        })
        .collect()
}

#[tokio::test]
async fn logs_are_collected_by_type_and_filter() {
    let world = World::start().await;
    let (client, to, base) = (&world.client, &world.to, world.base());
    for (path, text) in [
        ("sys/log/web/a.log", "a"),
        ("sys/log/web/old/b.log", "b"),
        ("sys/log/db/c.txt", "c"),
        ("var_log/syslog", "s"),
    ] {
        let path = base.join(path);
        fs_err::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs_err::write(path, text).expect("log");
    }
    let fetched = client.fetch_logs(to, "job", None).await.expect("logs");
    let blob = world
        .dir
        .path()
        .join("blobstore")
        .join(fetched.blobstore_id.expect("blob"));
    let content = fs_err::read(blob).expect("blob");
    assert_eq!(Digest::sha1(&content).to_string(), fetched.sha1);
    assert_eq!(names(&content), ["db/c.txt", "web/a.log", "web/old/b.log"]);

    let request = BundleLogs {
        log_type: "job,system".into(),
        filters: Some(vec!["web/*.log".into(), "syslog".into()]),
        owning_user: String::new(),
    };
    let bundle = client.bundle_logs(to, &request).await.expect("bundle");
    let content = fs_err::read(&bundle.logs_tar_path).expect("file");
    assert_eq!(names(&content), ["web/a.log", "var/log/syslog"]);
    client
        .remove_file(to, &bundle.logs_tar_path)
        .await
        .expect("remove");
    assert!(!std::path::Path::new(&bundle.logs_tar_path).exists());
    let error = client
        .fetch_logs(to, "nonsense", None)
        .await
        .expect_err("fails");
    assert!(
        error.to_string().ends_with("result: Invalid log type"),
        "{error}"
    );
}

#[tokio::test]
async fn ssh_users_come_and_go() {
    let world = World::start().await;
    let (client, to) = (&world.client, &world.to);
    let result = client
        .ssh_setup(to, "bosh_ab12", "ssh-rsa AAAA me")
        .await
        .expect("setup");
    assert_eq!(result.ip.as_deref(), Some("10.244.0.7"));
    assert_eq!(result.host_public_key.as_deref(), Some("dummy-public-key"));
    let keys = world.base().join("bosh/bosh_ab12/authorized_keys");
    assert_eq!(
        fs_err::read_to_string(&keys).expect("keys"),
        "ssh-rsa AAAA me"
    );
    client.ssh_cleanup(to, "^bosh_zz").await.expect("cleanup");
    assert!(keys.exists());
    client.ssh_cleanup(to, "^bosh_ab12").await.expect("cleanup");
    assert!(!keys.exists());
    let error = client
        .ssh_setup(to, "../root", "key")
        .await
        .expect_err("refused");
    assert!(
        error.to_string().contains("can't be the name of a user"),
        "{error}"
    );
}

#[tokio::test]
async fn newer_dns_records_replace_older_ones() {
    let world = World::start().await;
    let (client, to, base) = (&world.client, &world.to, world.base());
    let records = |version: u64, ip: &str| {
        json!({"version": version, "records": [[ip, "web-0.bosh"]], "record_keys": [], "record_infos": [], "aliases": {}}).to_string()
    };
    let sync = async |id: &str, version: u64, content: String| {
        let blob = world.blob(id, content.as_bytes());
        let digest = blob["sha1"].as_str().expect("digest");
        client.sync_dns(to, id, digest, version, DEADLINE).await
    };
    sync("dns-2", 2, records(2, "10.0.0.2"))
        .await
        .expect("synced");
    let hosts = || fs_err::read_to_string(base.join("bosh/etc_hosts")).expect("hosts");
    assert!(hosts().contains("\n10.0.0.2 web-0.bosh\n"), "{}", hosts());
    assert!(hosts().starts_with(&format!("127.0.0.1 localhost {}", super::harness::AGENT)));
    sync("dns-1", 1, records(1, "10.0.0.1"))
        .await
        .expect("an older one is ignored");
    assert!(hosts().contains("10.0.0.2"));
    let error = sync("dns-3", 4, records(3, "10.0.0.3"))
        .await
        .expect_err("wrong version");
    assert!(
        error
            .to_string()
            .contains("version from unpacked dns blob does not match version supplied by director"),
        "{error}"
    );
}

#[tokio::test]
async fn templates_may_come_in_a_message_instead_of_the_blobstore() {
    let world = World::start().await;
    let (client, to, base) = (&world.client, &world.to, world.base());
    let content = archive(&[
        ("web/monit", String::new()),
        ("web/config/a", "from a message".to_owned()),
    ]);
    let mut spec = world.spec("h1", &["web"], &[("web/monit", String::new())]);
    let mut blob = UploadBlob {
        blob_id: "in-a-message".into(),
        checksum: Digest::sha1(&content).to_string(),
        payload: base64::engine::general_purpose::STANDARD.encode(&content),
    };
    blob.payload.insert(20, '\n');
    client.upload_blob(to, &blob).await.expect("upload");
    let archive = spec.rendered_templates_archive.as_mut().expect("archive");
    archive.blobstore_id = blob.blob_id.clone();
    archive.sha1 = blob.checksum.clone();
    client.apply(to, &spec).await.expect("apply");
    let installed = fs_err::read_to_string(base.join("jobs/web/config/a")).expect("file");
    assert_eq!(installed, "from a message");
    assert!(
        !base.join("data/sensitive_blobs/in-a-message").exists(),
        "deleted after use"
    );
    blob.checksum = Digest::sha1("something else").to_string();
    let error = client.upload_blob(to, &blob).await.expect_err("corrupted");
    assert!(
        error
            .to_string()
            .contains("Payload corrupted. Checksum mismatch. Expected '"),
        "{error}"
    );
}
