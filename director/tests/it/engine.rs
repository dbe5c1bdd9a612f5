//! Durable tasks: leases, fencing, take-over, journal, cancel. Two engines share one database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bosun_director::error::Error;
use bosun_director::services::Services;
use bosun_director::tasks::{self, Context, Engine, Fence, Handler, NewTask, Options, Task};
use journal::StepKind;
use tokio::sync::Semaphore;

use crate::support::{Environment, wait_for};

/// What a scripted task did, over all its workers.
#[derive(Clone)]
struct Script {
    first_step: Arc<AtomicUsize>,
    second_step: Arc<AtomicUsize>,
    probes: Arc<AtomicUsize>,
    entered: Arc<AtomicUsize>,
    /// Permits let the second step end.
    gate: Arc<Semaphore>,
}

impl Script {
    fn new() -> Script {
        Script {
            first_step: Arc::default(),
            second_step: Arc::default(),
            probes: Arc::default(),
            entered: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    fn options(&self, owner: &str) -> Options {
        let script = self.clone();
        let instance = owner.split('#').next().unwrap_or_default().to_owned();
        let mut options = Options::new(2, instance, owner.into());
        options.lease = Duration::from_secs(3);
        options.lookup = Arc::new(move |kind| {
            (kind == "scripted").then(|| Box::new(script.clone()) as Box<dyn Handler>)
        });
        options
    }
}

#[async_trait]
impl Handler for Script {
    async fn run(&self, context: &Context) -> Result<String, Error> {
        let stage = context.events.stage("Updating", &[], 2);
        let made: String = stage
            .run(
                "first",
                context.step("first", StepKind::RenderTemplates, |_| async {
                    self.first_step.fetch_add(1, Ordering::SeqCst);
                    Ok("made once".to_owned())
                }),
            )
            .await?;
        context.checkpoint().await?;
        stage
            .run(
                "second",
                context.step("second", StepKind::CreateVm, |attempt| async move {
                    self.second_step.fetch_add(1, Ordering::SeqCst);
                    self.probes
                        .fetch_add(usize::from(attempt.probe), Ordering::SeqCst);
                    self.entered.fetch_add(1, Ordering::SeqCst);
                    tokio::select! {
                        permit = self.gate.acquire() => { permit.expect("open").forget(); Ok(()) }
                        () = context.cancelled() => Err(Error::cancelled(context.task.id)),
                        () = context.interrupted() => Err(Error::interrupted("going down")),
                    }
                }),
            )
            .await?;
        context.result_output("a result\n");
        Ok(format!("/done/{made}"))
    }
}

async fn scripted(services: &Services) -> anyhow::Result<Task> {
    let new = NewTask {
        kind: "scripted".into(),
        description: "scripted".into(),
        user: "test".into(),
        args: serde_json::json!({}),
        ..NewTask::default()
    };
    Ok(tasks::enqueue(&services.store, new).await?)
}

async fn ended(services: &Services, id: i64) -> anyhow::Result<Task> {
    wait_for("the task ends", || async {
        let task = services.store.find_task(id).await;
        matches!(task, Ok(Some(task)) if !matches!(task.state.as_str(), "queued" | "processing" | "cancelling"))
    })
    .await?;
    Ok(services.store.find_task(id).await?.expect("it is there"))
}

async fn text(services: &Services, id: i64, kind: &str) -> anyhow::Result<String> {
    let size = services.store.output_size(id, kind).await?.unwrap_or(0);
    Ok(String::from_utf8(
        services.store.read_output(id, kind, 0, size).await?,
    )?)
}

fn states(events: &str) -> Vec<String> {
    events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON"))
        .map(|line| match line["task"].as_str() {
            Some(task) => format!("{task} {}", line["state"].as_str().unwrap_or_default()),
            None => line["error"]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_finishes_a_dead_ones_task_and_the_dead_one_cant_write() -> anyhow::Result<()>
{
    let environment = Environment::new().await?;
    let services = environment.services().await?;
    let script = Script::new();
    let first = Engine::start(services.clone(), script.options("host-a#1")).await?;
    let task = scripted(&services).await?;
    wait_for("the second step runs", || async {
        script.entered.load(Ordering::SeqCst) == 1
    })
    .await?;
    let dead = Fence {
        task: task.id,
        epoch: 1,
    };
    first.abandon();

    let second = Engine::start(services.clone(), script.options("host-b#1")).await?;
    wait_for("it is taken over", || async {
        script.entered.load(Ordering::SeqCst) == 2
    })
    .await?;
    let store = &services.store;
    assert!(
        !store.append_output(dead, "event", b"late\n").await?,
        "output is fenced"
    );
    assert!(
        !store
            .append_step_event(dead, "second", "create_vm", &serde_json::json!({}))
            .await?,
        "steps are fenced"
    );
    assert!(
        !store.store_plan(dead, "1", &serde_json::json!({})).await?,
        "the plan is fenced"
    );
    assert!(
        !store.finish_task(dead, "error", "late").await?,
        "the result is fenced"
    );
    assert!(!store.release_task(dead).await?, "the lease is fenced");

    script.gate.add_permits(1);
    let task = ended(&services, task.id).await?;
    assert_eq!(
        (task.state.as_str(), task.result.as_deref()),
        ("done", Some("/done/made once"))
    );
    assert_eq!(
        script.first_step.load(Ordering::SeqCst),
        1,
        "a finished step is not done again"
    );
    assert_eq!(
        script.probes.load(Ordering::SeqCst),
        1,
        "a half-done creation is probed"
    );
    assert_eq!(
        states(&text(&services, task.id, "event").await?),
        [
            "first started",
            "first finished",
            "second started",
            "second finished"
        ],
        "nothing is shown twice"
    );
    assert_eq!(text(&services, task.id, "result").await?, "a result\n");
    second.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_of_a_data_folder_takes_its_tasks_over_at_once() -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let services = environment.services().await?;
    let script = Script::new();
    let mut options = script.options("host-a#1");
    options.lease = Duration::from_secs(3600);
    let first = Engine::start(services.clone(), options).await?;
    let task = scripted(&services).await?;
    wait_for("the second step runs", || async {
        script.entered.load(Ordering::SeqCst) == 1
    })
    .await?;
    first.abandon();

    let mut options = script.options("host-a#2");
    options.lease = Duration::from_secs(3600);
    let second = Engine::start(services.clone(), options).await?;
    script.gate.add_permits(1);
    assert_eq!(ended(&services, task.id).await?.state, "done");
    second.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_director_that_goes_down_hands_its_tasks_on_without_waiting_for_leases()
-> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let services = environment.services().await?;
    let script = Script::new();
    let mut options = script.options("host-a#1");
    options.lease = Duration::from_secs(3600);
    let first = Engine::start(services.clone(), options).await?;
    let task = scripted(&services).await?;
    wait_for("the second step runs", || async {
        script.entered.load(Ordering::SeqCst) == 1
    })
    .await?;
    first.shutdown(Duration::from_secs(5)).await;
    let row = services
        .store
        .find_task(task.id)
        .await?
        .expect("it is there");
    assert_eq!(row.state, "processing");

    let second = Engine::start(services.clone(), script.options("host-b#1")).await?;
    script.gate.add_permits(1);
    assert_eq!(ended(&services, task.id).await?.state, "done");
    second.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_ends_with_the_originals_words_whether_it_ran_or_not() -> anyhow::Result<()>
{
    let environment = Environment::new().await?;
    let services = environment.services().await?;
    let script = Script::new();
    let queued = scripted(&services).await?;
    assert_eq!(
        services.store.request_cancel(queued.id).await?,
        Some(Ok(()))
    );
    let engine = Engine::start(services.clone(), script.options("host-a#1")).await?;
    let queued = ended(&services, queued.id).await?;
    assert_eq!(
        (
            queued.state.as_str(),
            script.first_step.load(Ordering::SeqCst)
        ),
        ("cancelled", 0)
    );

    let running = scripted(&services).await?;
    wait_for("the second step runs", || async {
        script.entered.load(Ordering::SeqCst) == 1
    })
    .await?;
    assert_eq!(
        services.store.request_cancel(running.id).await?,
        Some(Ok(()))
    );
    let running = ended(&services, running.id).await?;
    assert_eq!(
        (running.state.as_str(), running.result.as_deref()),
        ("cancelled", Some("task cancelled"))
    );
    let cancelled = format!("Task {} cancelled", running.id);
    assert_eq!(
        states(&text(&services, running.id, "event").await?),
        [
            "first started",
            "first finished",
            "second started",
            "second failed",
            cancelled.as_str()
        ]
    );
    assert_eq!(
        services.store.request_cancel(running.id).await?,
        Some(Err("cancelled".into()))
    );
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Takes a lock and keeps it until the gate opens.
#[derive(Clone)]
struct Locker {
    gate: Arc<Semaphore>,
    holding: Arc<AtomicUsize>,
    patience: Duration,
}

#[async_trait]
impl Handler for Locker {
    async fn run(&self, context: &Context) -> Result<String, Error> {
        let lock = context.lock("lock:deployment:shop", self.patience).await?;
        self.holding.fetch_add(1, Ordering::SeqCst);
        tokio::select! {
            permit = self.gate.acquire() => permit.expect("open").forget(),
            () = context.interrupted() => context.check_interrupted()?,
        }
        lock.release().await?;
        Ok("released".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_has_one_holder_names_it_and_outlives_its_worker() -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let services = environment.services().await?;
    let locker = |patience| Locker {
        gate: Arc::new(Semaphore::new(0)),
        holding: Arc::default(),
        patience: Duration::from_millis(patience),
    };
    let (holder, waiter) = (locker(60_000), locker(50));
    let options = |owner: &str| {
        let (holder, waiter, mut options) =
            (holder.clone(), waiter.clone(), Script::new().options(owner));
        options.lookup = Arc::new(move |kind| match kind {
            "hold" => Some(Box::new(holder.clone()) as Box<dyn Handler>),
            "wait" => Some(Box::new(waiter.clone())),
            _ => None,
        });
        options
    };
    let enqueue = |kind: &'static str| {
        let new = NewTask {
            kind: kind.into(),
            description: format!("{kind} it"),
            user: "test".into(),
            args: serde_json::json!({}),
            ..NewTask::default()
        };
        let services = services.clone();
        async move { tasks::enqueue(&services.store, new).await }
    };
    let first = Engine::start(services.clone(), options("host-a#1")).await?;
    let held = enqueue("hold").await?;
    wait_for("the lock is held", || async {
        holder.holding.load(Ordering::SeqCst) == 1
    })
    .await?;
    first.abandon();

    // The holder's next worker inherits the lock at once; meanwhile it is not free for others.
    let second = Engine::start(services.clone(), options("host-b#1")).await?;
    wait_for("the lock is inherited", || async {
        holder.holding.load(Ordering::SeqCst) == 2
    })
    .await?;
    let locks = services.store.list_locks().await?;
    assert_eq!((locks.len(), locks[0].task_id), (1, Some(held.id)));
    let refused = enqueue("wait").await?;
    let refused = ended(&services, refused.id).await?;
    let message = refused.result.unwrap_or_default();
    assert!(
        message.starts_with("Failed to acquire lock for lock:deployment:shop uid: ")
            && message.ends_with(&format!(
                ". Locking task id is {}, description: 'hold it'",
                held.id
            )),
        "{message}"
    );
    // Going down does not give the lock away.
    second.shutdown(Duration::from_secs(5)).await;
    assert_eq!(services.store.list_locks().await?.len(), 1);
    holder.gate.add_permits(1);
    let third = Engine::start(services.clone(), options("host-c#1")).await?;
    assert_eq!(ended(&services, held.id).await?.state, "done");
    assert!(services.store.list_locks().await?.is_empty());
    third.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Asks the database for something that takes until the connection dies; the second time it answers at once.
#[derive(Clone)]
struct Asker {
    entered: Arc<AtomicUsize>,
}

#[async_trait]
impl Handler for Asker {
    async fn run(&self, context: &Context) -> Result<String, Error> {
        let seconds = if self.entered.fetch_add(1, Ordering::SeqCst) == 0 {
            60.0
        } else {
            0.0
        };
        let lock = context
            .lock("lock:deployment:shop", Duration::from_millis(10))
            .await?;
        sqlx::query("select pg_sleep($1)")
            .bind(seconds)
            .execute(context.services.store.pool())
            .await?;
        lock.release().await?;
        Ok("answered".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_outlives_the_loss_of_all_database_connections() -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let services = environment.services().await?;
    let asker = Asker {
        entered: Arc::default(),
    };
    let mut options = Script::new().options("host-a#1");
    let handler = asker.clone();
    options.lookup = Arc::new(move |_| Some(Box::new(handler.clone()) as Box<dyn Handler>));
    let engine = Engine::start(services.clone(), options).await?;
    let task = scripted(&services).await?;
    wait_for("the query runs", || async {
        let running: Result<i64, _> = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()",
        )
        .fetch_one(services.store.pool())
        .await;
        running.is_ok_and(|count| count == 1)
    })
    .await?;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(services.store.pool())
    .await?;
    let task = ended(&services, task.id).await?;
    assert_eq!(
        (task.state.as_str(), task.result.as_deref()),
        ("done", Some("answered"))
    );
    assert!(asker.entered.load(Ordering::SeqCst) >= 2);
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
