//! The first process of a VM: starts the agent, sshd and cron, restarts them, and reaps what others leave behind.
//!
//! In a container it is process 1. In plain isolation it enters the root by chroot and is made the reaper of all that is
//! started below it. Either way jobs' processes survive the death of the agent: they become children of this
//! process, and the agent is started again.
//!
//! Runs on its own: it has no caller to report to, and its messages go to the VM's `console.log`.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::report::say;
use crate::store::{Isolation, VmRecord};
use crate::sys;

/// Written (in the root) once the root is entered: from then on the VM runs.
pub const READY: &str = "run/bosun-init.ready";

const PATH: &str =
    "/var/vcap/bosh/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The first restart comes at once in human terms; a service that keeps dying waits ever longer, up to the last.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);
/// A service that ran this long is healthy: its next death counts as the first.
const HEALTHY: Duration = Duration::from_secs(10);
/// How long services may take to end when the VM is stopped.
const STOP: Duration = Duration::from_secs(5);

/// Environment of a VM's processes; `BOSUN_VM` marks them.
pub fn environment(record: &VmRecord) -> Vec<String> {
    let mut environment = vec![
        format!("PATH={PATH}"),
        "HOME=/root".to_string(),
        "LANG=C.UTF-8".to_string(),
        format!("BOSUN_VM={}", record.cid),
    ];
    if record.isolation == Isolation::Plain {
        environment.push("BOSUN_ISOLATION=plain".into());
        if let Some(network) = record.networks.first() {
            environment.push(format!("BOSUN_ADDRESS={}", network.address));
        }
    }
    environment
}

struct Service {
    name: &'static str,
    script: String,
    log: &'static str,
    running: Option<(Pid, Instant)>,
    delay: Duration,
    due: Instant,
}

/// What a stemcell may have; a script each, so that it can prepare and then become the service.
fn services() -> Vec<Service> {
    let service = |name, script: String, log| Service {
        name,
        script,
        log,
        running: None,
        delay: FIRST_DELAY,
        due: Instant::now(),
    };
    let mut services = vec![service(
        "agent",
        "cd /var/vcap/bosh && exec bin/bosh-agent -P \"$(cat etc/operating_system 2>/dev/null || echo ubuntu)\" -C agent.json".into(),
        "/var/vcap/bosh/log/current",
    )];
    if Path::new("/usr/sbin/sshd").exists() {
        // Without a network of its own the VM's sshd keeps to the VM's address.
        let listen = std::env::var("BOSUN_ADDRESS")
            .map_or(String::new(), |a| format!(" -o ListenAddress={a}"));
        services.push(service(
            "sshd",
            format!(
                "mkdir -p /run/sshd; for t in ed25519 ecdsa; do f=/etc/ssh/ssh_host_${{t}}_key; \
                 [ -s $f ] || ssh-keygen -q -t $t -N '' -f $f; done; exec /usr/sbin/sshd -D -e{listen}"
            ),
            "/var/log/sshd.log",
        ));
    }
    if Path::new("/usr/sbin/cron").exists() {
        services.push(service(
            "cron",
            "exec /usr/sbin/cron -f".into(),
            "/var/log/cron.log",
        ));
    }
    services
}

/// Runs until it is told to stop. `root` is entered first, in plain isolation.
pub fn run(root: Option<PathBuf>) -> Result<(), Error> {
    let host = |what: &'static str| {
        move |e: nix::Error| Error::Host(format!("init could not {what}: {e}"))
    };
    // Already the leader of a session in a container.
    let _ = nix::unistd::setsid();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    if let Some(root) = root {
        nix::unistd::chroot(&root).map_err(host("enter its root"))?;
    }
    nix::unistd::chdir("/").map_err(host("go to its root"))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(host("become the reaper"))?;
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ] {
        signals.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None).map_err(host("block signals"))?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(host("listen for signals"))?;
    for folder in ["/run", "/var/log", "/var/vcap/bosh/log"] {
        let _ = fs_err::create_dir_all(folder);
    }
    fs_err::write(Path::new("/").join(READY), "")?;
    supervise(&signals)
}

fn supervise(signals: &SignalFd) -> Result<(), Error> {
    let mut services = services();
    loop {
        let now = Instant::now();
        for service in services
            .iter_mut()
            .filter(|s| s.running.is_none() && s.due <= now)
        {
            start(service);
        }
        let next = services
            .iter()
            .filter(|s| s.running.is_none())
            .map(|s| s.due)
            .min();
        wait_for_signal(signals, next);
        while let Ok(Some(signal)) = signals.read_signal() {
            if [Signal::SIGTERM, Signal::SIGINT]
                .iter()
                .any(|s| *s as u32 == signal.ssi_signo)
            {
                return stop(&services, signals);
            }
        }
        while let Some(pid) = reap() {
            if let Some(service) = services
                .iter_mut()
                .find(|s| s.running.is_some_and(|(p, _)| p == pid))
            {
                ended(service);
            }
        }
    }
}

fn start(service: &mut Service) {
    let log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(service.log);
    let output = |file: &std::io::Result<fs_err::File>| match file {
        Ok(file) => file
            .file()
            .try_clone()
            .map_or_else(|_| Stdio::null(), Stdio::from),
        Err(_) => Stdio::null(),
    };
    // Its own group, so that stopping it does not stop this process.
    let mut command = Command::new("/bin/sh");
    sys::unblock_signals(&mut command);
    let child = command
        .args(["-c", &service.script])
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(output(&log))
        .stderr(output(&log))
        .process_group(0)
        .spawn();
    match child {
        Ok(child) => service.running = Some((Pid::from_raw(child.id() as i32), Instant::now())),
        Err(error) => {
            say(format!("{}: {error}", service.name));
            back_off(service);
        }
    }
}

fn ended(service: &mut Service) {
    if let Some((_, since)) = service.running.take()
        && since.elapsed() >= HEALTHY
    {
        service.delay = FIRST_DELAY;
    }
    say(format!(
        "{} ended, starting it again in {:?}",
        service.name, service.delay
    ));
    back_off(service);
}

fn back_off(service: &mut Service) {
    service.due = Instant::now() + service.delay;
    service.delay = (service.delay * 2).min(LAST_DELAY);
}

/// Sleeps until a signal comes or a service is due.
fn wait_for_signal(signals: &SignalFd, until: Option<Instant>) {
    let timeout = until.map(|due| {
        let left = due.saturating_duration_since(Instant::now());
        rustix::event::Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        }
    });
    let mut polled = [rustix::event::PollFd::from_borrowed_fd(
        signals.as_fd(),
        rustix::event::PollFlags::IN,
    )];
    // Interrupted or not, the caller looks at everything again.
    let _ = rustix::event::poll(&mut polled, timeout.as_ref());
}

/// One dead child, ours or one that was left to us.
fn reap() -> Option<Pid> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => Some(pid),
        _ => None,
    }
}

/// Ends the services. In plain isolation what jobs left running is killed from outside, and reaped here.
fn stop(services: &[Service], signals: &SignalFd) -> Result<(), Error> {
    for (pid, _) in services.iter().filter_map(|service| service.running) {
        let _ = kill(pid, Signal::SIGTERM);
    }
    let deadline = Instant::now() + STOP;
    while Instant::now() < deadline {
        while reap().is_some() {}
        if matches!(
            waitpid(None, Some(WaitPidFlag::WNOHANG)),
            Err(nix::Error::ECHILD)
        ) {
            break;
        }
        wait_for_signal(signals, Some(Instant::now() + Duration::from_millis(100)));
        while let Ok(Some(_)) = signals.read_signal() {}
    }
    Ok(())
}
