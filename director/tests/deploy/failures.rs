//! What goes wrong in the cloud, in agents and in jobs: the right error, nothing leaked, and a corrected
//! deploy carries on.

use test_support::Fault;

use crate::Manifest;
use crate::bench::Bench;

#[tokio::test]
async fn a_vm_that_can_not_be_created_fails_the_deploy_and_leaves_nothing() {
    let bench = Bench::start().await.unwrap();
    bench
        .deploy(
            &Manifest {
                web: 0,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap()
        .done()
        .unwrap();
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
    bench
        .deploy(&Manifest::default().text())
        .await
        .unwrap()
        .done()
        .unwrap();
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
    bench
        .deploy(&Manifest::default().text())
        .await
        .unwrap()
        .done()
        .unwrap();
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
        .deploy(
            &Manifest {
                web: 1,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap()
        .done()
        .unwrap();
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
        .deploy(
            &Manifest {
                web: 2,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap()
        .done()
        .unwrap();
    assert_eq!(bench.audit().await.unwrap().vms, 3);
}

#[tokio::test]
async fn a_job_that_does_not_come_up_stops_the_wave_after_the_canary() {
    let bench = Bench::start().await.unwrap();
    bench
        .deploy(
            &Manifest {
                web: 3,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap()
        .done()
        .unwrap();
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
    bench.deploy(&changed.text()).await.unwrap().done().unwrap();
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
    let ended = bench
        .deploy(&Manifest::default().text())
        .await
        .unwrap()
        .done()
        .unwrap();
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
        .deploy(
            &Manifest {
                web: 1,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap()
        .done()
        .unwrap();
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
        .deploy(
            &Manifest {
                web: 2,
                ..Manifest::default()
            }
            .text(),
        )
        .await
        .unwrap()
        .done()
        .unwrap();
    assert_eq!(bench.audit().await.unwrap().vms, 3);
}
