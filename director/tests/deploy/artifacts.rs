//! Exports, snapshots, orphans and clean-ups, as recorded and beyond.

use bosun_director::cleanup;
use cpi::CreateDisk;
use serde_json::{Value as Json, json};

use crate::bench::Bench;
use crate::recorded::{self, Scenario};
use crate::replay::{self, Http, Plan, Replay};

/// A disk in the cloud that is an orphan, with two snapshots.
async fn orphan_disk(bench: &Bench, instance: &str, days: i32) -> String {
    let cpi = bench.services.cpis.get("").unwrap();
    let call = CreateDisk {
        size_mib: 2048,
        cloud_properties: json!({"kind": "slow"}),
        vm_cid: None,
        idempotency_key: None,
    };
    let cid = cpi.create_disk(call).await.unwrap();
    let mut sql = bench.sql().await.unwrap();
    let id: i64 = sqlx::query_scalar(
        "insert into orphan_disks (cid, size, az, deployment_name, instance_name, cloud_properties, orphaned_at)
         values ($1, 2048, 'z1', 'shop', $2, '{\"kind\": \"slow\"}', now() - $3 * interval '1 day') returning id",
    )
    .bind(cid.as_str())
    .bind(instance)
    .bind(days)
    .fetch_one(&mut sql)
    .await
    .unwrap();
    for _ in 0..2 {
        let call = cpi::SnapshotDisk {
            disk_cid: cid.clone(),
            metadata: Default::default(),
        };
        let snapshot = cpi.snapshot_disk(call).await.unwrap();
        sqlx::query("insert into orphan_snapshots (orphan_disk_id, cid, snapshot_created_at) values ($1, $2, now())")
            .bind(id)
            .bind(snapshot.as_str())
            .execute(&mut sql)
            .await
            .unwrap();
    }
    cid.into_string()
}

/// `engine` and `site` are compiled for the second stemcell.
async fn compiled(bench: &Bench) {
    sqlx::query(
        "insert into compiled_packages (package_id, stemcell_os, stemcell_version, dependency_key, dependency_key_sha1, build, blob_id, sha1)
         select id, 'demo-os', '2', '[]', 'x', 1, gen_random_uuid()::text, repeat('0', 40) from packages
         where name in ('engine', 'site') and id in (select package_id from release_version_packages
           where release_version_id = (select min(id) from release_versions)) order by name",
    )
    .execute(&mut bench.sql().await.unwrap())
    .await
    .unwrap();
}

/// What earlier scenarios left: four orphans of `db/0` and old DNS blobs.
async fn left_overs(replay: &Replay) {
    let instance = format!("db/{}", replay.ours("99cceb6d-3fd8-4795-817c-3459c1903b89"));
    for _ in 0..4 {
        orphan_disk(&replay.bench, &instance, 0).await;
    }
    // The newest is kept.
    sqlx::query("insert into local_dns_blobs (blob_id, sha1) select gen_random_uuid()::text, 'x' from generate_series(0, 41)")
        .execute(&mut replay.bench.sql().await.unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn exports_snapshots_and_clean_ups_go_as_recorded() {
    let scenario = Scenario::load("export-inspect-snapshots-cleanup");
    let manifest = scenario.file("shop.yml");
    let mut replay = Replay::with_deployment("export-inspect-snapshots-cleanup", "shop", manifest)
        .await
        .know("shop", &[("db", 0, "99cceb6d-3fd8-4795-817c-3459c1903b89")])
        .await;
    recorded::upload(&replay.bench, "2").await;
    compiled(&replay.bench).await;
    left_overs(&replay).await;
    // Each stop makes a snapshot.
    for action in ["stop", "start"].repeat(4) {
        let args = json!({"group": "db", "instance": "0", "action": action});
        replay.bench.succeed("update_instance", args).await;
    }
    let in_use = "in use by: shop, fragile, crash, cloudy, x";
    let plan = Plan {
        // Everything compiles but one package.
        before: &[(0, &|bench| bench.cloud.fail_package("crashpkg", true))],
        differs: &[
            (0, recorded::SHELL_SAYS, recorded::AGENT_SAYS),
            (18, in_use, "in use by: shop"),
            (19, in_use, "in use by: shop"),
            (
                23,
                "in use by: fragile, crash, cloudy, shop, x",
                "in use by: shop",
            ),
        ],
        left_out: &[
            (
                &[7],
                "the recorded blobstore has another form of ids; here any id may be asked for",
            ),
            (
                &[32, 33, 34, 35, 36, 37, 39, 42, 43],
                "list what was done in all scenarios before",
            ),
            (
                &[52, 53, 54],
                "are about a release and a stemcell that deployments of other scenarios use",
            ),
        ],
        others: &["cloudy", "crash", "fragile", "x"],
        ..Plan::default()
    };
    replay.hold(0..18, &plan).await;
    let left = replay.bench.cloud.world().snapshots.len();
    assert_eq!(left, 8, "those of the orphans");
    replay.hold(18..25, &plan).await;
    recorded::upload(&replay.bench, "2").await;
    replay.hold(25..32, &plan).await;
    assert!(replay.bench.cloud.world().snapshots.is_empty());
    // What a clean-up left is enough to deploy again.
    replay.bench.deployed(manifest).await;
    replay.hold(32..55, &plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn vms_are_deleted_by_cid_and_everything_after_them_as_recorded() {
    let scenario = Scenario::load("delete-vm-and-everything");
    let manifest = scenario.file("last.yml");
    let mut replay = Replay::with_deployment("delete-vm-and-everything", "last", manifest).await;
    replay.bind("config 20", "1");
    recorded::upload(&replay.bench, "2").await;
    // Both packages were compiled in earlier scenarios.
    let export = json!({
        "deployment_name": "last", "release_name": "wire-demo", "release_version": "1", "stemcell_os": "demo-os",
        "stemcell_version": "1", "sha2": true, "jobs": [{"name": "db"}, {"name": "web"}],
    });
    replay.bench.succeed("export_release", export).await;
    sqlx::query("delete from blobs where kind = 'exported-release'")
        .execute(&mut replay.bench.sql().await.unwrap())
        .await
        .unwrap();
    compiled(&replay.bench).await;
    let vm = replay.bench.cloud.vm_cids().pop().unwrap();
    let deleted = format!("\"result\":\"vm {vm} deleted\"");
    let plan = Plan {
        differs: &[
            (0, "13277", &vm),
            // The original's answer is what its CPI happened to say last.
            (0, "\"result\":\"true\"", &deleted),
        ],
        left_out: &[
            (
                &[3],
                "the recorded CPI deletes what is not there; one that says so is believed, see below",
            ),
            (&[14, 15], "are about a disk that another scenario made up"),
        ],
        only_one: &[(
            &[4],
            "snapshot_disk ",
            "the original stops jobs on a VM that was just made, which makes a snapshot",
        )],
        ..Plan::default()
    };
    replay.hold(0..4, &plan).await;
    assert!(replay.bench.cloud.vm_cids().is_empty());
    let answer = replay.http.call("DELETE", "/vms/unknown-vm", "").await;
    let ended = replay.bench.succeeded(answer.task.unwrap()).await;
    assert!(
        ended.events.iter().any(|line| line["type"] == "warning"
            && line["message"] == "VM unknown-vm does not exist. Deletion is skipped"),
        "{:?}",
        ended.events
    );
    // The missing VM is made again, with its disk.
    replay.hold(4..5, &plan).await;
    replay.bench.audit().await.unwrap();
    assert_eq!(replay.bench.cloud.vm_cids().len(), 1);
    replay.hold(5..17, &plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn disks_are_orphaned_attached_and_deleted_as_recorded() {
    let before = Scenario::load("scale");
    let mut replay = Replay::with_deployment("disk-resize", "shop", before.file("down.yml")).await;
    let plan = Plan {
        only_one: &[(
            &[10, 11],
            "Updating instance [\"web\"]",
            "the original also restarts instances that have no disk",
        )],
        ..Plan::default()
    };
    replay.hold(0..10, &plan).await;
    let deleted = replay.ours("a8c1f5363f199561d4d3326571a7dfd1");
    assert!(!replay.bench.cloud.disk_cids().contains(&deleted));
    let of_deleted = |of: &String| *of == deleted;
    assert!(
        !replay
            .bench
            .cloud
            .world()
            .snapshots
            .values()
            .any(of_deleted)
    );
    replay.hold(10..12, &plan).await;
    let mut sql = replay.bench.sql().await.unwrap();
    let (disk, uuid): (String, String) = sqlx::query_as(
        "select d.cid, i.uuid from persistent_disks d join instances i on i.id = d.instance_id where d.active",
    )
    .fetch_one(&mut sql)
    .await
    .unwrap();
    replay.bind("f411f0f705cb665d4f0a651d001e08e9", &disk);
    replay.bench.cloud.write_disk(&disk, "orders");
    replay.hold(12..20, &plan).await;
    assert_eq!(replay.bench.cloud.world().disks[&disk].data, ["orders"]);
    replay.bench.audit().await.unwrap();

    // Stopped with its VM: the old disk leaves, one that nobody knew enters, and the next deploy makes it the
    // size that is wanted and moves the data.
    let bench = &replay.bench;
    let stop = json!({"group": "db", "instance": "0", "action": "stop"});
    bench.succeed("update_instance", stop.clone()).await;
    let call = CreateDisk {
        size_mib: 512,
        cloud_properties: json!({}),
        vm_cid: None,
        idempotency_key: None,
    };
    let cpi = bench.services.cpis.get("").unwrap();
    let foreign = cpi.create_disk(call).await.unwrap();
    bench.cloud.write_disk(foreign.as_str(), "found");
    let path = format!("/disks/{foreign}/attachments?deployment=shop&job=db&instance_id={uuid}");
    let answer = replay.http.call("PUT", &path, "").await;
    bench.succeeded(answer.task.unwrap()).await;
    {
        let world = bench.cloud.world();
        assert!(world.disks[foreign.as_str()].attached_to.is_some());
        assert!(world.disks[&disk].attached_to.is_none());
    }
    let start = json!({"group": "db", "instance": "0", "action": "start"});
    bench.succeed("update_instance", start).await;
    bench.deployed(replay.scenario.file("large.yml")).await;
    let now: String = sqlx::query_scalar("select cid from persistent_disks where active")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert!(now != foreign.as_str() && now != disk);
    assert_eq!(bench.cloud.world().disks[&now].data, ["found"]);

    // A disk that can't be attached changes nothing.
    bench.succeed("update_instance", stop).await;
    let path = format!("/disks/nowhere/attachments?deployment=shop&job=db&instance_id={uuid}");
    let answer = replay.http.call("PUT", &path, "").await;
    let ended = bench.ended(answer.task.unwrap()).await.unwrap();
    assert_eq!(ended.task.state, "error");
    let held: String = sqlx::query_scalar("select cid from persistent_disks where active")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert_eq!(held, now);
    replay.finish().await;
}

#[tokio::test]
async fn the_schedule_deletes_disks_only_after_their_days_and_vms_at_once() {
    let bench = replay::bench("shop").await;
    let (young, old) = (
        orphan_disk(&bench, "db/1", 4).await,
        orphan_disk(&bench, "db/1", 6).await,
    );
    bench.cloud.break_next(
        "delete_snapshot",
        1,
        test_support::Fault::Error {
            kind: cpi::FaultKind::CloudError,
            message: "busy".into(),
            ok_to_retry: false,
        },
    );
    let failed = bench
        .run("scheduled_orphaned_disk_cleanup", json!({}))
        .await
        .unwrap();
    assert_eq!(failed.task.state, "error");
    assert!(
        failed
            .task
            .result
            .as_deref()
            .unwrap()
            .contains("Failed to delete 1 disk(s)."),
        "{:?}",
        failed.task.result
    );
    assert!(
        bench.cloud.disk_cids().contains(&old),
        "its snapshots come first"
    );
    let done = bench
        .succeed("scheduled_orphaned_disk_cleanup", json!({}))
        .await;
    assert_eq!(
        done.lines("finished"),
        [format!("Deleting orphan disks: {old}")]
    );
    assert_eq!(bench.cloud.disk_cids(), [young]);
    let mut sql = bench.sql().await.unwrap();
    sqlx::query(
        "with vm as (insert into orphan_vms (cid, agent_id, deployment_name, instance_name, ip_addresses)
                     values ('gone', 'agent', 'shop', 'db/1', '{10.0.1.9}') returning id)
         insert into ip_addresses (address, network_name, orphan_vm_id) select '10.0.1.9', 'private', id from vm",
    )
    .execute(&mut sql)
    .await
    .unwrap();
    bench
        .succeed("scheduled_orphaned_vm_cleanup", json!({}))
        .await;
    let held: i64 = sqlx::query_scalar("select count(*) from ip_addresses")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert_eq!(held, 0, "a VM that is gone holds no address");
    let left = cleanup::plan(&bench.services, cleanup::Config::default())
        .await
        .unwrap();
    assert!(left.orphaned_vms.is_empty());
    bench.finish().await;
}

#[tokio::test]
async fn an_exported_release_deploys_elsewhere_without_compiling() {
    let scenario = Scenario::load("first-deploy");
    let bench = replay::bench("shop").await;
    let http = Http::of(&bench).await;
    bench.deployed(scenario.file("shop.yml")).await;
    let body = json!({
        "deployment_name": "shop", "release_name": "wire-demo", "release_version": "1",
        "stemcell_os": "demo-os", "stemcell_version": "1", "sha2": false, "jobs": [],
    });
    let answer = http
        .call("POST", "/releases/export", &body.to_string())
        .await;
    let id = answer.task.unwrap();
    bench.succeeded(id).await;
    let line: Json = serde_json::from_slice(&bench.output(id, "result").await.unwrap()).unwrap();
    let blob = domain::BlobId::new(line["blobstore_id"].as_str().unwrap());
    let bytes = bench.services.blobs.get_bytes(&blob, None).await.unwrap();
    assert_eq!(line["sha1"], domain::Digest::sha1(&bytes).hex());
    let mut tarball = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let names: Vec<String> = tarball
        .entries()
        .unwrap()
        .map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned())
        .collect();
    assert_eq!(names[..3], ["./release.MF", "./jobs/", "./jobs/banner.tgz"]);
    assert!(names.contains(&"./compiled_packages/engine.tgz".to_owned()));

    let other = replay::bench("shop").await;
    let mut sql = other.sql().await.unwrap();
    // Nothing of the source release is there.
    for table in ["release_versions", "packages", "jobs", "releases"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("delete from {table}")))
            .execute(&mut sql)
            .await
            .unwrap();
    }
    let tarball = other.services.settings.data_dir.join("compiled.tgz");
    fs_err::write(&tarball, &bytes).unwrap();
    let uploaded = other
        .succeed("update_release", json!({"path": tarball}))
        .await;
    assert!(
        uploaded
            .stages()
            .contains(&"Compiled Release has been created".to_owned())
    );
    let deployed = other.deployed(scenario.file("shop.yml")).await;
    assert!(!deployed.stages().contains(&"Compiling packages".to_owned()));
    let blob_path = |id: &str| format!("/packages/blobs/{id}");
    let compiled: String = sqlx::query_scalar("select blob_id from compiled_packages limit 1")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    let answer = Http::of(&other)
        .await
        .call("GET", &blob_path(&compiled), "")
        .await;
    assert_eq!(answer.status, 200);
    bench.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn a_clean_up_keeps_the_newest_two_unused_and_what_runtime_configs_name() {
    let bench = Bench::empty("bench", "none").await.unwrap();
    let mut sql = bench.sql().await.unwrap();
    let release: i64 =
        sqlx::query_scalar("insert into releases (name) values ('logs') returning id")
            .fetch_one(&mut sql)
            .await
            .unwrap();
    for version in ["1", "2", "3", "9", "10"] {
        sqlx::query("insert into release_versions (release_id, version, update_completed) values ($1, $2, true)")
            .bind(release)
            .bind(version)
            .execute(&mut sql)
            .await
            .unwrap();
        sqlx::query("insert into stemcells (name, version, operating_system, cid) values ('s', $1, 'os', $1)")
            .bind(format!("1.{version}"))
            .execute(&mut sql)
            .await
            .unwrap();
        bench.cloud.add_stemcell(&format!("1.{version}"));
    }
    sqlx::query("insert into configs (type, name, content) values ('runtime', 'x', 'releases: [{name: logs, version: 2}]')")
        .execute(&mut sql)
        .await
        .unwrap();
    let config = cleanup::Config::default();
    let plan = cleanup::plan(&bench.services, config).await.unwrap();
    let versions = ["1".to_owned(), "3".to_owned()];
    assert_eq!(plan.releases, [("logs".to_owned(), versions.to_vec())]);
    let stemcells: Vec<&str> = plan
        .stemcells
        .iter()
        .map(|row| row.version.as_str())
        .collect();
    assert_eq!(stemcells, ["1.1", "1.2", "1.3"]);
    let ended = bench.run("delete_artifacts", json!(config)).await.unwrap();
    let result = ended.done().unwrap().task.result.unwrap();
    assert!(
        result.starts_with("Deleted 2 release(s), 3 stemcell(s), 0 extra compiled package(s), 0 orphaned disk(s), 0 orphaned vm(s), 0 exported release(s), Deleted 0 dns blob(s) created before 20"),
        "{result}"
    );
    let left: Vec<String> = sqlx::query_scalar("select version from release_versions order by id")
        .fetch_all(&mut sql)
        .await
        .unwrap();
    assert_eq!(left, ["2", "9", "10"]);
    assert_eq!(bench.cloud.world().stemcells.len(), 2);
    bench.finish().await;
}
