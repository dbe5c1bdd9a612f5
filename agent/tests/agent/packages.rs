//! Compiling packages from blob to blob and from URL to URL, and installing what came out.

use std::collections::BTreeMap;

use agent_protocol::{
    AgentClient, CompilePackage, CompilePackageWithSignedUrl, Dependency, DependencyWithSignedUrl,
    FetchLogsWithSignedUrl, PackageSpec,
};
use domain::{Digest, MultiDigest};
use serde_json::json;

use super::harness::{World, archive};
use super::https::{self, Blobs};

fn engine() -> Vec<u8> {
    archive(&[
        (
            "packaging",
            "set -e\nmkdir -p $BOSH_INSTALL_TARGET/lib\ncp engine.txt $BOSH_INSTALL_TARGET/lib/\n"
                .to_owned(),
        ),
        ("engine.txt", "engine\n".to_owned()),
    ])
}

fn site(base: &std::path::Path) -> Vec<u8> {
    let packaging = format!(
        "set -e\n[ $BOSH_PACKAGE_NAME = site ]\ncat {}/packages/engine/lib/engine.txt > $BOSH_INSTALL_TARGET/site.txt\necho $BOSH_PACKAGE_VERSION >> $BOSH_INSTALL_TARGET/site.txt\n",
        base.display()
    );
    archive(&[("packaging", packaging)])
}

#[tokio::test]
async fn packages_are_compiled_with_their_dependencies_and_installed() {
    let world = World::start().await;
    let (client, to, base) = (&world.client, &world.to, world.base());
    let source = world.blob("engine-source", &engine());
    let mut request = CompilePackage {
        blobstore_id: "engine-source".into(),
        digest: source["sha1"].as_str().expect("digest").into(),
        name: "engine".into(),
        version: "v1.1".into(),
        deps: BTreeMap::new(),
    };
    let engine = client.compile_package(to, &request).await.expect("compile");
    let source = world.blob("site-source", &site(&base));
    request.blobstore_id = "site-source".into();
    request.digest = source["sha1"].as_str().expect("digest").into();
    request.name = "site".into();
    request.version = "v7.1".into();
    let id = engine.blobstore_id.expect("blob");
    let dependency = Dependency {
        name: "engine".into(),
        version: "v1.1".into(),
        sha1: engine.sha1,
        blobstore_id: id,
    };
    request.deps.insert("engine".into(), dependency);
    let site = client.compile_package(to, &request).await.expect("compile");
    assert!(
        !base.join("packages/engine").exists(),
        "a compilation leaves nothing installed"
    );

    let mut spec = world.spec("h1", &["web"], &[("web/monit", String::new())]);
    let package = PackageSpec {
        name: "site".into(),
        version: "v7.1".into(),
        sha1: site.sha1,
        blobstore_id: site.blobstore_id.expect("blob"),
        ..PackageSpec::default()
    };
    spec.packages = Some(BTreeMap::from([("site".into(), package)]));
    client.apply(to, &spec).await.expect("apply");
    let text = |path: &str| fs_err::read_to_string(base.join(path)).expect("file");
    assert_eq!(text("packages/site/site.txt"), "engine\nv7.1\n");
    assert_eq!(text("jobs/web/packages/site/site.txt"), "engine\nv7.1\n");

    // The next spec doesn't want it any more.
    spec.packages = Some(BTreeMap::new());
    spec.configuration_hash = Some("h2".into());
    client.apply(to, &spec).await.expect("apply");
    assert!(!base.join("packages/site").exists());
    assert!(!base.join("data/packages/site").exists());
    assert!(!base.join("jobs/web/packages/site").exists());
}

#[tokio::test]
async fn a_package_that_does_not_compile_shows_its_output() {
    let world = World::start().await;
    let source = world.blob(
        "crash",
        &archive(&[("packaging", "echo no such header; exit 3\n".to_owned())]),
    );
    let request = CompilePackage {
        blobstore_id: "crash".into(),
        digest: source["sha1"].as_str().expect("digest").into(),
        name: "crash".into(),
        version: "v1.1".into(),
        deps: BTreeMap::new(),
    };
    let error = world
        .client
        .compile_package(&world.to, &request)
        .await
        .expect_err("fails");
    assert!(
        error.to_string().ends_with(
            " result: Compiling package crash: Running packaging script: Running packaging script: Command exited with 3; \
             Stdout: no such header\n, Stderr: + echo no such header\n+ exit 3\n"
        ),
        "{error}"
    );
    let mut wrong = request.clone();
    wrong.digest = format!("sha256:{}", "0".repeat(64));
    let error = world
        .client
        .compile_package(&world.to, &wrong)
        .await
        .expect_err("fails");
    assert!(
        error
            .to_string()
            .contains("Expected stream to have digest 'sha256:000"),
        "{error}"
    );
}

#[tokio::test]
async fn signed_urls_over_tls_carry_sources_packages_and_logs() {
    // The CA of signed URLs comes with the settings, so the server's must be made first.
    let (ca, _) = pki::Ca::generate(pki::Subject::common_name("blob CA")).expect("CA");
    let blobstore = json!({"provider": "", "options": {"tls": {"cert": {"ca": ca.certificate()}}}});
    let world = World::start_with(json!({"blobstore": blobstore})).await;
    let blobs = Blobs::default();
    let url = https::serve(&ca, blobs.clone()).await;
    let signed = |id: &str| format!("{url}/{id}?signature=good");
    let put = |id: &str, content: Vec<u8>| {
        let digest = Digest::sha256(&content).to_string();
        blobs.lock().expect("lock").insert(id.to_owned(), content);
        digest
    };
    let mut request = CompilePackageWithSignedUrl {
        package_get_signed_url: signed("engine-source"),
        upload_signed_url: signed("engine"),
        digest: put("engine-source", engine()),
        name: "engine".into(),
        version: "v1.1".into(),
        ..CompilePackageWithSignedUrl::default()
    };
    let (client, to) = (&world.client, &world.to);
    let engine = client
        .compile_package_with_signed_url(to, &request)
        .await
        .expect("compile");
    let compiled = blobs
        .lock()
        .expect("lock")
        .get("engine")
        .cloned()
        .expect("uploaded");
    MultiDigest::parse(&engine.sha1)
        .expect("digest")
        .verify(compiled.as_slice())
        .expect("matches");
    assert!(engine.sha1.contains(";sha512:"));

    request.package_get_signed_url = signed("site-source");
    request.upload_signed_url = signed("site");
    request.digest = put("site-source", site(&world.base()));
    request.name = "site".into();
    let dependency = DependencyWithSignedUrl {
        name: "engine".into(),
        version: "v1.1".into(),
        sha1: engine.sha1,
        package_get_signed_url: signed("engine"),
        ..DependencyWithSignedUrl::default()
    };
    request.deps.insert("engine".into(), dependency);
    let site = client
        .compile_package_with_signed_url(to, &request)
        .await
        .expect("compile");
    assert!(!site.sha1.is_empty());

    request.upload_signed_url = format!("{url}/site?signature=bad");
    let error = client
        .compile_package_with_signed_url(to, &request)
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("status 403"), "{error}");
    assert!(!error.to_string().contains("signature"), "{error}");

    fs_err::create_dir_all(world.base().join("sys/log/web")).expect("directory");
    fs_err::write(world.base().join("sys/log/web/web.log"), "a line\n").expect("log");
    let logs = FetchLogsWithSignedUrl {
        signed_url: signed("logs"),
        log_type: "job".into(),
        filters: Some(vec!["web/*.log".into()]),
        ..FetchLogsWithSignedUrl::default()
    };
    let fetched = client
        .fetch_logs_with_signed_url(to, &logs)
        .await
        .expect("logs");
    let content = blobs
        .lock()
        .expect("lock")
        .get("logs")
        .cloned()
        .expect("uploaded");
    MultiDigest::parse(&fetched.sha1)
        .expect("digest")
        .verify(content.as_slice())
        .expect("matches");
}
