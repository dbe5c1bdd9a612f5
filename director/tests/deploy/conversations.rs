//! Whole recorded conversations of the original CLI with the original director, held with this one.

use test_support::Fault;

use crate::bench::Bench;
use crate::recorded::{self, Scenario};
use crate::replay::{self, Plan, Replay};

/// In the recorded director with the deployment `shop`, whose manifest is in this scenario.
async fn with_shop(scenario: &str, base: (&str, &str), instances: &[(&str, i32, &str)]) -> Replay {
    let base_scenario = Scenario::load(base.0);
    let replay = Replay::with_deployment(scenario, "shop", base_scenario.file(base.1)).await;
    replay.know("shop", instances).await
}

/// The agent of an instance answers no more.
fn silence(bench: &Bench, group: &str, index: i32) {
    for vm in bench.cloud.world().vms.values_mut() {
        if vm.agent.spec["name"] == group && vm.agent.spec["index"] == index {
            vm.agent.mute = true;
        }
    }
}

const SHOP: &[(&str, i32, &str)] = &[
    ("web", 0, "27e2333d-d830-4429-8b26-4bc48fe928fa"),
    ("web", 1, "ba7ddbe7-9b4d-4eaf-85d6-08ccc0077944"),
    ("db", 0, "99cceb6d-3fd8-4795-817c-3459c1903b89"),
    ("smoke", 0, "84bc75cb-cd76-4f53-9453-63b3a04533fd"),
];

/// What a CPI, or an agent, says that fails.
fn fault(message: &str) -> Fault {
    Fault::Error {
        kind: cpi::FaultKind::CloudError,
        message: message.into(),
        ok_to_retry: false,
    }
}

#[tokio::test]
async fn deploys_fail_with_the_recorded_words() {
    let name = "deploy-failures";
    let mut replay = with_shop(name, (name, "shop.yml"), SHOP).await;
    let plan = Plan {
        before: &[
            (2, &|bench| bench.cloud.fail_job("web", true)),
            (4, &|bench| bench.cloud.fail_job("web", false)),
            (7, &|bench| {
                let message = "1 of 1 pre-start scripts failed. Failed Jobs: fussy.";
                bench.cloud.break_next("run_script", 1, fault(message));
            }),
            (13, &|bench| {
                let message = "CPI error 'Bosh::Clouds::CloudError' with message 'Creating vm failed' in 'create_vm' \
                               CPI method (CPI request ID: 'cpi-132957')";
                bench.cloud.break_next("create_vm", 2, fault(message));
            }),
            (15, &|bench| {
                let message = "Unknown CPI error 'RuntimeError' with message 'Set VM metadata failed!!!' in \
                               'set_vm_metadata' CPI method (CPI request ID: 'cpi-238678')";
                bench.cloud.break_next("set_vm_metadata", 2, fault(message));
            }),
            (11, &|bench| bench.cloud.fail_package("crashpkg", true)),
            (17, &|bench| bench.cloud.mute_new_agents(true)),
            (19, &|bench| bench.cloud.mute_new_agents(false)),
        ],
        left_out: &[(
            &[3, 8],
            "are about what the recorded agents say of their processes",
        )],
        differs: &[
            // The simulated agents name processes by their jobs.
            (2, "failed jobs: process-3", "failed jobs: web"),
            (11, recorded::SHELL_SAYS, recorded::AGENT_SAYS),
            (17, "after 20 seconds", "after 5 seconds"),
            // The original cuts these results earlier than its own rule says.
            (
                13,
                "with message 'Creating vm...",
                "with message 'Creating vm failed' in 'create_vm' CPI method (CPI request ID: 'cpi-132957')",
            ),
            (
                15,
                "'Set VM metadata...",
                "'Set VM metadata failed!!!' in 'set_vm_metadata' CPI method (CPI request ID:...",
            ),
        ],
        ..Plan::default()
    };
    replay.hold_all(&plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn instances_are_started_stopped_and_ignored_with_the_recorded_answers() {
    let name = "lifecycle-actions";
    let mut replay = with_shop(name, (name, "shop.yml"), SHOP).await;
    let plan = Plan {
        others: &["cloudy", "crash", "fragile", "x"],
        ..Plan::default()
    };
    replay.hold_all(&plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn a_first_deployment_is_listed_with_the_recorded_answers() {
    let bench = replay::bench("shop").await;
    // The add-on comes with the first step.
    let mut sql = bench.sql().await.unwrap();
    sqlx::query("delete from configs where type = 'runtime'")
        .execute(&mut sql)
        .await
        .unwrap();
    let mut replay = Replay::start("first-deploy", bench).await;
    replay.bind("config 15", "1");
    replay.bind("config 16", "3");
    replay.hold_all(&Plan::default()).await;
    replay.finish().await;
}

#[tokio::test]
async fn groups_grow_and_shrink_with_the_recorded_answers() {
    let mut replay = with_shop("scale", ("scale", "before.yml"), &[]).await;
    replay.hold_all(&Plan::default()).await;
    replay.finish().await;
}

#[tokio::test]
async fn errands_run_with_the_recorded_answers() {
    let mut replay = with_shop("run-errand", ("lifecycle-actions", "shop.yml"), SHOP).await;
    let code = |code: i64| {
        move |bench: &Bench| {
            let codes = &mut bench.cloud.world().errand_exit_codes;
            codes.insert("web".into(), code);
        }
    };
    let plan = Plan {
        before: &[
            (6, &code(4)),
            (11, &|bench| {
                let message = "Running errand script: Starting command '/var/vcap/jobs/web/bin/run': fork/exec \
                               /var/vcap/jobs/web/bin/run: no such file or directory";
                bench.cloud.break_next("run_errand", 1, fault(message));
            }),
        ],
        differs: &[
            // There were other deployments in the same network.
            (4, "10.0.1.16", "10.0.1.11"),
            (
                11,
                "$AGENT_DIR/1e8f0d83-351f-4a2b-b14c-ec609089fdda",
                "/var/vcap",
            ),
        ],
        ..Plan::default()
    };
    replay.hold(0..17, &plan).await;
    // One that is cancelled while it runs.
    replay.bench.cloud.world().endless_errands = true;
    replay.begin(19).await;
    let runs = |bench: &Bench| {
        let world = bench.cloud.world();
        world.calls.iter().any(|call| call.method == "run_errand")
    };
    while !runs(&replay.bench) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let end = replay.scenario.steps().len();
    replay.hold(17..end, &plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn two_networks_are_used_with_the_recorded_answers() {
    let bench = replay::bench("pair").await;
    let scenario = Scenario::load("two-networks");
    let mut sql = bench.sql().await.unwrap();
    sqlx::query("update configs set content = $1 where type = 'cloud'")
        .bind(recorded::as_sent(scenario.file("cloud.yml")))
        .execute(&mut sql)
        .await
        .unwrap();
    let mut replay = Replay::start("two-networks", bench).await;
    replay.bind("config 19", "1");
    replay.bind("config 16", "2");
    let plan = Plan {
        // There were other deployments in the same network.
        differs: &[(1, "10.0.1.13", "10.0.1.10")],
        left_out: &[(&[3], "lists addresses that the recorded cloud made up")],
        ..Plan::default()
    };
    replay.hold_all(&plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn logs_and_ssh_go_with_the_recorded_answers() {
    let mut replay = with_shop("logs-ssh", ("lifecycle-actions", "shop.yml"), &[]).await;
    let plan = Plan {
        only_one: &[(
            &[1, 3],
            "Packing log files together",
            "the original never says that it is finished",
        )],
        left_out: &[(
            &[13],
            "lists what was done to two agents at once, by chance first to one",
        )],
        differs: &[
            (8, "deployment_id: 14", "deployment_id: 1"),
            (14, "deployment_id: 14", "deployment_id: 1"),
        ],
        ..Plan::default()
    };
    replay.hold_all(&plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn agents_that_never_answer_are_dealt_with_by_the_recorded_answers() {
    let name = "unresponsive-agent-deploy";
    let scenario = Scenario::load(name);
    let mut replay = Replay::with_deployment(name, "mute", scenario.file("mute.yml")).await;
    replay.bench.hurry();
    let plan = Plan {
        before: &[
            (0, &|bench| silence(bench, "node", 0)),
            (3, &|bench| silence(bench, "node", 0)),
            (9, &|bench| silence(bench, "node", 1)),
        ],
        differs: &[
            (1, "after 45 seconds", "after 6 seconds"),
            // There were other deployments in the same network.
            (6, "10.0.1.17", "10.0.1.11"),
        ],
        ..Plan::default()
    };
    replay.hold_all(&plan).await;
    replay.finish().await;
}
