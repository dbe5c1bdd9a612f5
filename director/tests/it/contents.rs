//! Releases inside of one director process: take-over in the middle of an upload, refusals, compiled releases, and
//! rendering with remembered hashes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use blobstore::{Blobstore, ByteStream, Method, Object};
use bosun_director::render::{self, Rendered};
use bosun_director::services::Services;
use bosun_director::store::{deployments, instances, releases};
use bosun_director::tasks::{self, Engine, NewTask, Options, Task};
use domain::{BlobId, Digest};
use planner::{JobRef, Placement, RenderInstance};
use release_archive::ReleaseManifest;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::recorded_uploads::{Assets, lines};
use crate::support::{Environment, wait_for};

/// A blobstore that never ends its n-th write.
struct Stuck {
    inner: Arc<dyn Blobstore>,
    left: AtomicUsize,
    stuck: Notify,
}

#[async_trait]
impl Blobstore for Stuck {
    async fn put(
        &self,
        id: &BlobId,
        size: Option<u64>,
        content: ByteStream,
    ) -> Result<(), blobstore::Error> {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.stuck.notify_one();
            std::future::pending::<()>().await;
        }
        self.inner.put(id, size, content).await
    }
    async fn get(&self, id: &BlobId) -> Result<Object, blobstore::Error> {
        self.inner.get(id).await
    }
    async fn exists(&self, id: &BlobId) -> Result<bool, blobstore::Error> {
        self.inner.exists(id).await
    }
    async fn delete(&self, id: &BlobId) -> Result<(), blobstore::Error> {
        self.inner.delete(id).await
    }
    fn signed_url(&self, method: Method, id: &BlobId, expiry: Duration) -> Option<String> {
        self.inner.signed_url(method, id, expiry)
    }
    fn agent_settings(&self, signed: bool) -> Value {
        self.inner.agent_settings(signed)
    }
}

/// The process that the tasks of a data folder are run by.
async fn engine(services: &Arc<Services>, process: u32) -> anyhow::Result<Engine> {
    let owner = format!("{}#{process}", services.instance);
    Ok(Engine::start(
        services.clone(),
        Options::new(2, services.instance.clone(), owner.into()),
    )
    .await?)
}

async fn upload(
    services: &Services,
    environment: &Environment,
    tarball: &Path,
    more: Value,
) -> anyhow::Result<Task> {
    let received = environment.path(&format!("upload-{}", uuid::Uuid::new_v4()));
    std::fs::copy(tarball, &received)?;
    let mut args = json!({"path": received, "sha1": null});
    for (key, value) in more.as_object().into_iter().flatten() {
        args[key] = value.clone();
    }
    let new = NewTask {
        kind: "update_release".into(),
        description: "create release".into(),
        user: "test".into(),
        args,
        pinned_to: Some(services.instance.clone()),
        ..NewTask::default()
    };
    Ok(tasks::enqueue(&services.store, new).await?)
}

async fn ended(services: &Services, task: &Task) -> anyhow::Result<(Task, Vec<Value>)> {
    wait_for("the task ends", || async {
        let task = services.store.find_task(task.id).await;
        matches!(task, Ok(Some(task)) if !matches!(task.state.as_str(), "queued" | "processing" | "cancelling"))
    })
    .await?;
    let ended = services
        .store
        .find_task(task.id)
        .await?
        .expect("it is there");
    let size = services
        .store
        .output_size(task.id, "event")
        .await?
        .unwrap_or(0);
    let events = services
        .store
        .read_output(task.id, "event", 0, size)
        .await?;
    Ok((ended, lines(&String::from_utf8(events)?)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_cut_off_in_the_middle_goes_on_and_leaves_nothing_twice() -> anyhow::Result<()> {
    let assets = Assets::build().await?;
    // In the middle of the four packages, and of the seven jobs after them.
    for cut in [3, 8] {
        let environment = Environment::new().await?;
        let mut services =
            Arc::into_inner(environment.services().await?).expect("nobody else has it");
        let stuck = Arc::new(Stuck {
            inner: services.blobs.clone(),
            left: AtomicUsize::new(cut),
            stuck: Notify::new(),
        });
        services.blobs = stuck.clone();
        let first_services = Arc::new(services);
        let first = engine(&first_services, 1).await?;
        let task = upload(
            &first_services,
            &environment,
            &assets.path("wire-demo-1.tgz"),
            json!({}),
        )
        .await?;
        tokio::time::timeout(Duration::from_secs(20), stuck.stuck.notified()).await?;
        first.abandon();

        let services = environment.services().await?;
        let second = engine(&services, 2).await?;
        let (task, events) = ended(&services, &task).await?;
        assert_eq!(
            (task.state.as_str(), task.result.as_deref()),
            ("done", Some("Created release 'wire-demo/1'"))
        );
        let mut started: Vec<String> = Vec::new();
        for line in events.iter().filter(|line| line["state"] == "started") {
            started.push(format!("{} {}", line["stage"], line["task"]));
        }
        let shown = started.len();
        started.sort();
        started.dedup();
        assert_eq!(
            started.len(),
            shown,
            "cut at {cut}: nothing is shown as started twice"
        );

        let db = services.store.pool();
        let version = releases::find_version(db, "wire-demo", &["1".into()])
            .await?
            .expect("it is there");
        assert!(version.update_completed);
        let packages = releases::packages_of(db, version.id).await?;
        let jobs = releases::jobs_of(db, version.id).await?;
        let mut blobs: Vec<String> = packages
            .iter()
            .filter_map(|package| package.blob_id.clone())
            .collect();
        blobs.extend(jobs.iter().map(|job| job.blob_id.clone()));
        assert_eq!(
            (packages.len(), jobs.len(), blobs.len()),
            (4, 7, 11),
            "cut at {cut}"
        );
        let mut stored: Vec<String> = std::fs::read_dir(environment.path("data/blobs"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        stored.sort();
        blobs.sort();
        assert_eq!(
            stored, blobs,
            "cut at {cut}: no blob too many, none too few"
        );
        second.shutdown(Duration::from_secs(5)).await;
    }
    Ok(())
}

fn tarball(
    folder: &Path,
    manifest: &ReleaseManifest,
    archives: &[(&str, Vec<u8>)],
) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{}.tar", uuid::Uuid::new_v4()));
    let mut tar = release_archive::tarball::Writer::new(std::fs::File::create(&path)?);
    tar.file("release.MF", 0o644, manifest.to_yaml().as_bytes())?;
    for (name, content) in archives {
        tar.file(name, 0o644, content)?;
    }
    tar.finish()?;
    Ok(path)
}

/// Paths in an archive with their contents.
type Files = Vec<(String, Vec<u8>)>;

/// `name/version` of each package with its dependencies, compiled for `os/1`; no jobs.
fn compiled(
    version: &str,
    packages: &[(&str, &[&str])],
) -> anyhow::Result<(ReleaseManifest, Files)> {
    let mut yaml = format!(
        "name: comp\nversion: '{version}'\ncommit_hash: c\nuncommitted_changes: false\ncompiled_packages:\n"
    );
    let mut archives = Vec::new();
    for (name, dependencies) in packages {
        let mut tar = release_archive::tarball::Writer::new(Vec::new());
        tar.file("bin", 0o755, name.as_bytes())?;
        let archive = tar.finish()?;
        yaml += &format!(
            "- {{name: {name}, version: {name}f, fingerprint: {name}f, sha1: '{}', stemcell: os/1, dependencies: [{}]}}\n",
            Digest::sha256(&archive),
            dependencies.join(", ")
        );
        archives.push((format!("compiled_packages/{name}.tgz"), archive));
    }
    let manifest = ReleaseManifest::parse(&yaml).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok((manifest, archives))
}

fn refusal(events: &[Value]) -> (u64, String) {
    let error = &events.last().expect("a line")["error"];
    (
        error["code"].as_u64().unwrap_or_default(),
        error["message"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_releases_are_taken_in_and_contradictions_refused() -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let services = environment.services().await?;
    let running = engine(&services, 1).await?;
    let folder = environment.folder.path();
    let run = async |manifest: &ReleaseManifest, archives: &[(String, Vec<u8>)]| {
        let archives: Vec<_> = archives
            .iter()
            .map(|(name, content)| (name.as_str(), content.clone()))
            .collect();
        let path = tarball(folder, manifest, &archives)?;
        let task = upload(&services, &environment, &path, json!({})).await?;
        ended(&services, &task).await
    };

    let (manifest, archives) = compiled("1", &[("app", &["libs"]), ("libs", &[])])?;
    assert!(
        bosun_director::releases::matches_compiled(&services, &manifest.to_yaml())
            .await?
            .is_empty()
    );
    let (task, events) = run(&manifest, &archives).await?;
    assert_eq!(
        task.result.as_deref(),
        Some("Created release 'comp/1'"),
        "{events:#?}"
    );
    let mut stages: Vec<&str> = events
        .iter()
        .filter_map(|line| line["stage"].as_str())
        .collect();
    stages.dedup();
    assert_eq!(
        stages[3..],
        [
            "Creating new packages",
            "Creating new compiled packages",
            "Compiled Release has been created"
        ]
    );
    assert!(
        events
            .iter()
            .any(|line| line["task"] == "app/appf for os/1"),
        "{events:#?}"
    );
    let shown = bosun_director::releases::inspect(&services, "comp", "1").await?;
    assert_eq!(shown["packages"][0]["blobstore_id"], Value::Null);
    assert_eq!(
        shown["packages"][0]["compiled_packages"][0]["stemcell"],
        "os/1"
    );
    let known = bosun_director::releases::matches_compiled(&services, &manifest.to_yaml()).await?;
    assert_eq!(known, ["appf", "libsf"]);

    // Another version of it brings nothing new; its archives need not be sent.
    let (again, _) = compiled("2", &[("app", &["libs"]), ("libs", &[])])?;
    let (task, events) = run(&again, &[]).await?;
    assert_eq!(
        task.result.as_deref(),
        Some("Created release 'comp/2'"),
        "{events:#?}"
    );

    let mut other_commit = manifest.clone();
    other_commit.commit_hash = Some("d".into());
    let (_, events) = run(&other_commit, &archives).await?;
    let text = "release 'comp/1' has already been uploaded with commit_hash as 'c' and uncommitted_changes as 'false'";
    assert_eq!(refusal(&events), (30014, text.into()));

    let mut other_content = manifest.clone();
    let packages = other_content.compiled_packages.as_mut().expect("compiled");
    packages[0].package.fingerprint = "other".into();
    packages[0].package.version = "other".into();
    let (_, events) = run(&other_content, &archives).await?;
    let (code, text) = refusal(&events);
    assert_eq!(code, 30012);
    assert!(
        text.starts_with(
            "package 'app' had different fingerprint in previously uploaded release 'comp/1'"
        ),
        "{text}"
    );

    let (mut other_dependencies, archives) = compiled("3", &[("app", &[]), ("libs", &[])])?;
    let (_, events) = run(&other_dependencies, &archives).await?;
    let text = "The uploaded release contains package dependencies in 'app' that do not match database records.";
    assert_eq!(refusal(&events), (30016, text.into()));

    other_dependencies.name = "fresh".into();
    let damaged: Vec<_> = archives
        .iter()
        .map(|(name, _)| (name.clone(), b"damaged".to_vec()))
        .collect();
    let (mut new, _) = compiled("1", &[("tool", &[])])?;
    new.name = "fresh".into();
    let (_, events) = run(&new, &damaged).await?;
    let text = "Extracting package 'tool/toolf' archive failed. Check task debug log for details.";
    assert_eq!(refusal(&events), (60000, text.into()));
    running.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

fn placement() -> Placement {
    Placement {
        deployment: "shop".into(),
        groups: Vec::new(),
        obsolete: Vec::new(),
        packages: Vec::new(),
        provided: Vec::new(),
        tags: Default::default(),
        warnings: Vec::new(),
        deprecations: Vec::new(),
        dns: None,
        features: Default::default(),
        root_domain: "bosh".into(),
    }
}

/// An instance of the group with these jobs of `wire-demo/1`, and their properties.
async fn instance(
    services: &Services,
    group: &str,
    uuid: &str,
    properties: Value,
) -> anyhow::Result<RenderInstance> {
    let db = services.store.pool();
    let version = releases::find_version(db, "wire-demo", &["1".into()])
        .await?
        .expect("it is there");
    let jobs = releases::jobs_of(db, version.id).await?;
    let of_name = |name: &String| {
        jobs.iter()
            .find(|job| job.name == *name)
            .expect("a job of the release")
    };
    let names: Vec<String> = properties
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys().cloned())
        .collect();
    Ok(RenderInstance {
        group: group.into(),
        uuid: uuid.into(),
        context: json!({
            "deployment": "shop", "name": group, "job": {"name": group}, "index": 0, "id": uuid,
            "properties": properties, "properties_need_filtering": true, "links": {},
        }),
        dns: Value::Null,
        jobs: names
            .iter()
            .map(of_name)
            .map(|job| JobRef {
                name: job.name.as_str().into(),
                release: "wire-demo".into(),
                release_version: "1".into(),
                version: job.fingerprint.clone(),
                sha1: job.sha1.clone(),
                blobstore_id: job.blob_id.as_str().into(),
                logs: json!([]),
            })
            .collect(),
    })
}

/// The archive's files by name.
async fn files(rendered: &Rendered, uuid: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let archive = rendered
        .archive(&uuid.into())
        .await?
        .expect("it was rendered");
    let files = release_archive::tarball::read_files(&archive[..])?;
    Ok(files
        .into_iter()
        .map(|(name, content)| (name, String::from_utf8_lossy(&content).into_owned()))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_instances_are_not_rendered_again_and_errors_are_gathered() -> anyhow::Result<()>
{
    let environment = Environment::new().await?;
    let services = environment.services().await?;
    let running = engine(&services, 1).await?;
    let assets = Assets::build().await?;
    let task = upload(
        &services,
        &environment,
        &assets.path("wire-demo-1.tgz"),
        json!({}),
    )
    .await?;
    assert_eq!(ended(&services, &task).await?.0.state, "done");
    running.shutdown(Duration::from_secs(5)).await;

    let db = services.store.pool();
    let deployment = deployments::ensure(db, "shop", "shop", &[]).await?;
    let row = instances::NewInstance {
        deployment_id: deployment.id,
        group_name: "web",
        index: 0,
        uuid: "u-1",
        az: None,
        state: "started",
        lifecycle: "service",
        bootstrap: true,
        compilation: false,
    };
    instances::ensure(db, &row).await?;
    let banner = |text: &str| json!({"banner": {"text": text}});
    let input = instance(&services, "web", "u-1", banner("hi")).await?;
    let first = render::render(&services, &placement(), [input.clone()], true).await?;
    assert_eq!(
        files(&first, "u-1").await?["banner/config/banner.txt"],
        "hi on shop/web\n"
    );
    assert_eq!(services.renderer.idle_workers(), 1);

    // Another director, later: the same input needs no Ruby until somebody wants the files.
    let later = environment.services().await?;
    let second = render::render(&later, &placement(), [input.clone()], true).await?;
    assert_eq!(second.hashes(), first.hashes());
    assert_eq!(later.renderer.idle_workers(), 0);
    assert_eq!(files(&second, "u-1").await?, files(&first, "u-1").await?);
    assert_eq!(later.renderer.idle_workers(), 1);
    let changed = instance(&services, "web", "u-1", banner("changed")).await?;
    let third = render::render(&later, &placement(), [changed], false).await?;
    assert_ne!(third.hashes(), first.hashes());

    let failing = [
        instance(
            &services,
            "a",
            "u-2",
            json!({"banner": {"text": "x"}, "fussy": {"needed": null, "fail_start": false}}),
        )
        .await?,
        instance(&services, "b", "u-3", banner("fine")).await?,
        instance(
            &services,
            "c",
            "u-4",
            json!({"fussy": {"needed": 1, "fail_render": true, "fail_start": false}}),
        )
        .await?,
        instance(
            &services,
            "c",
            "u-5",
            json!({"fussy": {"needed": null, "fail_start": false}}),
        )
        .await?,
    ];
    let error = render::render(&later, &placement(), failing, true)
        .await
        .err()
        .expect("it fails");
    assert_eq!(
        error.message,
        "Unable to render instance groups for deployment. Errors are:\n  \
         - Unable to render jobs for instance group 'a'. Errors are:\n    \
         - Unable to render templates for job 'fussy'. Errors are:\n      \
         - Error filling in template 'fussy.yml.erb' (line 1: Can't find property '[\"needed\"]')\n  \
         - Unable to render jobs for instance group 'c'. Errors are:\n    \
         - Unable to render templates for job 'fussy'. Errors are:\n      \
         - Error filling in template 'fussy.yml.erb' (line 2: told to fail)"
    );
    Ok(())
}
