//! Exports, snapshots, orphans and clean-ups, as recorded and beyond.

use bosun_director::cleanup;
use cpi::CreateDisk;
use serde_json::{Value as Json, json};

use crate::bench::Bench;
use crate::recorded::{Scenario, bench_with, upload};
use crate::replay::{self, Http};

fn steps(scenario: &Scenario) -> &[Json] {
    scenario.0["steps"].as_array().unwrap()
}

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

/// `engine` and `site` compiled for the second stemcell, and old DNS blobs: what earlier scenarios left.
async fn left_overs(bench: &Bench) {
    let mut sql = bench.sql().await.unwrap();
    sqlx::query(
        "insert into compiled_packages (package_id, stemcell_os, stemcell_version, dependency_key, dependency_key_sha1, build, blob_id, sha1)
         select id, 'demo-os', '2', '[]', 'x', 1, gen_random_uuid()::text, repeat('0', 40) from packages
         where name in ('engine', 'site') and id in (select package_id from release_version_packages
           where release_version_id = (select min(id) from release_versions)) order by name",
    )
    .execute(&mut sql)
    .await
    .unwrap();
    sqlx::query("insert into local_dns_blobs (blob_id, sha1) select gen_random_uuid()::text, 'x' from generate_series(1, 3)")
        .execute(&mut sql)
        .await
        .unwrap();
}

#[tokio::test]
async fn exports_snapshots_and_clean_ups_go_as_recorded() {
    let scenario = Scenario::load("export-inspect-snapshots-cleanup");
    let bench = bench_with("shop", &replay::settings()).await;
    let http = Http::of(&bench).await;
    upload(&bench, "2").await;
    bench
        .deploy(scenario.file("shop.yml"))
        .await
        .unwrap()
        .done()
        .unwrap();
    for action in ["stop", "start"] {
        let args = json!({"group": "db", "instance": "0", "action": action});
        bench
            .run("update_instance", args)
            .await
            .unwrap()
            .done()
            .unwrap();
    }
    let steps = steps(&scenario);
    left_overs(&bench).await;
    // Everything compiles but one package.
    bench.cloud.fail_package("crashpkg", true);
    for at in [0, 1, 2, 3, 4, 8, 9, 10, 11, 13] {
        http.replay(&bench, &steps[at]).await;
    }
    let listed = http
        .call("GET", "/deployments/shop/snapshots", "")
        .await
        .body;
    let listed: Json = serde_json::from_str(&listed).unwrap();
    let first = listed[0]["snapshot_cid"].as_str().unwrap();
    let one = steps[14].to_string();
    let one = one.replace("31eb44525f3d2f8257feeccc591243ad", first);
    http.replay(&bench, &serde_json::from_str(&one).unwrap())
        .await;
    // The list after it depends on what there was before.
    let refused = http
        .call("DELETE", "/deployments/shop/snapshots/none", "")
        .await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("\"code\":70008"), "{}", refused.body);
    for at in [16, 17] {
        http.replay(&bench, &steps[at]).await;
    }
    assert!(bench.cloud.world().snapshots.is_empty());
    let instance = format!("db/{}", uuid::Uuid::new_v4());
    for _ in 0..4 {
        orphan_disk(&bench, &instance, 0).await;
    }
    // The bench's stemcells speak version 2.
    sqlx::query("update stemcells set api_version = 3")
        .execute(&mut bench.sql().await.unwrap())
        .await
        .unwrap();
    for at in [26, 27, 28] {
        http.replay(&bench, &steps[at]).await;
    }
    assert!(bench.cloud.world().snapshots.is_empty());
    // What a clean-up left is still deployed and can be exported again.
    for at in [29, 31] {
        http.replay(&bench, &steps[at]).await;
    }
    bench
        .deploy(scenario.file("shop.yml"))
        .await
        .unwrap()
        .done()
        .unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn vms_are_deleted_by_cid_as_recorded() {
    let scenario = Scenario::load("delete-vm-and-everything");
    let bench = bench_with("last", &replay::settings()).await;
    let http = Http::of(&bench).await;
    bench
        .deploy(scenario.file("last.yml"))
        .await
        .unwrap()
        .done()
        .unwrap();
    let vm = bench.cloud.vm_cids().pop().unwrap();
    let known = steps(&scenario)[0].to_string().replace("13277", &vm);
    http.replay(&bench, &serde_json::from_str(&known).unwrap())
        .await;
    assert!(bench.cloud.vm_cids().is_empty());
    // The recorded CPI deletes what is not there; one that says so is believed.
    let answer = http.call("DELETE", "/vms/unknown-vm", "").await;
    let ended = bench
        .ended(answer.task.unwrap())
        .await
        .unwrap()
        .done()
        .unwrap();
    assert!(
        ended.events.iter().any(|line| line["type"] == "warning"
            && line["message"] == "VM unknown-vm does not exist. Deletion is skipped"),
        "{:?}",
        ended.events
    );
    // The missing VM is made again, with its disk.
    bench
        .deploy(scenario.file("last.yml"))
        .await
        .unwrap()
        .done()
        .unwrap();
    bench.audit().await.unwrap();
    assert_eq!(bench.cloud.vm_cids().len(), 1);
    bench.finish().await;
}

#[tokio::test]
async fn disks_are_orphaned_attached_and_deleted_as_recorded() {
    let scenario = Scenario::load("disk-resize");
    let bench = bench_with("shop", &replay::settings()).await;
    let http = Http::of(&bench).await;
    bench
        .deploy(scenario.file("large.yml"))
        .await
        .unwrap()
        .done()
        .unwrap();
    let mut sql = bench.sql().await.unwrap();
    let (disk, uuid): (String, String) = sqlx::query_as(
        "select d.cid, i.uuid from persistent_disks d join instances i on i.id = d.instance_id",
    )
    .fetch_one(&mut sql)
    .await
    .unwrap();
    bench.cloud.write_disk(&disk, "orders");
    let step = |at: usize| {
        let text = steps(&scenario)[at]
            .to_string()
            .replace("f411f0f705cb665d4f0a651d001e08e9", &disk)
            .replace("f5674251-daf2-45a4-b08a-abc0b81eb525", &uuid);
        serde_json::from_str::<Json>(&text).unwrap()
    };
    // A disk in use: refused. (The list behind it was of other disks.)
    let refused = http.call("DELETE", &format!("/disks/{disk}"), "").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains(&format!(
            "Deleting persistent disk is not supported: [\\\"{disk}\\\"]"
        )),
        "{}",
        refused.body
    );
    // Running instances are given no disk; unknown ones neither.
    for at in [18, 19] {
        http.replay(&bench, &step(at)).await;
    }
    let stop = json!({"group": "db", "instance": "0", "action": "stop", "hard": true});
    bench
        .run("update_instance", stop)
        .await
        .unwrap()
        .done()
        .unwrap();
    for at in [14, 16] {
        http.replay(&bench, &step(at)).await;
    }
    let start = json!({"group": "db", "instance": "0", "action": "start"});
    bench
        .run("update_instance", start)
        .await
        .unwrap()
        .done()
        .unwrap();
    assert_eq!(bench.cloud.world().disks[&disk].data, ["orders"]);
    bench.audit().await.unwrap();

    // Stopped with its VM: the old disk leaves, one that nobody knew enters, and the next deploy makes it the
    // size that is wanted and moves the data.
    let stop = json!({"group": "db", "instance": "0", "action": "stop"});
    bench
        .run("update_instance", stop)
        .await
        .unwrap()
        .done()
        .unwrap();
    let call = CreateDisk {
        size_mib: 512,
        cloud_properties: json!({}),
        vm_cid: None,
        idempotency_key: None,
    };
    let foreign = bench
        .services
        .cpis
        .get("")
        .unwrap()
        .create_disk(call)
        .await
        .unwrap();
    bench.cloud.write_disk(foreign.as_str(), "found");
    let path = format!("/disks/{foreign}/attachments?deployment=shop&job=db&instance_id={uuid}");
    let answer = http.call("PUT", &path, "").await;
    bench
        .ended(answer.task.unwrap())
        .await
        .unwrap()
        .done()
        .unwrap();
    {
        let world = bench.cloud.world();
        assert!(world.disks[foreign.as_str()].attached_to.is_some());
        assert!(world.disks[&disk].attached_to.is_none());
    }
    let start = json!({"group": "db", "instance": "0", "action": "start"});
    bench
        .run("update_instance", start)
        .await
        .unwrap()
        .done()
        .unwrap();
    bench
        .deploy(scenario.file("large.yml"))
        .await
        .unwrap()
        .done()
        .unwrap();
    let now: String = sqlx::query_scalar("select cid from persistent_disks")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert!(now != foreign.as_str() && now != disk);
    assert_eq!(bench.cloud.world().disks[&now].data, ["found"]);

    // A disk that can't be attached changes nothing.
    bench
        .run(
            "update_instance",
            json!({"group": "db", "instance": "0", "action": "stop"}),
        )
        .await
        .unwrap()
        .done()
        .unwrap();
    let path = format!("/disks/nowhere/attachments?deployment=shop&job=db&instance_id={uuid}");
    let answer = http.call("PUT", &path, "").await;
    let ended = bench.ended(answer.task.unwrap()).await.unwrap();
    assert_eq!(ended.task.state, "error");
    let held: String = sqlx::query_scalar("select cid from persistent_disks")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert_eq!(held, now);

    // For good: with its snapshots.
    for at in [7, 8] {
        let text = step(at)
            .to_string()
            .replace("a8c1f5363f199561d4d3326571a7dfd1", &disk);
        http.replay(&bench, &serde_json::from_str(&text).unwrap())
            .await;
    }
    assert!(!bench.cloud.disk_cids().contains(&disk));
    assert!(!bench.cloud.world().snapshots.values().any(|of| *of == disk));
    bench.finish().await;
}

#[tokio::test]
async fn the_schedule_deletes_disks_only_after_their_days_and_vms_at_once() {
    let bench = bench_with("shop", &replay::settings()).await;
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
        .run("scheduled_orphaned_disk_cleanup", json!({}))
        .await
        .unwrap()
        .done()
        .unwrap();
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
        .run("scheduled_orphaned_vm_cleanup", json!({}))
        .await
        .unwrap()
        .done()
        .unwrap();
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
    let bench = bench_with("shop", &replay::settings()).await;
    let http = Http::of(&bench).await;
    bench
        .deploy(scenario.file("shop.yml"))
        .await
        .unwrap()
        .done()
        .unwrap();
    let body = json!({
        "deployment_name": "shop", "release_name": "wire-demo", "release_version": "1",
        "stemcell_os": "demo-os", "stemcell_version": "1", "sha2": false, "jobs": [],
    });
    let answer = http
        .call("POST", "/releases/export", &body.to_string())
        .await;
    let id = answer.task.unwrap();
    bench.ended(id).await.unwrap().done().unwrap();
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

    let other = bench_with("shop", &replay::settings()).await;
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
        .run("update_release", json!({"path": tarball}))
        .await
        .unwrap()
        .done()
        .unwrap();
    assert!(
        uploaded
            .stages()
            .contains(&"Compiled Release has been created".to_owned())
    );
    let deployed = other
        .deploy(scenario.file("shop.yml"))
        .await
        .unwrap()
        .done()
        .unwrap();
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
