//! Whole recorded conversations of the original CLI with the original director, held with this one.

use std::path::Path;

use serde_json::Value as Json;
use test_support::Fault;

use crate::bench::Bench;
use crate::conversation::{Plan, Replay};
use crate::recorded;
use crate::replay;

fn scenario(name: &str) -> Json {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/wire");
    let text = fs_err::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn file<'a>(scenario: &'a Json, name: &str) -> &'a str {
    scenario["files"][name].as_str().unwrap()
}

/// The recorded director with the deployment `shop` in it, its instances known by their recorded UUIDs.
async fn with_shop(manifest: &str, instances: &[(&str, i32, &str)]) -> Replay {
    let mut replay = Replay::start(recorded::bench_with("shop", &replay::settings()).await).await;
    // The ids of the cloud config and of the add-on.
    replay.bind("config 15", "1");
    replay.bind("config 16", "2");
    replay.deploy(manifest).await;
    replay.know("shop", instances).await;
    replay
}

const SHOP: &[(&str, i32, &str)] = &[
    ("web", 0, "27e2333d-d830-4429-8b26-4bc48fe928fa"),
    ("web", 1, "ba7ddbe7-9b4d-4eaf-85d6-08ccc0077944"),
    ("db", 0, "99cceb6d-3fd8-4795-817c-3459c1903b89"),
    ("smoke", 0, "84bc75cb-cd76-4f53-9453-63b3a04533fd"),
];

#[tokio::test]
async fn deploys_fail_with_the_recorded_words() {
    let scenario = scenario("deploy-failures");
    let mut replay = with_shop(file(&scenario, "shop.yml"), SHOP).await;
    let fault = |kind, message: &str| Fault::Error {
        kind,
        message: message.into(),
        ok_to_retry: false,
    };
    let plan = Plan {
        before: &[
            (2, &|bench| bench.cloud.fail_job("web", true)),
            (4, &|bench| bench.cloud.fail_job("web", false)),
            (7, &move |bench| {
                let message = "1 of 1 pre-start scripts failed. Failed Jobs: fussy.";
                let fault = fault(cpi::FaultKind::CloudError, message);
                bench.cloud.break_next("run_script", 1, fault);
            }),
            (13, &move |bench| {
                let message = "CPI error 'Bosh::Clouds::CloudError' with message 'Creating vm failed' in 'create_vm' \
                               CPI method (CPI request ID: 'cpi-132957')";
                let fault = fault(cpi::FaultKind::CloudError, message);
                bench.cloud.break_next("create_vm", 2, fault);
            }),
            (15, &move |bench| {
                let message = "Unknown CPI error 'RuntimeError' with message 'Set VM metadata failed!!!' in \
                               'set_vm_metadata' CPI method (CPI request ID: 'cpi-238678')";
                let fault = fault(cpi::FaultKind::CloudError, message);
                bench.cloud.break_next("set_vm_metadata", 2, fault);
            }),
            (17, &|bench| bench.cloud.mute_new_agents(true)),
            (19, &|bench| bench.cloud.mute_new_agents(false)),
        ],
        left_out: &[
            (
                3,
                "is about what the recorded agents say of their processes",
            ),
            (
                8,
                "is about what the recorded agents say of their processes",
            ),
            (45, "lists the deployment of step 11"),
            (
                11,
                "the recorded agent says what a shell printed; packages that don't compile have tests of their own",
            ),
        ],
        differs: &[
            // The simulated agents name processes by their jobs.
            (2, "failed jobs: process-3", "failed jobs: web"),
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
    };
    replay.hold(&scenario, &plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn instances_are_started_stopped_and_ignored_with_the_recorded_answers() {
    let scenario = scenario("lifecycle-actions");
    let mut replay = with_shop(file(&scenario, "shop.yml"), SHOP).await;
    let plan = Plan {
        left_out: &[(20, "lists the deployments of other scenarios")],
        ..Plan::default()
    };
    replay.hold(&scenario, &plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn a_first_deployment_is_listed_with_the_recorded_answers() {
    let scenario = scenario("first-deploy");
    let bench = recorded::bench_with("shop", &replay::settings()).await;
    // The add-on comes with the first step.
    let mut sql = bench.sql().await.unwrap();
    sqlx::query("delete from configs where type = 'runtime'")
        .execute(&mut sql)
        .await
        .unwrap();
    let mut replay = Replay::start(bench).await;
    replay.bind("config 15", "1");
    replay.bind("config 16", "3");
    replay.hold(&scenario, &Plan::default()).await;
    replay.finish().await;
}

#[tokio::test]
async fn groups_grow_and_shrink_with_the_recorded_answers() {
    let scenario = scenario("scale");
    let mut replay = with_shop(file(&scenario, "before.yml"), &[]).await;
    replay.hold(&scenario, &Plan::default()).await;
    replay.finish().await;
}

#[tokio::test]
async fn errands_run_with_the_recorded_answers() {
    let scenario = scenario("run-errand");
    let base = self::scenario("lifecycle-actions");
    let mut replay = with_shop(file(&base, "shop.yml"), SHOP).await;
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
                let message = "Running errand script: Starting command \
                               '$AGENT_DIR/1e8f0d83-351f-4a2b-b14c-ec609089fdda/jobs/web/bin/run': fork/exec \
                               $AGENT_DIR/1e8f0d83-351f-4a2b-b14c-ec609089fdda/jobs/web/bin/run: no such file or directory";
                let fault = Fault::Error {
                    kind: cpi::FaultKind::CloudError,
                    message: message.into(),
                    ok_to_retry: false,
                };
                bench.cloud.break_next("run_errand", 1, fault);
            }),
        ],
        left_out: &[
            (4, "lists addresses that other deployments had there"),
            (17, "runs beside the errand that is cancelled"),
            (18, "runs beside the errand that is cancelled"),
            (19, "is cancelled; errands.rs has a test of it"),
            (20, "is about the cancelled one"),
            (21, "is about the cancelled one"),
        ],
        ..Plan::default()
    };
    replay.hold(&scenario, &plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn two_networks_are_used_with_the_recorded_answers() {
    let scenario = scenario("two-networks");
    let bench = recorded::bench_with("pair", &replay::settings()).await;
    let mut sql = bench.sql().await.unwrap();
    sqlx::query("update configs set content = $1 where type = 'cloud'")
        .bind(recorded::as_sent(file(&scenario, "cloud.yml")))
        .execute(&mut sql)
        .await
        .unwrap();
    let mut replay = Replay::start(bench).await;
    replay.bind("config 19", "1");
    replay.bind("config 16", "2");
    let plan = Plan {
        left_out: &[
            (
                1,
                "lists addresses next to those that other deployments had",
            ),
            (3, "lists addresses that the recorded cloud made up"),
        ],
        ..Plan::default()
    };
    replay.hold(&scenario, &plan).await;
    replay.finish().await;
}

#[tokio::test]
async fn logs_and_ssh_go_with_the_recorded_answers() {
    let scenario = scenario("logs-ssh");
    let base = self::scenario("lifecycle-actions");
    let mut replay = with_shop(file(&base, "shop.yml"), &[]).await;
    let plan = Plan {
        left_out: &[(
            13,
            "lists what was done to two agents at once, by chance first to one",
        )],
        differs: &[
            (8, "deployment_id: 14", "deployment_id: 1"),
            (14, "deployment_id: 14", "deployment_id: 1"),
        ],
        ..Plan::default()
    };
    replay.hold(&scenario, &plan).await;
    replay.finish().await;
}
