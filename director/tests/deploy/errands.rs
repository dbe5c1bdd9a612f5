//! Errands: on a VM made for the run, and on instances that are there.

use serde_json::{Value as Json, json};

use crate::Manifest;
use crate::bench::{Bench, Ended};

async fn run(bench: &Bench, args: Json) -> (Ended, Vec<Json>) {
    let ended = bench.run("run_errand", args).await.unwrap();
    let output = bench.output(ended.task.id, "result").await.unwrap();
    let lines = String::from_utf8(output).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (ended, lines)
}

#[tokio::test]
async fn an_errand_group_gets_its_vm_for_the_run_and_loses_it_afterwards() {
    let bench = Bench::start().await.unwrap();
    bench
        .deploy(&Manifest::default().text())
        .await
        .unwrap()
        .done()
        .unwrap();
    let before = bench.audit().await.unwrap();
    let (ended, results) = run(&bench, json!({"errand": "smoke"})).await;
    let ended = ended.done().unwrap();
    assert_eq!(
        ended.task.result.as_deref(),
        Some("1 succeeded, 0 errored, 0 canceled")
    );
    let stages = ended.stages();
    assert_eq!(
        stages[..5],
        [
            "Preparing deployment",
            "Preparing package compilation",
            "Creating missing vms",
            "Updating instance",
            "Running errand"
        ]
    );
    assert!(
        stages[5].starts_with("Fetching logs for smoke/"),
        "{stages:?}"
    );
    assert_eq!((results.len(), &results[0]["exit_code"]), (1, &json!(0)));
    assert_eq!(results[0]["errand_name"], "smoke");
    assert!(results[0]["logs"]["blobstore_id"].is_string());
    assert_eq!(
        bench.audit().await.unwrap(),
        before,
        "nothing is left of the run"
    );

    let (kept, _) = run(&bench, json!({"errand": "smoke", "keep-alive": true})).await;
    kept.done().unwrap();
    assert_eq!(bench.audit().await.unwrap().vms, before.vms + 1);
    let (again, _) = run(&bench, json!({"errand": "smoke", "when-changed": true})).await;
    assert_eq!(
        again.done().unwrap().task.result.as_deref(),
        Some("skipped - no changes detected")
    );
    bench.finish().await;
}

#[tokio::test]
async fn an_errand_by_job_name_runs_on_the_instances_that_are_chosen() {
    let bench = Bench::start().await.unwrap();
    bench
        .deploy(&Manifest::default().text())
        .await
        .unwrap()
        .done()
        .unwrap();
    bench.cloud.take_calls();
    let (ended, results) = run(
        &bench,
        json!({"errand": "web", "instances": [{"group": "web", "id": "0"}]}),
    )
    .await;
    ended.done().unwrap();
    assert_eq!(results.len(), 1);
    let calls = bench.cloud.take_calls();
    assert!(
        calls
            .iter()
            .any(|call| call.method == "run_errand" && call.arguments == json!(["web"])),
        "{calls:?}"
    );
    let (unknown, _) = run(&bench, json!({"errand": "none"})).await;
    assert_eq!(
        unknown.error(),
        "70009 Errand 'none' doesn't exist. `bosh errands` lists what can be run."
    );
    let (filtered, _) = run(
        &bench,
        json!({"errand": "web", "instances": [{"group": "no", "id": "0"}]}),
    )
    .await;
    assert_eq!(
        filtered.error(),
        "100 No instances match selection criteria: [{\"group\" => \"no\", \"id\" => \"0\"}]"
    );
    let (service, _) = run(
        &bench,
        json!({"errand": "store", "instances": [{"group": "web"}]}),
    )
    .await;
    assert!(
        service.error().starts_with("100 No instances match"),
        "{}",
        service.error()
    );
    bench.finish().await;
}
