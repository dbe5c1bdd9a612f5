//! The monitor on a real bus and database.

use std::time::Duration;

use agent_protocol::{Heartbeat, JobState};
use bosun_director::health;
use bosun_director::store::audit::AuditFilter;
use tokio_util::sync::CancellationToken;

use crate::support::{Environment, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_is_told_of_once_and_alerts_become_events() -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let services = environment.services_with("agent_timeout: 1\n").await?;
    let store = &services.store;
    let db = store.pool();
    let deployment: i64 = sqlx::query_scalar(
        "insert into deployments (name, canonical_name) values ('shop', 'shop') returning id",
    )
    .fetch_one(db)
    .await?;
    let instance: i64 = sqlx::query_scalar(
        "insert into instances (deployment_id, group_name, index, uuid) values ($1, 'web', 0, 'i-1') returning id",
    )
    .bind(deployment)
    .fetch_one(db)
    .await?;
    sqlx::query("insert into vms (instance_id, agent_id, cid, active, state) values ($1, 'a-1', 'vm-1', true, 'created')")
        .bind(instance)
        .execute(db)
        .await?;
    let bus = async_nats::connect(environment.bus.url()).await?;
    let heartbeat = Heartbeat {
        deployment: "shop".into(),
        job: Some("web".into()),
        index: Some(0),
        job_state: JobState::Running,
        vitals: Default::default(),
        node_id: "i-1".into(),
        number_of_processes: Some(1),
    };
    let beat = serde_json::to_vec(&heartbeat)?;
    let stop = CancellationToken::new();
    tokio::spawn(health::watch(services.clone(), "d#1".into(), stop.clone()));
    let hears = || async {
        let _ = bus
            .publish("hm.agent.heartbeat.a-1", beat.clone().into())
            .await;
        let _ = bus.flush().await;
        services
            .health
            .responsive("a-1")
            .is_some_and(|heard| heard.job_state == JobState::Running)
    };
    wait_for("the heartbeat is heard", hears).await?;
    let alert = r#"{"id":"x1","severity":2,"title":"web (10.0.0.4) - does not exist - restart","summary":"process is not running","created_at":1767939805}"#;
    bus.publish("hm.agent.alert.a-1", alert.into()).await?;
    bus.flush().await?;
    let alerts = || async {
        let filter = AuditFilter {
            object_type: Some("alert".into()),
            ..AuditFilter::default()
        };
        store.list_audit(&filter).await.unwrap_or_default()
    };
    wait_for("the alert is an event", || async {
        alerts().await.iter().any(|event| {
            event.object_name.as_deref() == Some("x1")
                && event.instance.as_deref() == Some("web/i-1")
                && event.context["message"]
                    == "web (10.0.0.4) - does not exist - restart. Alert @ 2026-01-09 06:23:25 UTC"
        })
    })
    .await?;
    let timeouts = || async {
        let all = alerts().await;
        all.iter()
            .filter(|event| {
                event.context["message"]
                    .as_str()
                    .unwrap_or_default()
                    .starts_with("a-1 has timed out")
            })
            .count()
    };
    wait_for("the silence is told", || async { timeouts().await == 1 }).await?;
    // Heard again, then silent again: a second alert, so the first silence made exactly one.
    wait_for("the heartbeat is heard again", hears).await?;
    wait_for("the second silence is told", || async {
        timeouts().await == 2
    })
    .await?;
    assert!(
        Duration::from_secs(1) == services.health.timeout()
            && services.health.unresponsive() == ["a-1"]
    );
    stop.cancel();
    Ok(())
}
