//! The benchmark of the whole: an environment on this machine, measured from outside, against the aims and the figures
//! of the original. Run by `scripts/bench`; the latest figures are in `docs/benchmarks.md`.
//!
//! It measures and asserts nothing about time: a machine that is busy with something else gives worse figures, which is
//! why every measurement is repeated and the median counts.

mod agent;
mod processes;
mod table;

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{Environment, manifest_path, program, wait_for};
use table::Figure;

const MB: f64 = 1_000_000.0;
/// How long idle processes are watched.
const IDLE: Duration = Duration::from_secs(10);
/// A wait that takes longer than this has failed.
const DEADLINE: Duration = Duration::from_secs(120);

fn main() {
    let rounds = std::env::var("BOSUN_BENCH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5);
    let mut bench = Bench {
        environment: Environment::prepare(),
        rounds,
        figures: Vec::new(),
    };
    bench.agent_start();
    bench.ups();
    bench.director_start();
    bench.environment.fill();
    bench.deploys();
    bench.recreates();
    bench.idle();
    println!();
    table::print(&bench.figures);
    bench.environment.down();
}

struct Bench {
    environment: Environment,
    rounds: usize,
    figures: Vec<Figure>,
}

impl Bench {
    fn add(
        &mut self,
        name: &'static str,
        unit: &'static str,
        aim: Option<f64>,
        original: &'static str,
        samples: Vec<f64>,
    ) {
        println!("{name}: {samples:.1?} {unit}");
        self.figures.push(Figure {
            name,
            unit,
            aim,
            original,
            samples,
        });
    }

    fn agent_start(&mut self) {
        let bus = agent::Bus::start(&self.environment.scratch().join("agent"));
        let samples = (0..self.rounds * 4)
            .map(|round| bus.time_to_subscription(round))
            .collect();
        self.add(
            "agent: process start to subscribed on NATS",
            "ms",
            Some(15.0),
            "27 ms",
            samples,
        );
    }

    fn ups(&mut self) {
        let first = seconds(|| drop(self.environment.start()));
        self.add("bosun up, the first time", "s", None, "-", vec![first]);
        let samples = (0..self.rounds)
            .map(|_| {
                self.environment.ok(&["down"]);
                seconds(|| drop(self.environment.start()))
            })
            .collect();
        self.add("bosun up, later", "s", Some(3.0), "-", samples);
    }

    /// A second director beside the first, with a data folder and a port of its own: what a start costs without what
    /// else an environment has.
    fn director_start(&mut self) {
        let scratch = self.environment.scratch();
        let text = fs_err::read_to_string(self.environment.home().join("director/director.yml"))
            .expect("bosun up writes the settings");
        let address = value(&text, "address");
        let port = std::net::TcpListener::bind((address.as_str(), 0))
            .and_then(|listener| listener.local_addr())
            .expect("the address has free ports")
            .port();
        let settings: Vec<String> = text
            .lines()
            .map(|line| match line.trim_start().split(':').next() {
                Some("port") => format!("  port: {port}"),
                Some("data_dir") => format!("data_dir: {}", scratch.join("second").display()),
                _ => line.to_owned(),
            })
            .collect();
        let file = scratch.join("second.yml");
        fs_err::write(&file, settings.join("\n")).expect("the scratch folder can be written");
        let samples = (0..self.rounds * 2)
            .map(|_| {
                let log = fs_err::File::create(scratch.join("second.log"))
                    .expect("the scratch folder can be written");
                let started = Instant::now();
                let mut director = Command::new(program("bosun-director"))
                    .arg("--config")
                    .arg(&file)
                    .stderr(log.into_file())
                    .spawn()
                    .expect("the director starts");
                // It binds first; from then on a client waits for its answer and needs not try again.
                while TcpStream::connect((address.as_str(), port)).is_err() {
                    assert!(started.elapsed() < DEADLINE, "the director does not listen");
                    std::thread::sleep(Duration::from_millis(1));
                }
                let url = format!("https://{address}:{port}/info");
                self.environment
                    .curl(&["--insecure", &url])
                    .expect("the director answers");
                let taken = started.elapsed();
                let _ = director.kill();
                let _ = director.wait();
                taken.as_secs_f64()
            })
            .collect();
        self.add(
            "director: process start to /info",
            "s",
            Some(0.15),
            "1.5 s, its workers 2.4 s more",
            samples,
        );
    }

    fn deploys(&mut self) {
        let first = seconds(|| self.deploy(&[]));
        self.add(
            "deploy of 4 containers, compiling the release",
            "s",
            None,
            "-",
            vec![first],
        );
        let scale = manifest_path("ops/scale-app.yml");
        let ten = ["-o", &scale, "-v", "app_instances=8"];
        let at_once = self.environment.scratch().join("at-once.yml");
        let operations = "- {type: replace, path: /update/canaries, value: 0}\n\
            - {type: replace, path: /update/max_in_flight, value: 10}\n";
        fs_err::write(&at_once, operations).expect("the scratch folder can be written");
        let at_once = at_once.to_string_lossy().into_owned();
        let all_at_once = [&ten[..], &["-o", &at_once]].concat();

        let (mut careful, mut quick, mut agents) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds.div_ceil(2) {
            for (arguments, samples) in [(&all_at_once[..], &mut quick), (&ten[..], &mut careful)] {
                self.environment
                    .ok(&["-d", "guestbook", "delete-deployment"]);
                samples.push(seconds(|| self.deploy(arguments)));
                agents.extend(self.times_to_agent());
            }
        }
        self.add(
            "deploy of 10 containers, already compiled, 1 canary, then 2 at once",
            "s",
            Some(10.0),
            "-",
            careful,
        );
        self.add(
            "deploy of 10 containers, already compiled, all of a group at once",
            "s",
            Some(10.0),
            "-",
            quick,
        );
        self.add(
            "create VM to agent answers, 10 VMs at the same time",
            "s",
            None,
            "-",
            agents,
        );
        let nothing = (0..self.rounds)
            .map(|_| seconds(|| self.deploy(&ten)))
            .collect();
        self.add("deploy that changes nothing", "s", None, "-", nothing);
    }

    fn recreates(&mut self) {
        let mut samples = Vec::new();
        for _ in 0..self.rounds {
            self.environment
                .ok(&["-d", "guestbook", "recreate", "router"]);
            samples.extend(self.times_to_agent());
        }
        self.add("create VM to agent answers", "s", Some(1.0), "-", samples);
    }

    fn idle(&mut self) {
        let director = self.environment.pid("director");
        let busy = tree(director);
        self.add(
            "director with its Ruby workers, after a deploy (PSS)",
            "MB",
            None,
            "-",
            vec![busy],
        );
        wait_for(
            "the end of unused workers",
            DEADLINE,
            || match processes::family(director).len() {
                1 => Ok(()),
                more => Err(format!("{} processes", more)),
            },
        );
        self.add(
            "director with workers and monitor, idle (PSS)",
            "MB",
            Some(50.0),
            "350 MB with 3 workers",
            vec![tree(director)],
        );
        let agents = processes::agents(&self.environment.home());
        let memory: Vec<_> = agents.iter().map(|pid| processes::memory(*pid)).collect();
        let column = |of: fn(&processes::Memory) -> u64| -> Vec<f64> {
            memory.iter().map(|memory| of(memory) as f64 / MB).collect()
        };
        let (resident, proportional, own) = (
            column(|memory| memory.resident),
            column(|memory| memory.proportional),
            column(|memory| memory.own),
        );
        self.add("agent, idle (RSS)", "MB", Some(10.0), "17-22 MB", resident);
        self.add("agent, idle (PSS)", "MB", None, "-", proportional);
        self.add("agent, idle (anonymous memory)", "MB", None, "-", own);

        let before: Vec<_> = agents
            .iter()
            .map(|pid| processes::processor_time(*pid))
            .collect();
        let director_before = processes::processor_time(director);
        // What is measured is time itself.
        std::thread::sleep(IDLE);
        let spent = |pid: i32, before: Duration| {
            let spent = processes::processor_time(pid).saturating_sub(before);
            spent.as_secs_f64() * 1000.0 / IDLE.as_secs_f64()
        };
        let of_director = spent(director, director_before);
        let of_agents = agents
            .iter()
            .zip(before)
            .map(|(pid, before)| spent(*pid, before))
            .collect();
        let unit = "ms/s";
        self.add(
            "director, idle (processor time)",
            unit,
            None,
            "-",
            vec![of_director],
        );
        self.add("agent, idle (processor time)", unit, None, "-", of_agents);
    }

    fn deploy(&self, more: &[&str]) {
        let run = self.environment.deploy(more);
        assert_eq!(run.code, 0, "{}", run.text());
    }

    /// Of the newest task's VMs: seconds from the first word of `create_vm` to the last of `wait_for_agent` in the
    /// journal of steps.
    fn times_to_agent(&self) -> Vec<f64> {
        let settings =
            fs_err::read_to_string(self.environment.home().join("director/director.yml"))
                .expect("bosun up writes the settings");
        let query = "select extract(epoch from max(at) filter (where kind = 'wait_for_agent') \
             - min(at) filter (where kind = 'create_vm')) from task_step_events \
             where task_id = (select max(task_id) from task_step_events) \
             group by split_part(step_key, '/', 1) having count(*) filter (where kind = 'wait_for_agent') > 0";
        let output = Command::new("psql")
            .arg(value(&settings, "url"))
            .args(["-At", "-c", query])
            .stdin(Stdio::null())
            .output()
            .expect("psql is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// The memory of a process and what it started, in MB.
fn tree(pid: i32) -> f64 {
    let family = processes::family(pid);
    let bytes: u64 = family
        .into_iter()
        .map(|pid| processes::memory(pid).proportional)
        .sum();
    bytes as f64 / MB
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

/// The first value of a key in settings as `bosun up` writes them.
fn value(settings: &str, key: &str) -> String {
    let prefix = format!("{key}: ");
    settings
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("the settings hold {key}"))
        .trim_matches(['"', '\''])
        .to_owned()
}
