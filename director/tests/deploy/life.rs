//! The life of a deployment when nothing goes wrong.

use bosun_director::deploy::args::{StateChange, UpdateDeployment};
use serde_json::json;

use crate::Manifest;
use crate::bench::Bench;

#[tokio::test]
async fn a_first_deploy_compiles_creates_and_starts_everything_in_the_original_order() {
    let bench = Bench::start().await.unwrap();
    let ended = bench.deployed(&Manifest::default().text()).await;
    assert_eq!(
        ended.stages(),
        [
            "Preparing deployment",
            "Preparing package compilation",
            "Compiling packages",
            "Creating missing vms",
            "Updating instance"
        ]
    );
    let finished = ended.lines("finished");
    assert_eq!(
        finished[3..5],
        [
            "Compiling packages: lib/fp-lib",
            "Compiling packages: app/fp-app"
        ]
    );
    assert_eq!(ended.task.result.as_deref(), Some("/deployments/demo"));
    let inventory = bench.audit().await.unwrap();
    assert_eq!(
        (inventory.vms, inventory.disks, inventory.addresses),
        (3, 1, 3)
    );
    assert!(
        inventory
            .instances
            .iter()
            .all(|(_, state, completed, vm)| state == "started" && *completed && *vm)
    );
    let world = bench.cloud.world();
    let web: Vec<_> = world
        .vms
        .values()
        .filter(|vm| vm.agent.spec["name"] == "web")
        .collect();
    assert_eq!(web.len(), 2);
    for vm in web {
        assert_eq!(vm.agent.job_state, "running");
        assert_eq!(vm.agent.spec["packages"]["app"]["version"], "fp-app.1");
        assert!(
            vm.agent.spec["packages"].get("lib").is_none(),
            "lib is needed to compile only"
        );
        assert!(
            !vm.agent.spec["configuration_hash"]
                .as_str()
                .unwrap()
                .is_empty()
        );
        assert_eq!(vm.metadata["deployment"], "demo");
        assert_eq!(vm.env["bosh"]["group"], "bench-demo-web");
        assert!(
            vm.env["bosh"]["mbus"]["cert"]["private_key"]
                .as_str()
                .unwrap()
                .contains("PRIVATE KEY")
        );
    }
    let store = world
        .vms
        .values()
        .find(|vm| vm.agent.spec["name"] == "store")
        .unwrap();
    assert_eq!(store.agent.spec["networks"]["default"]["ip"], "10.9.1.100");
    assert_eq!(store.agent.store.as_ref(), world.disks.keys().next());
}

#[tokio::test]
async fn deploying_again_without_a_change_asks_agents_for_their_state_and_does_nothing_else() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let before = bench.audit().await.unwrap();
    bench.cloud.take_calls();
    let ended = bench.deployed(&Manifest::default().text()).await;
    assert_eq!(
        ended.stages(),
        ["Preparing deployment", "Preparing package compilation"]
    );
    let calls: Vec<String> = bench
        .cloud
        .take_calls()
        .into_iter()
        .map(|call| call.method)
        .collect();
    assert_eq!(calls, ["get_state"; 3]);
    assert_eq!(bench.audit().await.unwrap(), before);
}

#[tokio::test]
async fn a_changed_property_updates_the_instances_that_render_it_and_no_others() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let vms = bench.cloud.vm_cids();
    bench.cloud.take_calls();
    let changed = Manifest {
        greeting: "welcome",
        ..Manifest::default()
    };
    let ended = bench.deployed(&changed.text()).await;
    let updated = ended.lines("finished");
    assert_eq!(
        updated
            .iter()
            .filter(|line| line.starts_with("Updating instance: web/"))
            .count(),
        2,
        "{updated:?}"
    );
    assert!(
        !updated
            .iter()
            .any(|line| line.starts_with("Updating instance: store/")),
        "{updated:?}"
    );
    assert!(updated.iter().any(|line| line.ends_with("(canary)")));
    assert_eq!(bench.cloud.vm_cids(), vms, "the VMs stay");
    let calls = bench.cloud.take_calls();
    assert!(
        calls.iter().all(|call| call.agent_id.is_some()),
        "no call to the cloud: {calls:?}"
    );
    let one = calls
        .iter()
        .find(|call| call.method == "apply")
        .unwrap()
        .agent_id
        .clone();
    let sequence: Vec<&str> = calls
        .iter()
        .filter(|call| call.agent_id == one)
        .map(|call| call.method.as_str())
        .collect();
    assert_eq!(
        sequence,
        [
            "get_state",
            "prepare",
            "run_script",
            "drain",
            "stop",
            "run_script",
            "update_settings",
            "apply",
            "run_script",
            "start",
            "get_state",
            "run_script",
            "run_script"
        ]
    );
}

#[tokio::test]
async fn a_group_grows_and_shrinks_and_what_goes_leaves_nothing() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    bench
        .deployed(
            &Manifest {
                web: 5,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    let inventory = bench.audit().await.unwrap();
    assert_eq!(
        (
            inventory.vms,
            inventory.addresses,
            inventory.instances.len()
        ),
        (6, 6, 6)
    );
    let ended = bench
        .deployed(
            &Manifest {
                web: 1,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    let deleted = ended
        .lines("finished")
        .iter()
        .filter(|line| line.starts_with("Deleting unneeded instances: web/"))
        .count();
    assert_eq!(deleted, 4);
    let inventory = bench.audit().await.unwrap();
    assert_eq!(
        (
            inventory.vms,
            inventory.addresses,
            inventory.instances.len()
        ),
        (2, 2, 2)
    );
}

#[tokio::test]
async fn a_new_stemcell_recreates_vms_and_the_data_on_disks_stays() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let (vms, disks) = (bench.cloud.vm_cids(), bench.cloud.disk_cids());
    bench.cloud.write_disk(&disks[0], "an entry");
    bench
        .deployed(
            &Manifest {
                stemcell: "2",
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    let inventory = bench.audit().await.unwrap();
    assert_eq!(
        (inventory.vms, inventory.disks, inventory.addresses),
        (3, 1, 3)
    );
    let world = bench.cloud.world();
    assert!(
        world.vms.keys().all(|cid| !vms.contains(cid)),
        "every VM is new"
    );
    assert!(world.vms.values().all(|vm| vm.stemcell_cid == "stemcell-2"));
    assert_eq!(world.disks[&disks[0]].data, ["an entry"]);
    let store = world
        .vms
        .iter()
        .find(|(_, vm)| vm.agent.spec["name"] == "store")
        .unwrap();
    assert_eq!(world.disks[&disks[0]].attached_to.as_ref(), Some(store.0));
}

#[tokio::test]
async fn a_larger_disk_gets_the_data_and_the_old_one_becomes_an_orphan() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let old = bench.cloud.disk_cids().remove(0);
    bench.cloud.write_disk(&old, "an entry");
    bench
        .deployed(
            &Manifest {
                disk: "large",
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    let inventory = bench.audit().await.unwrap();
    assert_eq!((inventory.vms, inventory.disks), (3, 2));
    let world = bench.cloud.world();
    let (cid, new) = world.disks.iter().find(|(cid, _)| **cid != old).unwrap();
    assert_eq!(
        (new.size, new.data.as_slice()),
        (2048, &["an entry".to_owned()][..])
    );
    let store = world
        .vms
        .values()
        .find(|vm| vm.agent.spec["name"] == "store")
        .unwrap();
    assert_eq!(
        (
            store.agent.store.as_ref(),
            store.agent.migration_target.as_ref()
        ),
        (Some(cid), None)
    );
    assert_eq!(world.disks[&old].attached_to, None);
}

#[tokio::test]
async fn stop_start_restart_and_recreate_converge_a_group_or_one_instance() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let change = |group: &str, instance: Option<&str>, state: &str| UpdateDeployment {
        state_change: Some(StateChange {
            group: Some(group.into()),
            instance: instance.map(Into::into),
            state: state.into(),
        }),
        ..UpdateDeployment::default()
    };
    bench
        .deploy_with(change("web", Some("0"), "stopped"))
        .await
        .unwrap()
        .done()
        .unwrap();
    let states: Vec<String> = bench
        .audit()
        .await
        .unwrap()
        .instances
        .into_iter()
        .map(|(_, state, ..)| state)
        .collect();
    assert_eq!(states, ["started", "stopped", "started"]);
    bench
        .deploy_with(change("web", None, "detached"))
        .await
        .unwrap()
        .done()
        .unwrap();
    assert_eq!(bench.audit().await.unwrap().vms, 1);
    bench
        .deploy_with(change("web", None, "started"))
        .await
        .unwrap()
        .done()
        .unwrap();
    let vms = bench.cloud.vm_cids();
    assert_eq!(vms.len(), 3);
    bench
        .deploy_with(change("store", None, "restart"))
        .await
        .unwrap()
        .done()
        .unwrap();
    assert_eq!(bench.cloud.vm_cids(), vms);
    bench
        .deploy_with(change("store", None, "recreate"))
        .await
        .unwrap()
        .done()
        .unwrap();
    let inventory = bench.audit().await.unwrap();
    assert_eq!((inventory.vms, inventory.disks), (3, 1));
    assert_ne!(bench.cloud.vm_cids(), vms);
}

#[tokio::test]
async fn isolated_actions_touch_one_instance_only() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let disk = bench.cloud.disk_cids().remove(0);
    bench.cloud.write_disk(&disk, "an entry");
    let act = |action: &str, hard: bool| json!({"group": "store", "instance": "0", "action": action, "hard": hard});
    bench.succeed("update_instance", act("stop", false)).await;
    assert_eq!(bench.audit().await.unwrap().instances[0].1, "stopped");
    bench.succeed("update_instance", act("start", false)).await;
    bench
        .succeed("update_instance", act("recreate", false))
        .await;
    bench.succeed("update_instance", act("stop", true)).await;
    assert_eq!(bench.audit().await.unwrap().vms, 2);
    bench.succeed("update_instance", act("start", false)).await;
    let inventory = bench.audit().await.unwrap();
    assert_eq!(
        (
            inventory.vms,
            inventory.disks,
            inventory.instances[0].1.as_str()
        ),
        (3, 1, "started")
    );
    let world = bench.cloud.world();
    assert_eq!(world.disks[&disk].data, ["an entry"]);
    assert!(world.disks[&disk].attached_to.is_some());
}

#[tokio::test]
async fn deleting_a_deployment_leaves_orphaned_disks_and_nothing_else() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let ended = bench.succeed("delete_deployment", json!({})).await;
    assert_eq!(
        ended.stages(),
        [
            "Deleting instances",
            "Removing deployment artifacts",
            "Deleting properties"
        ]
    );
    let inventory = bench.audit().await.unwrap();
    assert_eq!(
        (
            inventory.vms,
            inventory.disks,
            inventory.addresses,
            inventory.instances.len()
        ),
        (0, 1, 0, 0)
    );
    let again = bench.run("delete_deployment", json!({})).await.unwrap();
    assert_eq!(again.error(), "70000 Deployment 'demo' doesn't exist");
}

#[tokio::test]
async fn a_dry_run_shows_the_faults_and_writes_nothing() {
    let bench = Bench::start().await.unwrap();
    let dry = UpdateDeployment {
        manifest: Some(Manifest::default().text()),
        dry_run: true,
        ..UpdateDeployment::default()
    };
    let ended = bench.deploy_with(dry).await.unwrap().done().unwrap();
    let shown = String::from_utf8(bench.output(ended.task.id, "result").await.unwrap()).unwrap();
    assert!(
        shown.contains("store/") && shown.contains("lib/fp-lib"),
        "{shown}"
    );
    let inventory = bench.audit().await.unwrap();
    assert_eq!(
        (
            inventory.vms,
            inventory.addresses,
            inventory.instances.len()
        ),
        (0, 0, 0)
    );
    assert!(bench.cloud.take_calls().is_empty());
}
