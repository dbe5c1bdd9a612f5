//! What goes wrong in the cloud, in agents and in jobs: the right error, nothing leaked, and a corrected
//! deploy carries on.

use bosun_director::deploy::args::UpdateDeployment;
use test_support::Fault;

use crate::Manifest;
use crate::bench::Bench;

#[tokio::test]
async fn a_vm_that_can_not_be_created_fails_the_deploy_and_leaves_nothing() {
    let bench = Bench::start().await.unwrap();
    bench
        .deployed(
            &Manifest {
                web: 0,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    let before = bench.audit().await.unwrap();
    let fault = Fault::Error {
        kind: cpi::FaultKind::CloudError,
        message: "no room".into(),
        ok_to_retry: false,
    };
    bench.cloud.break_next("create_vm", 100, fault);
    // Its packages have to be compiled first, on a VM that can't be created either.
    let ended = bench.deploy(&Manifest::default().text()).await.unwrap();
    assert_eq!(ended.task.state, "error");
    assert!(ended.error().contains("no room"), "{}", ended.error());
    assert_eq!(bench.audit().await.unwrap().vms, before.vms);
    bench.cloud.mend("create_vm");
    bench.deployed(&Manifest::default().text()).await;
    assert_eq!(bench.audit().await.unwrap().vms, 3);
}

#[tokio::test]
async fn a_creation_that_may_be_tried_again_is_and_five_times_at_most() {
    let bench = Bench::start().await.unwrap();
    let fault = Fault::Error {
        kind: cpi::FaultKind::VmCreationFailed,
        message: "busy".into(),
        ok_to_retry: true,
    };
    bench.cloud.break_next("create_vm", 4, fault.clone());
    bench.deployed(&Manifest::default().text()).await;
    bench.cloud.take_calls();
    bench.cloud.break_next("create_vm", 100, fault);
    let ended = bench
        .deploy(
            &Manifest {
                web: 3,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap();
    assert_eq!(ended.task.state, "error");
    let tries = bench
        .cloud
        .take_calls()
        .into_iter()
        .filter(|call| call.method == "create_vm")
        .count();
    assert_eq!(tries, 5);
}

#[tokio::test]
async fn an_agent_that_never_answers_fails_the_deploy_and_its_vm_is_deleted() {
    let bench = Bench::start().await.unwrap();
    bench
        .deployed(
            &Manifest {
                web: 1,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    bench.cloud.mute_new_agents(true);
    let ended = bench
        .deploy(
            &Manifest {
                web: 2,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap();
    assert!(
        ended
            .error()
            .starts_with("450002 Timed out pinging VM 'vm-"),
        "{}",
        ended.error()
    );
    assert_eq!(bench.audit().await.unwrap().vms, 2);
    bench.cloud.mute_new_agents(false);
    bench
        .deployed(
            &Manifest {
                web: 2,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    assert_eq!(bench.audit().await.unwrap().vms, 3);
}

#[tokio::test]
async fn a_job_that_does_not_come_up_stops_the_wave_after_the_canary() {
    let bench = Bench::start().await.unwrap();
    bench
        .deployed(
            &Manifest {
                web: 3,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    bench.cloud.fail_job("web", true);
    let changed = Manifest {
        web: 3,
        greeting: "broken",
        ..Manifest::default()
    };
    let ended = bench.deploy(&changed.text()).await.unwrap();
    let error = ended.error();
    assert!(error.starts_with("400007 'web/"), "{error}");
    assert!(
        error.contains("(0)' is not running after update. Review logs for failed jobs: web"),
        "{error}"
    );
    assert!(
        error.contains(
            "Last lines of web/web.stderr.log:\n  web starts\n  web says why it can't go on"
        ),
        "{error}"
    );
    assert_eq!(ended.lines("failed").len(), 1);
    assert_eq!(
        ended
            .lines("started")
            .iter()
            .filter(|line| line.contains("web/"))
            .count(),
        1,
        "nobody follows the canary"
    );
    bench.cloud.fail_job("web", false);
    bench.deployed(&changed.text()).await;
    assert!(
        bench
            .audit()
            .await
            .unwrap()
            .instances
            .iter()
            .all(|(_, _, completed, _)| *completed)
    );
}

#[tokio::test]
async fn a_package_that_does_not_compile_shows_its_output_and_leaves_no_vm() {
    let bench = Bench::start().await.unwrap();
    bench.cloud.fail_package("app", true);
    let ended = bench.deploy(&Manifest::default().text()).await.unwrap();
    assert!(ended.error().starts_with("450001 "), "{}", ended.error());
    assert!(
        ended.error().contains("app does not compile"),
        "{}",
        ended.error()
    );
    let inventory = bench.audit().await.unwrap();
    assert_eq!((inventory.vms, inventory.disks), (0, 0));
    bench.cloud.fail_package("app", false);
    let ended = bench.deployed(&Manifest::default().text()).await;
    let compiled: Vec<String> = ended
        .lines("finished")
        .into_iter()
        .filter(|line| line.starts_with("Compiling packages"))
        .collect();
    assert_eq!(
        compiled,
        ["Compiling packages: app/fp-app"],
        "lib is compiled already"
    );
}

#[tokio::test]
async fn a_lost_answer_of_create_vm_is_settled_by_the_next_deploy() {
    let bench = Bench::start().await.unwrap();
    bench
        .deployed(
            &Manifest {
                web: 1,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    bench.cloud.break_next("create_vm", 1, Fault::LostReply);
    let ended = bench
        .deploy(
            &Manifest {
                web: 2,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap();
    assert_eq!(ended.task.state, "error");
    bench
        .deployed(
            &Manifest {
                web: 2,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    assert_eq!(bench.audit().await.unwrap().vms, 3);
}

#[tokio::test]
async fn a_cancelled_deploy_stops_at_its_next_pause_and_the_next_one_carries_on() {
    let bench = Bench::start().await.unwrap();
    bench.cloud.mute_new_agents(true);
    let args = serde_json::json!({"manifest": Manifest::default().text()});
    let id = bench
        .queue(serde_json::from_value(args).unwrap())
        .await
        .unwrap();
    // It waits for an agent that never answers when the cancel comes.
    while bench.cloud.vm_cids().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    bench.services.store.request_cancel(id).await.unwrap();
    let ended = bench.ended(id).await.unwrap();
    assert_eq!(ended.task.state, "cancelled");
    assert_eq!(ended.error(), format!("10001 Task {id} cancelled"));
    assert_eq!(
        bench.audit().await.unwrap().vms,
        0,
        "the VM that was waited for is deleted"
    );
    bench.cloud.mute_new_agents(false);
    bench.deployed(&Manifest::default().text()).await;
    assert_eq!(bench.audit().await.unwrap().vms, 3);
    bench.finish().await;
}

#[tokio::test]
async fn a_disk_change_that_fails_half_way_is_finished_by_the_next_deploy() {
    let bench = Bench::start().await.unwrap();
    bench
        .deployed(
            &Manifest {
                web: 0,
                ..Manifest::default()
            }
            .text(),
        )
        .await;
    let old = bench.cloud.disk_cids().remove(0);
    bench.cloud.write_disk(&old, "an entry");
    let fault = Fault::Error {
        kind: cpi::FaultKind::CloudError,
        message: "copying failed".into(),
        ok_to_retry: false,
    };
    bench.cloud.break_next("migrate_disk", 1, fault);
    let larger = Manifest {
        web: 0,
        disk: "large",
        ..Manifest::default()
    };
    let ended = bench.deploy(&larger.text()).await.unwrap();
    assert!(
        ended.error().contains("copying failed"),
        "{}",
        ended.error()
    );
    bench.deployed(&larger.text()).await;
    bench.audit().await.unwrap();
    {
        let world = bench.cloud.world();
        let store = world
            .vms
            .values()
            .find(|vm| vm.agent.spec["name"] == "store")
            .unwrap();
        let mounted = store.agent.store.clone().unwrap();
        assert_eq!(world.disks[&mounted].size, 2048);
        assert_eq!(world.disks[&mounted].data, ["an entry"]);
        let attached = world
            .disks
            .values()
            .filter(|disk| disk.attached_to.is_some())
            .count();
        assert_eq!(attached, 1, "left-over disks are detached orphans");
    }
    bench.finish().await;
}

#[tokio::test]
async fn deleting_by_force_goes_on_over_silent_agents_and_a_failing_cloud() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let fault = Fault::Error {
        kind: cpi::FaultKind::CloudError,
        message: "not now".into(),
        ok_to_retry: false,
    };
    bench.cloud.break_next("delete_vm", 1, fault.clone());
    bench.cloud.break_next("stop", 1, fault);
    let refused = bench
        .run("delete_deployment", serde_json::json!({}))
        .await
        .unwrap();
    assert_eq!(refused.task.state, "error");
    let fault = Fault::Error {
        kind: cpi::FaultKind::CloudError,
        message: "not now".into(),
        ok_to_retry: false,
    };
    bench.cloud.break_next("delete_vm", 1, fault);
    bench
        .succeed("delete_deployment", serde_json::json!({"force": true}))
        .await;
    let orphans: Vec<String> = sqlx::query_scalar("select cid from orphan_vms")
        .fetch_all(&mut bench.sql().await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        orphans,
        bench.cloud.vm_cids(),
        "what can't be deleted is an orphan, not forgotten"
    );
    bench.finish().await;
}

#[tokio::test]
async fn a_lost_answer_of_create_disk_leaves_no_disk_that_nobody_knows() {
    let bench = Bench::start().await.unwrap();
    bench.cloud.break_next("create_disk", 1, Fault::LostReply);
    let manifest = Manifest {
        web: 0,
        ..Manifest::default()
    }
    .text();
    let ended = bench.deploy(&manifest).await.unwrap();
    assert_eq!(ended.task.state, "error");
    bench.deployed(&manifest).await;
    let inventory = bench.audit().await.unwrap();
    assert_eq!(inventory.disks, 2, "the one in use and an orphan");
    bench.finish().await;
}

#[tokio::test]
async fn an_unresponsive_agent_fails_a_deploy_unless_it_is_fixed_by_recreating() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let disk = bench.cloud.disk_cids().remove(0);
    bench.cloud.write_disk(&disk, "an entry");
    let silent = {
        let world = bench.cloud.world();
        let store = world
            .vms
            .iter()
            .find(|(_, vm)| vm.agent.spec["name"] == "store")
            .unwrap();
        (store.0.clone(), store.1.agent_id.clone())
    };
    bench.cloud.mute_agent(&silent.1);
    bench.hurry();
    let refused = bench.deploy(&Manifest::default().text()).await.unwrap();
    assert!(
        refused.error().starts_with("450002 store/"),
        "{}",
        refused.error()
    );
    assert!(bench.cloud.vm_cids().contains(&silent.0));
    let fix = UpdateDeployment {
        manifest: Some(Manifest::default().text()),
        fix: true,
        ..UpdateDeployment::default()
    };
    let ended = bench.deploy_with(fix).await.unwrap().done().unwrap();
    assert!(
        ended
            .lines("finished")
            .iter()
            .any(|line| line.starts_with("Updating instance: store/"))
    );
    assert!(!bench.cloud.vm_cids().contains(&silent.0));
    let inventory = bench.audit().await.unwrap();
    assert_eq!((inventory.vms, inventory.disks), (3, 1));
    assert_eq!(bench.cloud.world().disks[&disk].data, ["an entry"]);
    bench.finish().await;
}

#[tokio::test]
async fn an_agent_that_answers_stops_its_jobs_also_when_it_was_allowed_not_to() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    bench.cloud.take_calls();
    let recreate = serde_json::json!({
        "group": "store", "instance": "0", "action": "recreate", "ignore_unresponsive_agent": true,
    });
    bench.succeed("update_instance", recreate).await;
    let calls = bench.cloud.take_calls();
    let called: Vec<&str> = calls.iter().map(|call| call.method.as_str()).collect();
    for method in ["drain", "stop", "unmount_disk", "detach_disk", "delete_vm"] {
        assert!(called.contains(&method), "{method} is not in {called:?}");
    }
    bench.audit().await.unwrap();
    bench.finish().await;
}
