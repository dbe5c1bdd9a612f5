//! A job's life: prepare, apply, pre-start, start, death and return, drain, stop.

use std::time::Duration;

use agent_protocol::{AgentClient, Alert, DrainType, Heartbeat, JobState, NextStates, Patience};
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::harness::{World, mode, wait_for};

#[tokio::test]
async fn a_job_is_installed_started_restarted_drained_and_stopped() {
    let world = World::start().await;
    let (client, to, base) = (&world.client, &world.to, world.base());
    assert_eq!(client.info(to).await.expect("info").api_version, 1);
    let fresh = client.get_state(to, true).await.expect("get_state");
    assert_eq!(fresh.job_state(), JobState::Running);
    assert_eq!(fresh.spec["job"]["name"], Value::Null);
    assert_eq!(fresh.spec["index"], Value::Null);
    assert_eq!(fresh.spec["networks"], json!({}));
    assert_eq!(fresh.spec["vm"], json!({"name": "vm-1"}));
    let vitals = fresh.vitals().expect("vitals");
    assert_eq!(vitals.load.len(), 3);
    assert!(vitals.disk.system.is_some());

    let mut files = world.sleeper("web");
    let script =
        |name: &str, text: &str| (format!("web/bin/{name}"), format!("#!/bin/bash\n{text}"));
    files.extend([
        script("pre-start", "echo preparing; echo oops >&2"),
        script("post-start", "exit 3"),
        script("pre-stop", "echo $BOSH_VM_NEXT_STATE $BOSH_INSTANCE_NEXT_STATE"),
        script("drain", &format!(
            "echo \"$@ $BOSH_JOB_STATE $BOSH_JOB_NEXT_STATE\" >> {}/drained\n[ $1 = job_check_status ] && echo 0 || echo -1",
            base.display()
        )),
        ("web/config/web.yml".into(), "port: 80\n".into()),
        ("idle/monit".into(), String::new()),
    ]);
    let files: Vec<_> = files.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
    let spec = world.spec("h1", &["web", "idle"], &files);

    client.prepare(to, &spec).await.expect("prepare");
    assert!(!base.join("jobs/web").exists(), "prepare changes no links");
    client.apply(to, &spec).await.expect("apply");
    let state = client.get_state(to, false).await.expect("get_state");
    assert_eq!(state.spec["networks"], json!(spec.networks));
    assert_eq!(state.configuration_hash(), "h1");
    assert_eq!(mode(&base.join("jobs/web/bin/ctl")), 0o750);
    assert_eq!(mode(&base.join("jobs/web/config/web.yml")), 0o640);
    assert_eq!(mode(&base.join("data/sys/run/web")), 0o770);
    let read = |path: &str| fs_err::read_to_string(base.join(path)).expect("file");
    assert_eq!(read("instance/deployment"), "shop");
    assert_eq!(read("instance/az"), "z1");

    client
        .run_script(to, "pre-start", json!({}))
        .await
        .expect("pre-start");
    assert_eq!(read("sys/log/web/pre-start.stdout.log"), "preparing\n");
    assert_eq!(read("sys/log/web/pre-start.stderr.log"), "oops\n");
    client.start(to).await.expect("start");
    let state = world.running().await;
    let processes = state.processes();
    assert_eq!(processes.len(), 1);
    assert_eq!(processes[0].name, "web");
    assert_eq!(read("instance/health.json"), r#"{"state":"starting"}"#);
    let failed = client
        .run_script(to, "post-start", json!({}))
        .await
        .expect_err("exit 3");
    let text = failed.to_string();
    assert!(text.starts_with("Action Failed get_task: Task "), "{text}");
    assert!(
        text.ends_with(" result: 1 of 1 post-start scripts failed. Failed Jobs: web."),
        "{text}"
    );

    let first = world.pid("web", None).await;
    let died = std::time::Instant::now();
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("kill");
    let second = world.pid("web", Some(first)).await;
    println!("back after {:?}", died.elapsed());
    world.running().await;
    assert!(world.log().contains("process is gone"));

    let next = NextStates {
        delete_vm: true,
        delete_instance: false,
        delete_deployment: false,
    };
    client
        .run_script(to, "pre-stop", next.to_options())
        .await
        .expect("pre-stop");
    assert_eq!(read("sys/log/web/pre-stop.stdout.log"), "delete keep\n");
    let waits = client
        .drain(to, DrainType::Update, Some(&spec), None)
        .await
        .expect("drain");
    assert_eq!(waits, 0);
    assert_eq!(
        read("drained"),
        "job_changed hash_unchanged {\"persistent_disk\":0} {\"persistent_disk\":0}\n\
         job_check_status hash_unchanged {\"persistent_disk\":0} \n"
    );
    let state = client.get_state(to, false).await.expect("get_state");
    assert_eq!(
        state.job_state(),
        JobState::Failing,
        "unmonitored, not stopped"
    );
    client.stop(to).await.expect("stop");
    let state = client.get_state(to, false).await.expect("get_state");
    assert_eq!(state.job_state(), JobState::Stopped);
    assert!(!super::harness::is_live(second));

    // Started again, without another apply.
    client.start(to).await.expect("start");
    world.running().await;
}

#[tokio::test]
async fn a_job_that_does_not_come_up_is_failing_and_dependencies_start_first() {
    let world = World::start().await;
    let base = world.base();
    let base = base.display();
    let mut files = world.sleeper("db");
    let mut web = world.sleeper("web");
    web[0].1.push_str("  depends on db\n");
    files.extend(web);
    files.push((
        "broken/monit".into(),
        format!(
            "check process broken with pidfile {base}/sys/run/broken/broken.pid\n\
             start program \"/bin/false\" with timeout 5 seconds\nstop program \"/bin/true\"\ngroup vcap\n"
        ),
    ));
    let files: Vec<_> = files.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
    let spec = world.spec("h1", &["web", "db", "broken"], &files);
    world.client.apply(&world.to, &spec).await.expect("apply");
    world.client.start(&world.to).await.expect("start");
    let state = world
        .state_when("failing", |state| {
            state.job_state() == JobState::Failing
                && state
                    .processes()
                    .iter()
                    .filter(|p| p.state == JobState::Running)
                    .count()
                    == 2
        })
        .await;
    let failing: Vec<_> = state
        .processes()
        .into_iter()
        .filter(|p| p.state != JobState::Running)
        .map(|p| p.name)
        .collect();
    assert_eq!(failing, ["broken"]);
    let log = world.log();
    let started = |job: &str| {
        log.find(&format!("started service={job}"))
            .expect("started")
    };
    assert!(started("db") < started("web"), "{log}");
    // Stopping db takes web down with it, and web goes first.
    world.client.stop(&world.to).await.expect("stop");
    let log = world.log();
    let stopped = |job: &str| {
        log.find(&format!("stopped service=\"{job}\""))
            .expect("stopped")
    };
    assert!(stopped("web") < stopped("db"), "{log}");
}

#[tokio::test]
async fn the_health_monitor_hears_heartbeats_alerts_and_shutdowns() {
    let mut world = World::start().await;
    let subscribe = async |kind: &str| {
        let subject = format!("hm.agent.{kind}.{}", super::harness::AGENT);
        world.nats.subscribe(subject).await.expect("subscribe")
    };
    let mut beats = subscribe("heartbeat").await;
    let mut alerts = subscribe("alert").await;
    let mut shutdowns = subscribe("shutdown").await;
    world.nats.flush().await.expect("flush");
    let files = world.sleeper("web");
    let files: Vec<_> = files.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
    world.deploy(&world.spec("h1", &["web"], &files)).await;

    let pid = world.pid("web", None).await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill");
    let alert: Alert = next(&mut alerts).await;
    assert_eq!(alert.severity, 1);
    assert_eq!(alert.title, "web (10.244.0.7) - does not exist - restart");

    let drained = world
        .client
        .drain(&world.to, DrainType::Shutdown, None, None);
    drained.await.expect("drain");
    assert_eq!(next::<Value>(&mut shutdowns).await, Value::Null);

    // One comes with every new connection, so there is no need to wait for the period.
    world.kill_agent();
    world.start_agent().await;
    loop {
        let beat: Heartbeat = next(&mut beats).await;
        if beat.deployment.is_empty() {
            continue; // of before the deploy
        }
        assert_eq!(
            (beat.deployment.as_str(), beat.job.as_deref()),
            ("shop", Some("web"))
        );
        assert_eq!(beat.node_id, "8c1e");
        assert_eq!(beat.number_of_processes, Some(1));
        return;
    }
}

async fn next<T: serde::de::DeserializeOwned>(messages: &mut async_nats::Subscriber) -> T {
    let message = tokio::time::timeout(super::harness::DEADLINE, messages.next());
    let message = message.await.expect("in time").expect("a message");
    serde_json::from_slice(&message.payload).expect("JSON")
}

#[tokio::test]
async fn errands_give_their_result_and_can_be_cancelled() {
    let world = World::start().await;
    let (client, to) = (&world.client, &world.to);
    let marker = world.dir.path().join("errand-runs");
    let files = [
        ("check/monit", String::new()),
        (
            "check/bin/run",
            "#!/bin/bash\necho checked; echo warned >&2; exit 4".to_owned(),
        ),
        ("slow/monit", String::new()),
        (
            "slow/bin/run",
            format!(
                "#!/bin/bash\ntrap 'echo asked to end; exit 9' TERM\ntouch {}\nsleep 1000 &\nwait",
                marker.display()
            ),
        ),
    ];
    client
        .apply(to, &world.spec("h1", &["check", "slow"], &files))
        .await
        .expect("apply");
    let result = client.run_errand(to, None, None).await.expect("errand");
    assert_eq!(
        (
            result.stdout.as_str(),
            result.stderr.as_str(),
            result.exit_code
        ),
        ("checked\n", "warned\n", 4)
    );
    let missing = client
        .run_errand(to, Some("nope"), None)
        .await
        .expect_err("no such errand");
    assert!(
        missing
            .to_string()
            .ends_with("result: Could not find errand nope"),
        "{missing}"
    );

    let cancel = CancellationToken::new();
    let (result, ()) = tokio::join!(client.run_errand(to, Some("slow"), Some(&cancel)), async {
        wait_for("the errand", || marker.exists().then_some(())).await;
        cancel.cancel();
    });
    let result = result.expect("a cancelled errand gives its result");
    assert_eq!(
        (result.stdout.as_str(), result.exit_code),
        ("asked to end\n", 9)
    );
}

#[tokio::test]
async fn wrong_requests_get_the_originals_texts() {
    let world = World::start().await;
    let (client, to) = (&world.client, &world.to);
    let fails = async |method: &str, arguments: Vec<Value>| {
        let patience = Patience::once(Duration::from_secs(30));
        client
            .exchange(to, method, arguments, patience)
            .await
            .expect_err("fails")
            .to_string()
    };
    assert_eq!(
        fails("configure_networks", vec![]).await,
        "unknown message configure_networks"
    );
    assert_eq!(
        fails("get_task", vec![json!("nope")]).await,
        "Action Failed get_task: Task with id nope could not be found"
    );
    assert_eq!(
        fails("ssh", vec![json!("setup")]).await,
        "Action Failed ssh: Extracting method arguments from payload: Not enough arguments, expected 2, got 1"
    );
    assert_eq!(
        fails("ssh", vec![json!("open"), json!({})]).await,
        "Action Failed ssh: Unknown command for SSH method"
    );
    let task = world.begin("mount_disk", vec![json!("disk-9")]).await;
    let error = client
        .wait_for_task(to, "mount_disk", &task, None)
        .await
        .expect_err("unknown disk");
    assert_eq!(
        error.to_string(),
        format!(
            "Action Failed get_task: Task {task} result: Persistent disk with volume id 'disk-9' could not be found"
        )
    );
    let error = client
        .drain(to, DrainType::Update, None, None)
        .await
        .expect_err("no spec");
    assert!(
        error
            .to_string()
            .ends_with("result: Drain update requires new spec"),
        "{error}"
    );
}
