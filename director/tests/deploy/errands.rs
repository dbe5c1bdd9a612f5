//! Errands: on a VM made for the run, and on instances that are there.

use serde_json::{Value as Json, json};
use test_support::{Crash, Fault};

use crate::Manifest;
use crate::bench::{Bench, Ended, Inventory};

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
    bench.deployed(&Manifest::default().text()).await;
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
    bench.deployed(&Manifest::default().text()).await;
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
        "70009 Errand 'none' doesn't exist\n`bosh errands` lists what can be run."
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

#[tokio::test]
async fn the_task_of_an_errand_that_fails_ends_well_and_tells_its_exit_code() {
    let bench = Bench::start().await.unwrap();
    bench.deployed(&Manifest::default().text()).await;
    let before = bench.audit().await.unwrap();
    for (code, tally) in [
        (1, "0 succeeded, 1 errored, 0 canceled"),
        (143, "0 succeeded, 0 errored, 1 canceled"),
    ] {
        bench.cloud.world().errand_exit_code = code;
        let (ended, results) = run(&bench, json!({"errand": "smoke"})).await;
        assert_eq!(ended.done().unwrap().task.result.as_deref(), Some(tally));
        assert_eq!(results[0]["exit_code"], code);
        assert_eq!(bench.audit().await.unwrap(), before);
    }
    let failure = Fault::Error {
        message: "no such errand".into(),
        kind: cpi::FaultKind::CloudError,
        ok_to_retry: false,
    };
    bench.cloud.break_next("run_errand", 1, failure);
    let (ended, results) = run(&bench, json!({"errand": "smoke"})).await;
    assert_eq!(ended.task.state, "error");
    assert!(
        ended.error().contains("no such errand"),
        "{}",
        ended.error()
    );
    assert_eq!(results, Vec::<Json>::new());
    assert_eq!(
        bench.audit().await.unwrap(),
        before,
        "the VM of a run that failed goes too"
    );
    bench.finish().await;
}

/// An errand that is cut off at its `n`-th call to the outside: how its task ends, how often it was begun, what is
/// left. `None` when there are fewer calls.
async fn cut_off(n: usize, when: Crash) -> Option<(String, String, usize, Inventory, Inventory)> {
    let mut bench = Bench::start().await.unwrap();
    let manifest = Manifest {
        web: 0,
        ..Manifest::default()
    };
    bench.deployed(&manifest.text()).await;
    let before = bench.audit().await.unwrap();
    bench.cloud.take_calls();
    let reached = bench.cloud.crash_at(n, when);
    let task = bench
        .queue_task("run_errand", json!({"errand": "smoke"}))
        .await
        .unwrap();
    let call = tokio::select! {
        call = reached => call.ok(),
        _ = bench.ended(task) => None,
    };
    let Some(call) = call else {
        bench.finish().await;
        return None;
    };
    bench.crash();
    bench.start_worker().await.unwrap();
    let ended = bench
        .ended(task)
        .await
        .unwrap_or_else(|error| panic!("{call:?} {when:?}: {error}"));
    let begun = bench.cloud.take_calls();
    let begun = begun.iter().filter(|call| call.method == "run_errand");
    let begun = begun.count();
    let after = bench.audit().await.unwrap();
    let end = format!("{} {}", ended.task.state, ended.error());
    bench.finish().await;
    Some((call.method, end, begun, before, after))
}

#[tokio::test]
async fn an_errand_survives_a_crash_at_every_call_but_its_own_and_never_leaves_its_vm() {
    let mut cut = Vec::new();
    for n in 1.. {
        let when = [Crash::BeforeEffect, Crash::AfterEffect][n % 2];
        let Some((method, end, begun, before, after)) = cut_off(n, when).await else {
            break;
        };
        assert_eq!(after, before, "cut off at {n}, {method}");
        assert_eq!(begun, 1, "cut off at {n}, {method}");
        // Somebody else's program is not run twice: that it was cut off is told.
        match method.as_str() {
            "run_errand" => assert!(end.starts_with("error "), "{end}"),
            _ => assert_eq!(end, "done ", "cut off at {n}, {method}"),
        }
        cut.push(method);
    }
    for method in ["create_vm", "apply", "run_errand", "delete_vm"] {
        assert!(cut.iter().any(|cut| cut == method), "{cut:?}");
    }
}
