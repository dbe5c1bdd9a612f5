//! Statements that the other tests do not reach, on a real PostgreSQL.

use std::time::Duration;

use bosun_director::store::Store;
use bosun_director::store::audit::{AuditFilter, NewAudit};
use bosun_director::store::tasks::{NewTask, TaskFilter};
use test_support::TestDatabase;

async fn store() -> anyhow::Result<Store> {
    let database = TestDatabase::create().await?;
    Ok(Store::open(database.url(), 4, Duration::from_secs(20)).await?)
}

#[tokio::test]
async fn output_is_read_back_by_byte_ranges_across_chunks() -> anyhow::Result<()> {
    let store = store().await?;
    let new = NewTask {
        kind: "t".into(),
        user: "u".into(),
        args: serde_json::json!({}),
        ..NewTask::default()
    };
    store.insert_task(&new).await?;
    let task = store
        .claim_task("i#1", "i", &["normal"], Duration::from_secs(60))
        .await?
        .expect("queued");
    let fence = bosun_director::tasks::Fence {
        task: task.id,
        epoch: task.lease_epoch,
    };
    assert_eq!(store.output_size(task.id, "event").await?, None);
    for chunk in ["0123", "45", "6789"] {
        assert!(
            store
                .append_output(fence, "event", chunk.as_bytes())
                .await?
        );
    }
    assert_eq!(store.output_size(task.id, "event").await?, Some(10));
    for (from, to, bytes) in [
        (0, 10, "0123456789"),
        (3, 7, "3456"),
        (4, 6, "45"),
        (9, 10, "9"),
    ] {
        assert_eq!(
            store.read_output(task.id, "event", from, to).await?,
            bytes.as_bytes()
        );
    }
    assert_eq!(store.output_tail(task.id, "event", 3).await?, b"789");
    Ok(())
}

#[tokio::test]
async fn retention_keeps_the_newest_ended_tasks_of_each_type_and_all_running_ones()
-> anyhow::Result<()> {
    let store = store().await?;
    let mut ids = Vec::new();
    for kind in ["a", "a", "a", "b"] {
        let new = NewTask {
            kind: kind.into(),
            user: "u".into(),
            args: serde_json::json!({}),
            ..NewTask::default()
        };
        ids.push(store.insert_task(&new).await?.id);
        let task = store
            .claim_task("i#1", "i", &["normal"], Duration::from_secs(60))
            .await?
            .expect("queued");
        let fence = bosun_director::tasks::Fence {
            task: task.id,
            epoch: task.lease_epoch,
        };
        assert!(store.finish_task(fence, "done", "").await?);
    }
    let new = NewTask {
        kind: "a".into(),
        user: "u".into(),
        args: serde_json::json!({}),
        ..NewTask::default()
    };
    ids.push(store.insert_task(&new).await?.id);
    assert_eq!(store.prune_tasks(1, None).await?, 2);
    let left: Vec<i64> = store
        .list_tasks(&TaskFilter::default())
        .await?
        .iter()
        .map(|task| task.id)
        .collect();
    for (id, kept) in ids.iter().zip([false, false, true, true, true]) {
        assert_eq!(left.contains(id), kept, "task {id}");
    }
    assert_eq!(
        store
            .count_tasks()
            .await?
            .iter()
            .map(|(_, _, count)| count)
            .sum::<i64>(),
        1
    );
    Ok(())
}

#[tokio::test]
async fn pruning_events_never_splits_a_pair() -> anyhow::Result<()> {
    let store = store().await?;
    let event = |parent_id| NewAudit {
        parent_id,
        user: "u".into(),
        action: "a".into(),
        object_type: "o".into(),
        ..NewAudit::default()
    };
    store.insert_audit(&event(None)).await?;
    let start = store.insert_audit(&event(None)).await?;
    store.insert_audit(&event(None)).await?;
    let end = store.insert_audit(&event(Some(start))).await?;
    assert_eq!(store.prune_audit(1).await?, 1);
    let left: Vec<i64> = store
        .list_audit(&AuditFilter::default())
        .await?
        .iter()
        .map(|row| row.id)
        .collect();
    assert_eq!(left, [end, end - 1, start]);
    Ok(())
}

#[tokio::test]
async fn a_task_with_a_local_file_runs_only_where_the_file_is() -> anyhow::Result<()> {
    let store = store().await?;
    let new = NewTask {
        kind: "update_release".into(),
        user: "u".into(),
        args: serde_json::json!({"path": "/data/uploads/x"}),
        pinned_to: Some("here".into()),
        ..NewTask::default()
    };
    store.insert_task(&new).await?;
    let lease = Duration::from_secs(60);
    assert!(
        store
            .claim_task("there#1", "there", &["normal"], lease)
            .await?
            .is_none()
    );
    assert!(
        store
            .claim_task("here#1", "here", &["urgent"], lease)
            .await?
            .is_none(),
        "another queue"
    );
    let files = store.files_in_use("here").await?;
    assert_eq!(files, ["/data/uploads/x"]);
    assert!(
        store
            .claim_task("here#1", "here", &["normal"], lease)
            .await?
            .is_some()
    );
    // A cancelled one only has to be ended, which anyone can do.
    let second = store.insert_task(&new).await?;
    store.request_cancel(second.id).await?;
    let ended = store
        .claim_task("there#1", "there", &["normal"], lease)
        .await?;
    assert_eq!(ended.map(|task| task.id), Some(second.id));
    Ok(())
}

#[tokio::test]
async fn the_other_listings_are_valid_statements() -> anyhow::Result<()> {
    let store = store().await?;
    assert!(store.orphan_disks().await?.is_empty());
    assert!(store.orphan_vms().await?.is_empty());
    assert!(store.open_problems(1).await?.is_empty());
    assert!(store.variables_of(1).await?.is_empty());
    assert!(store.deployments_with_variable("/a").await?.is_empty());
    assert!(store.errand_names(1).await?.is_empty());
    assert!(store.versions_of_release("r").await?.is_empty());
    assert!(
        store
            .versions_of_stemcell(Some("os"), None)
            .await?
            .is_empty()
    );
    assert!(store.agents_on_the_bus().await?.is_empty());
    assert!(store.instance_of_agent("a").await?.is_none());
    assert!(store.deployment_configs(&["d".into()]).await?.is_empty());
    assert_eq!(store.attribute_or_insert("uuid", "1").await?, "1");
    assert_eq!(store.attribute_or_insert("uuid", "2").await?, "1");
    Ok(())
}

#[tokio::test]
async fn a_moment_of_a_schedule_is_claimed_once_and_never_an_earlier_one() -> anyhow::Result<()> {
    use bosun_director::store::schedule::claim;
    let store = store().await?;
    let (early, late) = (
        "2026-01-09T06:00:00Z".parse()?,
        "2026-01-09T06:30:00Z".parse()?,
    );
    assert!(claim(store.pool(), "disks", late).await?);
    assert!(!claim(store.pool(), "disks", late).await?);
    assert!(!claim(store.pool(), "disks", early).await?);
    assert!(claim(store.pool(), "vms", early).await?);
    Ok(())
}
