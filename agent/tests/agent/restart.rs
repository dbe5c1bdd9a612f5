//! kill -9 of the agent: jobs don't notice, tasks and their results survive, certificates change without a gap.

use agent_protocol::{AgentClient, JobState, MbusSettings, UpdateSettings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::harness::{AGENT, World, wait_for};

#[tokio::test]
async fn jobs_and_tasks_outlive_the_agent() {
    let mut world = World::start().await;
    let marker = world.dir.path().join("errand-runs");
    let count = world.dir.path().join("script-runs");
    let mut files = world.sleeper("web");
    files.extend([
        (
            "web/bin/run".into(),
            format!(
                "#!/bin/bash\necho done\n[ -e {0} ] && exec sleep 1000\ntouch {0}\n",
                marker.display()
            ),
        ),
        (
            "web/bin/post-deploy".into(),
            format!(
                "#!/bin/bash\necho run >> {0}\n[ $(wc -l < {0}) -gt 1 ] || exec sleep 1000",
                count.display()
            ),
        ),
    ]);
    let files: Vec<_> = files.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
    world.deploy(&world.spec("h1", &["web"], &files)).await;
    let pid = world.pid("web", None).await;

    let finished = world.begin("run_errand", vec![json!("web")]).await;
    world
        .client
        .wait_for_task(&world.to, "run_errand", &finished, None)
        .await
        .expect("errand");
    let errand = world.begin("run_errand", vec![json!("web")]).await;
    let script = world
        .begin("run_script", vec![json!("post-deploy"), json!({})])
        .await;

    world.kill_agent();
    world.start_agent().await;
    let state = world.running().await;
    assert_eq!(state.configuration_hash(), "h1");
    assert_eq!(
        world.pid("web", None).await,
        pid,
        "the process was not touched"
    );
    // The result of before is still there.
    let result = world
        .client
        .wait_for_task(&world.to, "run_errand", &finished, None)
        .await
        .expect("result");
    assert_eq!(
        result,
        json!({"stdout": "done\n", "stderr": "", "exit_code": 0})
    );
    // An errand is not run twice; nobody knows how far it came.
    let error = world
        .client
        .wait_for_task(&world.to, "run_errand", &errand, None)
        .await
        .expect_err("interrupted");
    assert!(
        error
            .to_string()
            .contains("the agent was restarted while 'run_errand' ran"),
        "{error}"
    );
    // A script that was queued or under way is run (again).
    wait_for("the script", || count.exists().then_some(())).await;
    world.kill_agent();
    world.start_agent().await;
    world
        .client
        .wait_for_task(&world.to, "run_script", &script, None)
        .await
        .expect("repeated");

    // The adopted process is still watched.
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill");
    let second = world.pid("web", Some(pid)).await;
    world.running().await;

    // One that dies while there is no agent is started by the next one.
    world.kill_agent();
    kill(Pid::from_raw(second), Signal::SIGKILL).expect("kill");
    world.start_agent().await;
    let third = world.pid("web", Some(second)).await;
    world.running().await;

    // Stopped on purpose stays stopped.
    world.client.stop(&world.to).await.expect("stop");
    world.kill_agent();
    world.start_agent().await;
    let state = world
        .client
        .get_state(&world.to, false)
        .await
        .expect("get_state");
    assert_eq!(state.job_state(), JobState::Stopped);
    assert!(!super::harness::is_live(third));
}

#[tokio::test]
async fn a_new_certificate_is_taken_into_use_without_a_lost_message() {
    let world = World::start().await;
    let (bootstrap, permanent) = (
        format!("{AGENT}.bootstrap.agent.bosh-internal"),
        format!("{AGENT}.agent.bosh-internal"),
    );
    world.bus.allow(AGENT, &[&bootstrap, &permanent]);
    let cert = serde_json::from_value(world.bus.client_cert(&permanent)).expect("cert");
    let settings = UpdateSettings {
        mbus: Some(MbusSettings { cert, urls: vec![] }),
        ..UpdateSettings::default()
    };
    world
        .client
        .update_settings(&world.to, &settings)
        .await
        .expect("update_settings");
    assert!(world.log().contains("subscribed with the new settings"));
    // The old certificate is worth nothing any more, and nobody needs it.
    world.bus.allow(AGENT, &[&permanent]);
    for _ in 0..20 {
        world
            .client
            .get_state(&world.to, false)
            .await
            .expect("get_state");
    }
}

#[tokio::test]
async fn the_monit_command_talks_to_the_agent() {
    let world = World::start().await;
    let files = world.sleeper("web");
    let files: Vec<_> = files.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
    world.deploy(&world.spec("h1", &["web"], &files)).await;
    let monit = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_bosun-agent"))
            .args(["monit", "-b"])
            .arg(world.base())
            .args(arguments)
            .output()
            .expect("monit runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8(text).expect("text"),
        )
    };
    let (ok, text) = monit(&["summary"]);
    assert!(ok);
    assert!(
        text.contains("Process 'web'                       running\n"),
        "{text}"
    );
    let pid = world.pid("web", None).await;
    let (ok, text) = monit(&["status", "web"]);
    assert!(ok && text.contains(&format!("{pid}\n")), "{text}");
    assert!(monit(&["unmonitor", "web"]).0);
    assert!(monit(&["summary"]).1.contains("not monitored"));
    assert!(monit(&["-g", "vcap", "start"]).0);
    world.running().await;
    assert!(monit(&["restart", "all"]).0);
    world.pid("web", Some(pid)).await;
    world.running().await;
    let (ok, text) = monit(&["stop", "nope"]);
    assert!(!ok);
    assert_eq!(text, "monit: There is no service named \"nope\"\n");
}
