//! The director dies at every call to the outside, before and after its effect, and another worker goes on:
//! each time the deploy ends well and what is there is what an uncrashed deploy leaves.

use bosun_director::deploy::args::UpdateDeployment;
use test_support::Crash;

use crate::Manifest;
use crate::bench::{Bench, Inventory};

/// A deploy after `before`, uncrashed: what is there at the end and how many outside calls it took.
async fn uncrashed(before: Option<&Manifest>, manifest: &Manifest) -> (Inventory, usize) {
    let bench = Bench::start().await.unwrap();
    if let Some(before) = before {
        bench.deployed(&before.text()).await;
    }
    bench.cloud.take_calls();
    bench.deployed(&manifest.text()).await;
    let calls = bench.cloud.take_calls().len();
    let inventory = bench.audit().await.unwrap();
    bench.finish().await;
    (inventory, calls)
}

/// The same with a crash at the `n`-th call.
async fn crashed(
    before: Option<&Manifest>,
    manifest: &Manifest,
    n: usize,
    when: Crash,
) -> Inventory {
    let mut bench = Bench::start().await.unwrap();
    if let Some(before) = before {
        bench.deployed(&before.text()).await;
    }
    let reached = bench.cloud.crash_at(n, when);
    let args = UpdateDeployment {
        manifest: Some(manifest.text()),
        ..UpdateDeployment::default()
    };
    let task = bench.queue(args).await.unwrap();
    // Calls of agents' polls depend on timing, so a run may be over before its n-th call.
    let call = tokio::select! {
        call = reached => call.ok(),
        _ = bench.ended(task) => None,
    };
    bench.crash();
    bench.start_worker().await.unwrap();
    let ended = bench
        .ended(task)
        .await
        .unwrap_or_else(|error| panic!("crash at call {n} {when:?} {call:?}: {error}"));
    if ended.task.state != "done" {
        let debug = bench.output(task, "debug").await.unwrap();
        panic!(
            "crash at call {n} {when:?} {call:?}: {}",
            String::from_utf8_lossy(&debug)
        );
    }
    let inventory = bench
        .audit()
        .await
        .unwrap_or_else(|error| panic!("crash at call {n} {when:?} {call:?}: {error}"));
    bench.finish().await;
    inventory
}

/// Every call with one kind of crash, alternating; with `BOSUN_CRASH_EVERYWHERE` set, both kinds at each.
async fn every_boundary(before: Option<Manifest>, manifest: Manifest) {
    let everywhere = std::env::var_os("BOSUN_CRASH_EVERYWHERE").is_some();
    let (expected, calls) = uncrashed(before.as_ref(), &manifest).await;
    for n in 1..=calls {
        for (at, when) in [Crash::BeforeEffect, Crash::AfterEffect]
            .into_iter()
            .enumerate()
        {
            if everywhere || n % 2 == at {
                let inventory = crashed(before.as_ref(), &manifest, n, when).await;
                assert_eq!(
                    inventory, expected,
                    "crash at call {n} of {calls}, {when:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_first_deploy_survives_a_crash_at_every_call() {
    every_boundary(
        None,
        Manifest {
            web: 1,
            ..Manifest::default()
        },
    )
    .await;
}

#[tokio::test]
async fn recreating_with_a_disk_survives_a_crash_at_every_call() {
    let before = Manifest {
        web: 0,
        ..Manifest::default()
    };
    every_boundary(
        Some(before),
        Manifest {
            web: 0,
            stemcell: "2",
            ..Manifest::default()
        },
    )
    .await;
}

#[tokio::test]
async fn changing_a_disk_survives_a_crash_at_every_call() {
    let before = Manifest {
        web: 0,
        ..Manifest::default()
    };
    every_boundary(
        Some(before),
        Manifest {
            web: 0,
            disk: "large",
            ..Manifest::default()
        },
    )
    .await;
}

#[tokio::test]
async fn scaling_down_survives_a_crash_at_every_call() {
    let before = Manifest {
        web: 2,
        ..Manifest::default()
    };
    every_boundary(
        Some(before),
        Manifest {
            web: 1,
            ..Manifest::default()
        },
    )
    .await;
}
