//! What an agent costs: printed, and held to what a busy machine and an unoptimised build still must keep.

use std::time::{Duration, Instant};

use super::harness::{World, wait_for};

fn kilobytes(pid: u32, field: &str) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status
        .lines()
        .find(|line| line.starts_with(field))
        .expect("field");
    line.split_whitespace()
        .nth(1)
        .expect("number")
        .parse()
        .expect("number")
}

/// User and system ticks since the start.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .expect("stat")
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

fn context_switches(pid: u32) -> u64 {
    kilobytes(pid, "voluntary_ctxt_switches:")
}

#[tokio::test]
async fn an_agent_starts_quickly_and_sleeps_when_idle() {
    let mut world = World::start().await;
    let files = world.sleeper("web");
    let files: Vec<_> = files.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
    world.deploy(&world.spec("h1", &["web"], &files)).await;
    world.kill_agent();

    let before = world.log().matches("subscribed").count();
    let started = Instant::now();
    let pid = world.spawn_agent();
    wait_for("the subscription", || {
        (world.log().matches("subscribed").count() > before).then_some(())
    })
    .await;
    println!("start to subscribed: less than {:?}", started.elapsed());
    world.running().await;

    // Threads for files end after a moment of idleness; what is left is the agent at rest.
    wait_for("one thread", || {
        (kilobytes(pid, "Threads:") == 1).then_some(())
    })
    .await;
    let (ticks, switches) = (cpu_ticks(pid), context_switches(pid));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (ticks, switches) = (cpu_ticks(pid) - ticks, context_switches(pid) - switches);
    println!("idle for 5 s: {ticks} ticks of CPU, {switches} wake-ups");
    println!(
        "resident: {} kB, of which anonymous {} kB",
        kilobytes(pid, "VmRSS:"),
        kilobytes(pid, "RssAnon:")
    );
    assert!(ticks <= 2, "{ticks} ticks in 5 idle seconds");
    assert!(switches <= 50, "{switches} wake-ups in 5 idle seconds");
    assert!(kilobytes(pid, "RssAnon:") < 10 * 1024);
}
