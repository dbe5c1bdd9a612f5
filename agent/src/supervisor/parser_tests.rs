//! Monit files in the style of real releases.

use std::path::PathBuf;
use std::time::Duration;

use super::config::{Action, Condition, Kind, Limit, Operator};
use super::parser::parse;

#[test]
fn a_ctl_script_job_is_read() {
    let services = parse(
        r#"
check process nats
  with pidfile /var/vcap/sys/run/nats/nats.pid
  start program "/var/vcap/jobs/nats/bin/nats_ctl start" with timeout 60 seconds
  stop program "/var/vcap/jobs/nats/bin/nats_ctl stop"
  group vcap
"#,
    )
    .expect("parses");
    let [nats] = services.as_slice() else {
        panic!("one service")
    };
    assert_eq!(nats.name, "nats");
    assert!(nats.is_visible());
    let pidfile = PathBuf::from("/var/vcap/sys/run/nats/nats.pid");
    assert_eq!(nats.kind, Kind::Process { pidfile });
    let start = nats.start.as_ref().expect("start");
    assert_eq!(start.argv, ["/var/vcap/jobs/nats/bin/nats_ctl", "start"]);
    assert_eq!(start.timeout, Duration::from_secs(60));
    let stop = nats.stop.as_ref().expect("stop");
    assert_eq!(stop.timeout, Duration::from_secs(30));
}

#[test]
fn noise_words_quotes_braces_users_and_dependencies_are_read() {
    let services = parse(
        r#"
set daemon 10
include /var/vcap/monit/*.monitrc
CHECK PROCESS worker_1 PIDFILE "/var/vcap/sys/run/director/worker 1.pid" # the first
  START = { "/bin/sh" "-c" "ctl start 1" } as uid vcap and gid vcap
  stop program = "/bin/sh -c '/var/vcap/jobs/director/bin/worker_ctl stop 1'" with timeout 2 minutes
  group 'vcap'
  depends on db,cache
  mode manual
  every 2 cycles
  alert ops@example.com on { timeout, nonexist }
check process db with pidfile /db.pid start program "/db start" stop program "/db stop" group vcap
"#,
    )
    .expect("parses");
    let [worker, db] = services.as_slice() else {
        panic!("two services")
    };
    assert!(!worker.active);
    assert_eq!(worker.depends, ["db", "cache"]);
    assert_eq!(worker.groups, ["vcap"]);
    let start = worker.start.as_ref().expect("start");
    assert_eq!(start.argv, ["/bin/sh", "-c", "ctl start 1"]);
    assert_eq!(start.uid.as_deref(), Some("vcap"));
    assert_eq!(start.gid.as_deref(), Some("vcap"));
    let stop = worker.stop.as_ref().expect("stop");
    assert_eq!(
        stop.argv,
        [
            "/bin/sh",
            "-c",
            "/var/vcap/jobs/director/bin/worker_ctl stop 1"
        ]
    );
    assert_eq!(stop.timeout, Duration::from_secs(120));
    assert_eq!(db.name, "db");
    assert!(db.active);
}

#[test]
fn rules_are_read_and_unknown_ones_are_passed_over() {
    let services = parse(
        r#"
check process api with pidfile /api.pid
  start program "/api start"
  stop program "/api stop"
  if totalmem > 500 MB for 2 cycles then alert
  if totalmem > 3.5 Gb then exec "/var/vcap/jobs/api/bin/restart_drain"
  if cpu usage is greater than 95% for 10 cycles then alert
  if mem > 80% 3 times within 5 cycles then restart
  if failed host 127.0.0.1 port 80 protocol http request "/health" with timeout 55 seconds for 5 cycles then restart
  if failed unixsocket /var/vcap/sys/run/api.sock with timeout 5 seconds then restart else if succeeded then alert
  if 5 restarts within 10 cycles then timeout
  if changed pid then alert
  if loadavg (5min) > 4 for 3 cycles then alert
  if does not exist then restart
  group vcap

check file log with path /var/vcap/sys/log/api.log
  if size > 100 MB then alert
  group vcap
check system localhost
  if memory usage > 75% then alert
"#,
    )
    .expect("parses");
    let [api, log, system] = services.as_slice() else {
        panic!("three services")
    };
    let greater = |value| Limit {
        operator: Operator::Greater,
        value,
    };
    let rules = &api.rules;
    assert_eq!(
        rules[0].condition,
        Condition::MemoryKb {
            total: true,
            limit: greater(512_000.0)
        }
    );
    assert_eq!((rules[0].times, rules[0].within), (2, 2));
    assert!(
        matches!(&rules[1].action, Action::Exec(p) if p.argv == ["/var/vcap/jobs/api/bin/restart_drain"])
    );
    assert_eq!(
        rules[2].condition,
        Condition::CpuPercent {
            total: false,
            limit: greater(95.0)
        }
    );
    assert_eq!((rules[3].times, rules[3].within), (3, 5));
    assert_eq!(
        rules[4].condition,
        Condition::ConnectionFailed {
            host: "127.0.0.1".into(),
            port: 80,
            timeout: Duration::from_secs(55)
        }
    );
    assert_eq!(rules[4].times, 5);
    assert_eq!(
        rules[5].condition,
        Condition::UnixSocketFailed {
            path: "/var/vcap/sys/run/api.sock".into(),
            timeout: Duration::from_secs(5)
        }
    );
    assert_eq!(
        rules[6].condition,
        Condition::Restarts {
            count: 5,
            cycles: 10
        }
    );
    assert_eq!(rules[6].action, Action::Unmonitor);
    assert_eq!(rules[7].condition, Condition::ChangedPid);
    assert!(matches!(rules[8].condition, Condition::Other(_)));
    assert_eq!(rules[9].condition, Condition::DoesNotExist);
    assert_eq!(rules.len(), 10);
    assert!(api.is_visible());
    assert!(matches!(&log.kind, Kind::Path { what, .. } if what == "file"));
    assert!(log.is_visible());
    assert!(!system.is_visible());
}

#[test]
fn an_empty_file_has_no_services_and_a_broken_one_names_its_line() {
    assert_eq!(parse("").expect("parses"), []);
    assert_eq!(parse("# nothing\n\n").expect("parses"), []);
    let error = parse("\n\ncheck process web with pidfile").expect_err("broken");
    assert_eq!(error.to_string(), "line 3: the pid file's path is missing");
    let error = parse("check process web with pidfile /a start program \"x").expect_err("broken");
    assert_eq!(
        error.to_string(),
        "line 1: the string starting here has no end"
    );
}
